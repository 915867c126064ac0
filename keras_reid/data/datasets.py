"""Decides which reader reads the data set of a name."""

from __future__ import annotations

import functools
import os

import pandas as pd

from keras_reid.data.catalog import read_market1501
from keras_reid.data.cuhk03 import read_cuhk03
from keras_reid.errors import ReidError

READERS = {
    "market1501": read_market1501,
    "synthetic": read_market1501,
    "cuhk03": read_cuhk03,  # the new split, detected images
    "cuhk03_labeled": functools.partial(read_cuhk03, images="labeled"),
    "cuhk03_classic": functools.partial(read_cuhk03, split="classic"),  # for --protocol=single_gallery_shot
}


def read_dataset(name: str, root: str | os.PathLike) -> pd.DataFrame:
    """Reads the catalog of a data set.

    Args:
        name: of `READERS`.
        root: its folder.

    Returns:
        A frame as `read_market1501` returns it.

    Raises:
        ReidError: the name is unknown, or the reader refuses the folder.
    """
    if name not in READERS:
        raise ReidError(f"data set {name!r} is unknown: expected one of {', '.join(READERS)}")
    return READERS[name](root)
