"""Decides which views of an image are embedded at test time, and how their embeddings become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_reid.errors import ReidError

VIEWS = ("none", "flip", "five_crops", "flip_five_crops")
_CROP = 8 / 9  # TriNet: 256x128 of 288x144
UNIT_LENGTH_TOLERANCE = 1e-3  # of networks that normalize in float16 or int8 too


def check_views(views: str) -> None:
    """Raises ReidError when there are no views of that name."""
    if views not in VIEWS:
        raise ReidError(f"--views={views}, expected one of {', '.join(VIEWS)}.")


def image_views(images: np.ndarray, views: str) -> list[np.ndarray]:
    """Returns the views of a batch of images whose embeddings are averaged (test-time augmentation).

    Args:
        images: uint8 `[N, H, W, 3]`, H and W at least 1.
        views: "none", the images themselves; "flip", and their mirror image, left and right exchanged; "five_crops",
            the four corners and the center, each 8/9 of height and width, rounded; "flip_five_crops", those and the
            mirror image of each.

    Returns:
        1, 2, 5 or 10 arrays, `[N, H, W, 3]` or `[N, round(8/9 H), round(8/9 W), 3]`. They are windows on `images`
        that cannot be written through.

    Raises:
        ReidError: unknown views.

    Paper: Hermans, Beyer, Leibe 2017 (arXiv 1703.07737), which averages over five crops and their flips.
    """
    check_views(views)
    found = _five_crops(images) if "five_crops" in views else [images[:]]
    if "flip" in views:
        found += [view[:, :, ::-1] for view in found]
    for view in found:
        view.flags.writeable = False
    return found


def _five_crops(images: np.ndarray) -> list[np.ndarray]:
    height, width = images.shape[1:3]
    # Never 0: a single pixel times 8/9 is rounded to 1.
    crop_height, crop_width = round(height * _CROP), round(width * _CROP)
    bottom, right = height - crop_height, width - crop_width
    offsets = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [images[:, top : top + crop_height, left : left + crop_width] for top, left in offsets]


def mean_embedding(embeddings: Sequence[np.ndarray], *, metric: str) -> np.ndarray:
    """Returns the mean of an image's embeddings, one of each view, computed in float64.

    Where all of them have length 1, and always under cosine (of each only the direction counts there), the mean has
    length 1 again: distances stay on the scale that the network gives and a threshold was chosen on. An image's result
    depends on no other image of the batch.

    Args:
        embeddings: one float `[N, D]` for each view.
        metric: "euclidean" or "cosine".

    Returns:
        float32 `[N, D]`.
    """
    views = np.stack(embeddings).astype(np.float64)  # [V, N, D]
    lengths = np.linalg.norm(views, axis=-1, keepdims=True)
    if metric == "cosine":
        views, unit = views / _divisor(lengths), True
    else:
        unit = (np.abs(lengths - 1) <= UNIT_LENGTH_TOLERANCE).all(axis=0)  # [N, 1]
    mean = views.mean(axis=0)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return (mean / np.where(unit, _divisor(length), 1)).astype(np.float32)


def _divisor(lengths: np.ndarray) -> np.ndarray:
    """Lengths to divide by; an embedding of length 0 has no direction and stays as it is."""
    return np.where(lengths == 0, 1, lengths)
