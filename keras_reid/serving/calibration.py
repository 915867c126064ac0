"""Calibration images: the training images that show a quantized network the range of its activations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.data.decoding import decode_image
from keras_reid.data.images import raise_for_undecodable, resize_images
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf


def spread_over_identities_and_cameras(images: pd.DataFrame, count: int, *, seed: int = 0) -> pd.DataFrame:
    """Returns `count` rows of a catalog: each identity comes once before any comes twice, and cameras take turns."""
    # Missing camera ids are one camera.
    frame = images.assign(camera=images.camera_id.astype("string").fillna("") if "camera_id" in images else "")
    frame = frame.sample(frac=1, random_state=seed)
    # The first image of each identity by each camera comes before any second one.
    frame = frame.assign(turn=frame.groupby(["person_id", "camera"]).cumcount()).sort_values("turn", kind="stable")
    frame = frame.assign(turn=frame.groupby("person_id").cumcount())
    frame = frame.assign(camera_turn=frame.groupby(["turn", "camera"]).cumcount())
    frame = frame.sort_values(["turn", "camera_turn"], kind="stable").head(count)
    return images.loc[frame.index]


def calibration_images(catalog: pd.DataFrame, image_size: tuple[int, int], *, count: int) -> np.ndarray:
    """Reads training images of many identities and cameras, as uint8 `[N, height, width, 3]`, RGB.

    Raises:
        ReidError: there are no training images, or one cannot be read.
    """
    training = catalog[catalog.split == "train"]
    if not len(training):
        raise ReidError("int8 and int16 are calibrated on training images, but the dataset has none.")
    paths = list(spread_over_identities_and_cameras(training.reset_index(drop=True), count).image_path)
    try:
        pixels = [resize_images(decode_image(tf.io.read_file(path)), image_size) for path in paths]
    except (tf.errors.OpError, ValueError) as error:
        raise_for_undecodable(paths, error)
    return tf.cast(tf.round(tf.stack(pixels)), tf.uint8).numpy()
