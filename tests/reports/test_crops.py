"""Crops of photos, and of what is none."""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from keras_reid.reports.crops import crops


def test_photos_fit_into_the_size_and_keep_their_shape(tmp_path):
    wide, tall, small = tmp_path / "wide.png", tmp_path / "tall <b>é.jpg", tmp_path / "small.png"
    Image.new("RGB", (400, 100), "red").save(wide)
    Image.new("RGB", (100, 400), "blue").save(tall)
    Image.new("RGB", (10, 20)).save(small)
    found = crops([str(wide), str(tall), str(small)], size=(128, 96))
    assert [crop.size for crop in found] == [(24, 96), (128, 32), (20, 10)]
    contents = base64.b64decode(found[0].uri.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(contents)))
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() < 8


def test_a_turned_photo_is_upright(tmp_path):
    pixels, exif = np.zeros((40, 80, 3), np.uint8), Image.Exif()
    pixels[:, :40] = 255
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    (crop,) = crops([str(tmp_path / "turned.jpg")])
    shown = np.asarray(Image.open(io.BytesIO(crop.jpeg)))
    assert crop.size == (80, 40) and shown[:30].mean() > 240 and shown[50:].mean() < 15


def test_what_cannot_be_shown_says_why(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    paths = [tmp_path / "broken.jpg", tmp_path / "empty.jpg", tmp_path / "gone.jpg", tmp_path]
    found = crops([*map(str, paths), None, pd.NA, float("nan")])
    words = ["photo cannot be read", "photo cannot be read", "photo is missing", "photo is missing"]
    assert [crop.missing for crop in found] == [*words, "no photo", "no photo", "no photo"]
    assert not any(crop.jpeg for crop in found)
