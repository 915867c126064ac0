"""Single files: what is said of them, and why a file cannot be read."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid.data.checks import image_looks
from keras_reid.data.checks.image_checks import check_images
from keras_reid.data.checks.image_looks import file_format, look_at_images


@pytest.fixture
def photos(tmp_path) -> list:
    """Six photos of noise, in color."""
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{n}.png") for n in range(6)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (64, 32, 3), np.uint8)).save(path)
    return paths


def catalog(paths: list, person_id: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"image_path": paths, "person_id": person_id, "camera_id": 1, "split": "gallery"})


def test_what_is_seen_is_what_pillow_sees(photos):
    looks, troubles = look_at_images(photos)
    assert troubles == {} and looks.positions.tolist() == list(range(6)) and len(set(looks.fingerprints)) == 6
    assert looks.sizes.tolist() == [[64, 32]] * 6
    for path, spread, thumbnail in zip(photos, looks.spreads, looks.thumbnails):
        pixels = np.asarray(Image.open(path)).astype(int)
        assert spread == np.ptp(pixels, axis=2).max()
        blocks = pixels.reshape(16, 4, 8, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(thumbnail, blocks, atol=1)


def test_a_read_that_failed_for_a_moment_is_no_fault(photos, monkeypatch):
    missed = image_looks._parallel
    monkeypatch.setattr(image_looks, "_parallel", lambda paths: missed(paths[:4]))
    looks, troubles = look_at_images(photos)
    assert troubles == {} and looks.positions.tolist() == list(range(6))


def test_nothing_can_be_read(tmp_path):
    paths = [str(tmp_path / "1.jpg"), str(tmp_path / "2.jpg")]
    (finding,) = check_images(catalog(paths))
    assert (finding.kind, finding.level, list(finding.names), finding.share) == ("missing", "error", paths, 1.0)


def test_what_is_no_image_is_told_from_what_is_cut_off(photos):
    with open(photos[1], "r+b") as file:
        file.truncate(2000)
    contents = {2: b"version https://git-lfs.github.com/spec/v1", 3: b"<html>404</html>", 4: b"<html>500</html>"}
    for number, content in contents.items():
        with open(photos[number], "wb") as file:
            file.write(content)
    findings = {finding.kind: finding for finding in check_images(catalog(photos))}
    assert {kind: list(one.names) for kind, one in findings.items()} == {
        "damaged": photos[1:2],
        "not_an_image": photos[2:5],
    }
    assert "(HTML or XML 2, pointer of Git LFS, whose file was not fetched 1)" in findings["not_an_image"].message


def test_odd_images_of_nobody_are_a_note(photos):
    Image.open(photos[0]).convert("L").save(photos[0])
    for person_id, level in ((1, "warning"), (0, "note"), (-1, "note")):
        (finding,) = check_images(catalog(photos, person_id))
        assert (finding.kind, finding.level, list(finding.names)) == ("gray", level, photos[:1])


@pytest.mark.parametrize("name", ["JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF"])
def test_formats_are_told_by_their_first_bytes(tmp_path, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "image", format=name)
    assert file_format((tmp_path / "image").read_bytes()[:24]) == name
