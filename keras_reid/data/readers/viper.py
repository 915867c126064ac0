"""Reader of VIPeR: a random half of its people trains, drawn by a number, as its protocol demands."""

from __future__ import annotations

import os
import re

import numpy as np
import pandas as pd

from keras_reid.data.formats import ENDING
from keras_reid.data.image_list import image_names
from keras_reid.data.places import is_folder
from keras_reid.data.readers.layout import COLUMNS, match_name
from keras_reid.errors import ReidError

CAMERAS = ("cam_a", "cam_b")
_NAME = re.compile(rf"(?P<person>\d{{3}})_\d{{1,3}}{ENDING}", re.IGNORECASE)


def read_viper(root: str | os.PathLike, *, split: int = 0) -> pd.DataFrame:
    """Reads the catalog of VIPeR: 632 people, with one image by each of two cameras.

    The layout: `root`, or `VIPeR` in it, holds `cam_a` and `cam_b` with names such as 000_45.bmp (person, angle).
    The dataset has no official split: 316 people, half of them, are drawn for training; of the others the images of
    camera a are the queries and those of camera b the gallery. Papers report the mean over ten such draws, and seldom
    publish them: these are draws of our own.

    Args:
        root: the folder.
        split: the number of the draw, the seed of NumPy's `default_rng`; `read_dataset` takes 0.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int, the number in the name + 1), `camera_id` (int, 1
        for cam_a, 2 for cam_b) and `split` ("train", "query", "gallery"), sorted by split, camera and file name.

    Raises:
        ReidError: a folder is missing or empty, an image is not named like the dataset's, or a person has not exactly
            one image of each camera.

    Source: Gray, Brennan and Tao, "Evaluating Appearance Models for Recognition, Reacquisition, and Tracking", PETS
    2007.
    """
    root = os.fspath(root)
    places = (root, os.path.join(root, "VIPeR"))
    folder = next((place for place in places if all(is_folder(os.path.join(place, name)) for name in CAMERAS)), None)
    if folder is None:
        raise ReidError(f"{root!r} is not in VIPeR's layout: expected the folders cam_a and cam_b. Check data_dir.")
    if split < 0:
        raise ReidError(f"split={split}, expected the number of a draw, from 0.")
    images = [_read_camera(os.path.join(folder, name)) for name in CAMERAS]
    alone = sorted(images[0].keys() ^ images[1].keys())
    if alone:
        raise ReidError(
            f"{len(alone)} people have an image in one of cam_a and cam_b of {folder!r} only, the first is "
            f"{alone[0]:03}: expected one in each. Unpack the dataset again."
        )
    people = np.random.default_rng(split).permutation(sorted(images[0]))
    training = set(people[: len(people) // 2].tolist())
    rows = []
    for camera, of_person in enumerate(images, 1):
        for person, path in of_person.items():
            name = "train" if person in training else ("query", "gallery")[camera - 1]
            rows.append((path, person + 1, camera, name))
    rows.sort(key=lambda row: ("train", "query", "gallery").index(row[3]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _read_camera(folder: str) -> dict[int, str]:
    """Returns each person's image."""
    names = image_names(folder)
    if len(names) < 2:
        raise ReidError(f"{folder!r} holds {len(names)} images: expected those of two people or more. Unpack it again.")
    images = {}
    for name in names:
        person = int(match_name(folder, name, _NAME, dataset="VIPeR", example="000_45.bmp")["person"])
        path = os.path.join(folder, name)
        if person in images:
            raise ReidError(f"{path!r} is a second image of its person in {folder!r}, expected one. Move it away.")
        images[person] = path
    return images
