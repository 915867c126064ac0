"""Readers by name: every dataset that `read_dataset` knows."""

from __future__ import annotations

import functools
import os

import pandas as pd

from keras_reid.data.readers.cuhk03 import read_cuhk03
from keras_reid.data.readers.market1501 import read_market1501, read_market1501_500k
from keras_reid.data.readers.mars import read_mars
from keras_reid.data.readers.msmt17 import read_msmt17
from keras_reid.data.readers.own_csv import read_csv_dataset
from keras_reid.data.readers.own_folders import read_folder
from keras_reid.data.readers.sources import WITHDRAWN
from keras_reid.data.readers.viper import read_viper
from keras_reid.errors import ReidError

READERS = {
    "market1501": read_market1501,
    "market1501_500k": read_market1501_500k,
    "msmt17": read_msmt17,
    "cuhk03": read_cuhk03,  # the new split, detected images
    "cuhk03_labeled": functools.partial(read_cuhk03, images="labeled"),
    "cuhk03_classic": functools.partial(read_cuhk03, split="classic"),  # to be scored by single-gallery-shot
    "mars": read_mars,
    "viper": read_viper,
    "csv": read_csv_dataset,
    "folder": read_folder,
    "synthetic": read_market1501,
}
_BY_LISTS = ("csv", "msmt17", "mars")  # whose images are named in a list: one of them may not be there


def read_dataset(
    name: str, root: str | os.PathLike, *, camera_pattern: str | None = None, must_exist: bool = True
) -> pd.DataFrame:
    """Reads the catalog of a dataset.

    Args:
        name: one of `keras_reid.choices.DATASETS`.
        root: its folder; for "csv" the file.
        camera_pattern: where the camera stands in the files' names, see `read_folder`; read for "folder" only.
        must_exist: whether an image that a list or a CSV names, but is not there, is refused.

    Returns:
        A frame with the columns `image_path`, `person_id`, `camera_id` (pandas' NA where missing) and `split`; where
        the dataset has them also `tracklet_id`, and `person_id_name` and `camera_id_name` for ids that were text.

    Raises:
        ReidError: the name is unknown, or the reader refuses the folder.
    """
    check_name(name)
    options = {"camera_pattern": camera_pattern} if name == "folder" else {}
    if name in _BY_LISTS:
        options["must_exist"] = must_exist
    return READERS[name](root, **options)


def check_name(name: str) -> None:
    """Raises ReidError where there is no reader of that name."""
    if name.lower() in WITHDRAWN:
        raise ReidError(f"dataset {name!r}: {WITHDRAWN[name.lower()]}.")
    if name not in READERS:
        raise ReidError(f"dataset {name!r} is unknown: expected one of {', '.join(READERS)}")
