"""Inputs of a gallery: embeddings, images or paths become finite embeddings; only images need TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_reid.errors import ReidError


def embeddings_of(images: Any, artifact: Any, metric: str | None, test_time_augmentation: str) -> np.ndarray:
    """Returns embeddings, float32 `[N, D]`, finite and, under "cosine", not of length zero.

    Args:
        images: embeddings `[N, D]` or `[D]`; images uint8 `[N, H, W, 3]` or `[H, W, 3]`, or a list of them; or paths.
        artifact: embeds images and paths; None where there is none.
        metric: by which they are compared; None where it is not known.
        test_time_augmentation: of which images are embedded.
    """
    to_embed = _are_images(images) or paths_in(images)
    found = _embedded(images, artifact, test_time_augmentation) if to_embed else np.asarray(images)
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or found.dtype.kind not in "fi" or not found.shape[1]:
        raise ReidError(f"embeddings are {found.dtype} {list(found.shape)}: expected float [N, D], or [D] for one.")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(found, np.float32)
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        raise ReidError(f"embedding {bad.argmax()} of {len(bad)} holds NaN or inf: expected finite numbers.")
    zero = ~found.any(axis=1)
    if metric == "cosine" and zero.any():
        raise ReidError(f"embedding {zero.argmax()} of {len(zero)} has length zero: cosine needs a direction.")
    return found


def paths_in(images: Any) -> list[str]:
    """Returns the paths where images are given as one or several paths, otherwise none."""
    several = images if isinstance(images, (list, tuple)) else [images]
    return [os.fspath(one) for one in several] if all(isinstance(one, (str, Path)) for one in several) else []


def _are_images(images: Any) -> bool:
    several = images if isinstance(images, (list, tuple)) else [images]
    return len(several) > 0 and all(isinstance(one, np.ndarray) and one.dtype == np.uint8 for one in several)


def _embedded(images: Any, artifact: Any, test_time_augmentation: str) -> np.ndarray:
    if artifact is None:
        raise ReidError("images need an artifact that embeds them: Gallery(uri, artifact=open_artifact(...)).")
    paths = paths_in(images)
    if paths:
        from keras_reid.artifacts.artifact import embed_files  # TensorFlow

        return embed_files(artifact, paths, test_time_augmentation=test_time_augmentation)
    is_one = isinstance(images, np.ndarray) and images.ndim == 3
    return artifact.embed(images[None] if is_one else images, test_time_augmentation)
