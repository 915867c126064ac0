"""Crops: photos as small JPEG pictures for a page, and a word on why where one cannot be shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_reid.data.boxes import cut_to_box
from keras_reid.data.decoding import decode_by_pillow
from keras_reid.evaluation.blocks import threads
from keras_reid.keras2 import tf

HEIGHT, WIDTH = 128, 96  # largest, in pixels; the shape of the photo stays
_QUALITY = 75


class Crop(NamedTuple):
    """A photo made small."""

    jpeg: bytes  # empty where there is nothing to show
    size: tuple[int, int]  # (height, width) in pixels
    missing: str  # why there is nothing to show; empty where there is

    @property
    def uri(self) -> str:
        """The picture as the `src` of an HTML image."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


def crops(paths: Sequence[str | None], *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[Crop]:
    """Returns the photos at these paths, upright, as they fit into a size.

    Args:
        paths: of images in any format of the package; None or missing where only an embedding is known.
        size: (height, width) that no crop exceeds; small photos are not enlarged.

    Returns:
        A `Crop` for each path. A file that is missing or cannot be read is no error: its crop says so.
    """
    with threads() as pool:
        return list(pool.map(lambda path: crop_of(path, size=size), paths))


def crop_of(
    path: str | None, *, size: tuple[int, int] = (HEIGHT, WIDTH), box: tuple[float, float, float, float] | None = None
) -> Crop:
    """Returns one of `crops`; of the photo only a box, left, top, width and height in pixels, where that is given."""
    found = photo(path)
    if box and not isinstance(found, str):
        found = cut_to_box(found, box)
        found = found if found.size else "box is outside the photo"
    return Crop(b"", size, found) if isinstance(found, str) else jpeg_of(found, size)


def photo(path: str | None) -> np.ndarray | str:
    """Returns a photo, upright, uint8 `[H, W, 3]`; or, where there is nothing to show, why."""
    if not isinstance(path, str):  # None, or a gap of pandas
        return "no photo"
    try:
        contents = tf.io.read_file(path).numpy()
    except (tf.errors.OpError, UnicodeError):
        return "photo is missing"
    try:
        return decode_by_pillow(contents)[0]
    except (ValueError, MemoryError):
        return "photo cannot be read"


def jpeg_of(pixels: np.ndarray, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Crop:
    """Returns pixels, uint8 `[height, width, 3]`, as a `Crop` that fits into a size."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail(size[::-1], Image.Resampling.LANCZOS)
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Crop(file.getvalue(), (image.height, image.width), "")
