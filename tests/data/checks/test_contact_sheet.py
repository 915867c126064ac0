"""Contact sheets: pictures of one color each stand where they belong."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from keras_reid.data import IdentityBatches
from keras_reid.data.augmentation import Augmentation
from keras_reid.data.checks.contact_sheet import (
    draw_across_cameras,
    draw_contact_sheets,
    draw_training_batch,
    lettering_of,
)


@pytest.fixture
def colors(tmp_path) -> pd.DataFrame:
    """Person n at camera c is one flat color: (50 n, 100 c, 0)."""
    rows = []
    for person, camera, split in [
        (1, 1, "train"),
        (1, 2, "train"),
        (2, 1, "train"),
        (3, 1, "query"),
        (3, 2, "gallery"),
    ]:
        path = str(tmp_path / f"{person}_{camera}.png")
        Image.new("RGB", (64, 128), (50 * person, 100 * camera, 0)).save(path)
        rows.append((path, person, camera, split))
    return pd.DataFrame(rows, columns=["image_path", "person_id", "camera_id", "split"])


def places_of(path) -> dict[tuple, tuple[float, float]]:
    """Returns the colors of at least 1,000 pixels, without white, and the (x, y) of the middle of each."""
    page = np.asarray(Image.open(path).convert("RGB"))
    colors, counts = np.unique(page.reshape(-1, 3), axis=0, return_counts=True)
    large = [tuple(map(int, color)) for color in colors[counts >= 1000] if tuple(color) != (255, 255, 255)]
    found = {color: np.nonzero((page == color).all(axis=2)) for color in large}
    return {color: (float(columns.mean()), float(rows.mean())) for color, (rows, columns) in found.items()}


def test_people_across_cameras_stand_in_rows_and_columns(colors, tmp_path):
    """Tests stand before training people: 3, 1 and 2, by cameras 1 and 2; nobody saw 2 by camera 2."""
    draw_across_cameras(tmp_path / "sheet.png", colors)
    assert Image.open(tmp_path / "sheet.png").format == "PNG"
    places, gray = places_of(tmp_path / "sheet.png"), (235, 235, 235)
    expected = [[(150, 100, 0), (150, 200, 0)], [(50, 100, 0), (50, 200, 0)], [(100, 100, 0), gray]]
    assert set(places) == set(sum(expected, []))
    x, y = (np.array([[places[color][axis] for color in row] for row in expected]) for axis in (0, 1))
    assert np.ptp(x, axis=0).max() < 2 and np.ptp(y, axis=1).max() < 2
    assert (np.diff(x, axis=1) > 60).all() and (np.diff(y, axis=0) > 120).all()  # nothing overlaps


def test_an_image_of_another_shape_keeps_it(colors, tmp_path):
    """One of 64 x 64 fills half of its place, and gray the rest above and below."""
    Image.new("RGB", (64, 64), (50, 100, 0)).save(colors.image_path[0])
    draw_across_cameras(tmp_path / "sheet.png", colors[:1])
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    shown, gray = (int((page == color).all(axis=1).sum()) for color in ((50, 100, 0), (235, 235, 235)))
    assert shown > 3000 and abs(shown / gray - 1) < 0.1


def test_a_training_batch_stands_identity_by_identity(colors, tmp_path):
    """Two identities of two images: those of person 1 touch, and person 2's single image, twice, stands apart."""
    sizes = {"identities_per_batch": 2, "images_per_identity": 2, "seed": 0}
    still = Augmentation(flip=0, crop_padding=0, erasing=0)
    batches = IdentityBatches(colors[:3], **sizes)
    draw_training_batch(tmp_path / "sheet.png", batches, image_size=(64, 32), augmentation=still)
    places = places_of(tmp_path / "sheet.png")
    assert set(places) == {(50, 100, 0), (50, 200, 0), (100, 100, 0)}
    first, second, other = (np.array(places[color]) for color in ((50, 100, 0), (50, 200, 0), (100, 100, 0)))
    width = abs(first - second)[0]
    assert 55 < width < 70 and abs(first - second)[1] < 1  # side by side: the middles are one image apart
    assert abs(other - (first + second) / 2).max() > 2 * width


def test_no_camera_is_known_and_nobody_is(colors, tmp_path):
    """One column for images without a camera id: (100 n, 100, 0) of the first image; and a page without people."""
    draw_across_cameras(tmp_path / "unknown.png", colors.assign(camera_id=pd.NA))
    places = places_of(tmp_path / "unknown.png")
    assert sorted(places, key=lambda color: places[color][1]) == [(150, 100, 0), (50, 100, 0), (100, 100, 0)]
    assert np.ptp([x for x, _ in places.values()]) < 2
    draw_across_cameras(tmp_path / "nobody.png", colors.assign(person_id=0))
    assert places_of(tmp_path / "nobody.png") == {}


@pytest.fixture
def written(monkeypatch) -> list:
    """All that is written on pages from here on."""
    texts = []
    monkeypatch.setattr(Text, "set_text", lambda self, text: texts.append(text) or setattr(self, "_text", str(text)))
    return texts


def test_the_title_counts_people_and_not_rows(colors, tmp_path, written):
    """Person 3 is in training and in the test: two rows, one of three people."""
    colors.loc[2, "person_id"] = 3
    draw_across_cameras(tmp_path / "sheet.png", colors)
    assert "people across cameras: 2 of 2 people" in written
    assert written.count("person 3\ntrain") == written.count("person 3\ntest") == 1


def test_people_and_cameras_stand_under_their_names(colors, tmp_path, written):
    """Whatever the script; $ begins no formula, and a camera may be called "unknown"."""
    names = {1: "Jos\u00e9 $\\alpha$", 2: "\u674e\u96f7", 3: "\u0410\u043d\u043d\u0430"}
    cameras = {1: "unknown", 2: "Tor 2"}
    frame = colors.assign(person_id_name=colors.person_id.map(names), camera_id_name=colors.camera_id.map(cameras))
    still = {"augmentation": Augmentation(0, 0, 0), "image_size": (64, 32), "images_per_identity": 2, "seed": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_contact_sheets(tmp_path, frame, identities_per_batch=18, **still)
    label = lettering_of(frame).label
    assert {"camera\nunknown", "camera Tor\n2", f"person {names[3]}\ntest", f"person {names[1]}\ntrain"} < set(written)
    assert {f"person {label(names[2])}\ntrain", f"person {label(names[2])}", f"person {names[1]}"} < set(written)


def test_both_sheets_or_the_one_that_can_be_drawn(colors, tmp_path):
    still = {"augmentation": Augmentation(0, 0, 0), "image_size": (64, 32), "images_per_identity": 2, "seed": 0}
    paths = draw_contact_sheets(tmp_path / "two", colors, identities_per_batch=18, **still)
    assert [path.name for path in paths] == ["training_batch.png", "across_cameras.png"]
    paths = draw_contact_sheets(tmp_path / "one", colors[:2], identities_per_batch=18, **still)
    assert sorted((tmp_path / "one").iterdir()) == paths == [tmp_path / "one" / "across_cameras.png"]
