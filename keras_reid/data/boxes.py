"""Boxes: the part of a photo that shows one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cut_to_box(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Returns the part of a photo that a box shows; empty where the box lies outside.

    Args:
        pixels: `[H, W, 3]`, upright.
        box: left, top, width and height in pixels; edges are rounded, and what is beyond the photo is left out.
    """
    left, top = (max(0, round(start)) for start in box[:2])
    right, bottom = (max(0, round(start + length)) for start, length in zip(box[:2], box[2:]))
    return pixels[top:bottom, left:right]
