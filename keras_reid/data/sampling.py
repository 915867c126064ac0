"""Decides which sampler draws a run's batches: by identity alone, by camera too, or by dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.data.batches import identity_batches
from keras_reid.data.camera_batches import camera_batches
from keras_reid.data.dataset_batches import dataset_batches
from keras_reid.errors import ReidError


def sampler_labels(sampler: str, images: pd.DataFrame) -> dict[str, np.ndarray | pd.Series]:
    """Returns what a sampler needs to know of the training images beside their people, as keyword arguments.

    Args:
        sampler: identity, camera or dataset.
        images: the training part of a catalog; `dataset_id` is there where several datasets were read.

    Returns:
        `camera_ids` or `dataset_ids` of `draw_batches` and `training_dataset`, or nothing.

    Raises:
        ReidError: another sampler, or the catalog lacks what it needs.
    """
    if sampler == "identity":
        return {}
    if sampler == "camera":
        if images.camera_id.isna().all():
            raise ReidError("--sampler=camera, but no training image has a camera id: give them or take identity.")
        return {"camera_ids": images.camera_id}
    if sampler == "dataset":
        if "dataset_id" not in images or images.dataset_id.nunique() < 2:
            raise ReidError("--sampler=dataset, but there is one dataset: give more --data_dir or take identity.")
        return {"dataset_ids": images.dataset_id.to_numpy(int)}
    raise ReidError(f"--sampler={sampler}, expected identity, camera or dataset.")


def draw_batches(person_ids: np.ndarray, *, camera_ids=None, dataset_ids=None, **arguments) -> np.ndarray:
    """Draws the batches of one epoch by camera or by dataset where their ids are given, else by identity alone.

    Args:
        person_ids: integer `[N]`.
        camera_ids: `[N]`, see `camera_batches`.
        dataset_ids: integer `[N]`, see `dataset_batches`.
        **arguments: of `identity_batches`.

    Returns:
        int32 `[steps, P * K]`.
    """
    if camera_ids is not None and dataset_ids is not None:
        raise ReidError("camera_ids and dataset_ids are given, expected one of them: one sampler draws the batches.")
    if camera_ids is not None:
        return camera_batches(person_ids, camera_ids, **arguments)
    if dataset_ids is not None:
        return dataset_batches(person_ids, dataset_ids, **arguments)
    return identity_batches(person_ids, **arguments)
