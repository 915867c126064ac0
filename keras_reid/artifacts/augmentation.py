"""Test-time augmentation: the variants of an image that are embedded, and the mean of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_reid.choices import TEST_TIME_AUGMENTATIONS
from keras_reid.errors import ReidError

_CROP = 8 / 9  # TriNet: 256x128 of 288x144
UNIT_LENGTH_TOLERANCE = 1e-3  # of networks that normalize in float16 or int8 too


def check_augmentation(test_time_augmentation: str) -> None:
    """Raises ReidError for a value that is none of `choices.TEST_TIME_AUGMENTATIONS`."""
    if test_time_augmentation not in TEST_TIME_AUGMENTATIONS:
        expected = ", ".join(TEST_TIME_AUGMENTATIONS)
        raise ReidError(f"test_time_augmentation={test_time_augmentation}, expected one of {expected}.")


def augmented_images(images: np.ndarray, test_time_augmentation: str) -> list[np.ndarray]:
    """Returns the variants of a batch of images whose embeddings are averaged.

    Args:
        images: uint8 `[N, H, W, 3]`, H and W at least 1.
        test_time_augmentation: "none", the images themselves; "flip", also their mirror image, left and right
            exchanged; "five_crops", the four corners and the center, each 8/9 of height and width, rounded;
            "flip_five_crops", the five crops and the mirror image of each.

    Returns:
        1, 2, 5 or 10 arrays, `[N, H, W, 3]` or `[N, round(8/9 H), round(8/9 W), 3]`: read-only views of `images`.

    Raises:
        ReidError: unknown test-time augmentation.

    Paper: Hermans, Beyer, Leibe 2017 (arXiv 1703.07737), which averages over five crops and their flips.
    """
    check_augmentation(test_time_augmentation)
    variants = _five_crops(images) if "five_crops" in test_time_augmentation else [images[:]]
    if "flip" in test_time_augmentation:
        variants += [variant[:, :, ::-1] for variant in variants]
    for variant in variants:
        variant.flags.writeable = False
    return variants


def _five_crops(images: np.ndarray) -> list[np.ndarray]:
    height, width = images.shape[1:3]
    # Never 0: 8/9 of a single pixel is rounded to 1.
    crop_height, crop_width = round(height * _CROP), round(width * _CROP)
    bottom, right = height - crop_height, width - crop_width
    offsets = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [images[:, top : top + crop_height, left : left + crop_width] for top, left in offsets]


def mean_embedding(embeddings: Sequence[np.ndarray], *, metric: str) -> np.ndarray:
    """Returns the mean of an image's embeddings, one for each variant of the image, computed in float64.

    The mean is scaled to length 1 where all of them have length 1, and always under "cosine", which compares directions
    only: distances stay on the scale of the network's own, on which a threshold was calibrated. The result for an image
    depends on no other image of the batch. One float `[N, D]` for each variant gives float32 `[N, D]`.
    """
    rows = np.stack(embeddings).astype(np.float64)  # [V, N, D]
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if metric == "cosine":
        rows, unit = rows / _divisor(lengths), True
    else:
        unit = (np.abs(lengths - 1) <= UNIT_LENGTH_TOLERANCE).all(axis=0)  # [N, 1]
    mean = rows.mean(axis=0)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return (mean / np.where(unit, _divisor(length), 1)).astype(np.float32)


def _divisor(lengths: np.ndarray) -> np.ndarray:
    """Lengths to divide by; an embedding of length 0 has no direction and stays as it is."""
    return np.where(lengths == 0, 1, lengths)
