"""Contact sheets: pictures of one color each stand where they belong."""

import itertools

import pandas as pd
import pytest
from PIL import Image

from keras_reid.data.augmentation import Augmentation
from keras_reid.data.checks.contact_sheet import draw_across_cameras, draw_training_batch


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


def test_people_across_cameras_stand_in_rows_and_columns(colors, tmp_path):
    """Rows from y = 48, 132 apart; columns from x = 96, 72 apart; images of 128 x 64. Tests before training people."""
    draw_across_cameras(tmp_path / "sheet.png", colors)
    page = Image.open(tmp_path / "sheet.png")
    assert page.format == "PNG" and page.size == (460, 2 * 18 + 16 + 3 * 132)
    expected = [[(150, 100, 0), (150, 200, 0)], [(50, 100, 0), (50, 200, 0)], [(100, 100, 0), (235, 235, 235)]]
    for row, column in itertools.product(range(3), range(2)):
        assert page.getpixel((96 + 72 * column + 32, 48 + 132 * row + 64)) == expected[row][column]


def test_a_training_batch_stands_identity_by_identity(colors, tmp_path):
    """Two identities of two images, 65 pixels each: blocks of 142 x 154; two columns fit the page's shape best."""
    arguments = {"image_size": (64, 32), "identities_per_batch": 2, "images_per_identity": 2, "seed": 0}
    still = Augmentation(flip=0, crop_padding=0, erasing=0)
    draw_training_batch(tmp_path / "sheet.png", colors[:3], **arguments, augmentation=still)
    page = Image.open(tmp_path / "sheet.png")
    assert page.size == (460, 154 + 18 + 16)
    blocks = [{page.getpixel((8 + 142 * block + 65 * image + 32, 110)) for image in range(2)} for block in range(2)]
    people = {1: {(50, 100, 0), (50, 200, 0)}, 2: {(100, 100, 0)}}
    assert sorted(map(sorted, blocks)) == sorted(map(sorted, people.values()))


def test_no_camera_is_known_and_nobody_is(colors, tmp_path):
    """One column for images without a camera id: (100 n, 100, 0) of the first image; and a page without people."""
    draw_across_cameras(tmp_path / "unknown.png", colors.assign(camera_id=pd.NA))
    page = Image.open(tmp_path / "unknown.png")
    assert [page.getpixel((128, 112 + 132 * row)) for row in range(3)] == [(150, 100, 0), (50, 100, 0), (100, 100, 0)]
    assert {page.getpixel((200, 112 + 132 * row)) for row in range(3)} == {(255, 255, 255)}
    draw_across_cameras(tmp_path / "nobody.png", colors.assign(person_id=0))
    assert Image.open(tmp_path / "nobody.png").size == (460, 2 * 18 + 16)
