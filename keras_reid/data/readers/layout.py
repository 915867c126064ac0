"""Layout of a dataset: checks of folders, file names and MATLAB files that the readers share."""

from __future__ import annotations

import io
import os
import re

import numpy as np

from keras_reid.data.image_list import image_names
from keras_reid.data.places import is_file, is_folder, read_bytes
from keras_reid.errors import ReidError

COLUMNS = ["image_path", "person_id", "camera_id", "split"]


def require_folder(root: str, dataset: str, holds: str = "") -> None:
    """Raises ReidError where the folder of a dataset, which holds what it names, does not exist."""
    if not is_folder(root):
        raise ReidError(f"data folder {root!r} does not exist. Expected {dataset}'s folder{holds}: set data_dir to it.")


def folder_in(root: str, name: str, dataset: str) -> str:
    """Returns the path of a folder of the dataset; ReidError where `root` has none of this name."""
    path = os.path.join(root, name)
    if not is_folder(path):
        raise ReidError(f"{path!r} does not exist: {root!r} is not in {dataset}'s layout. Check data_dir.")
    return path


def read_split(
    root: str, folder: str, split: str, pattern: re.Pattern, *, dataset: str, example: str
) -> list[tuple[str, int, int, str]]:
    """Returns a row of `COLUMNS` for each image of a folder, whose name gives its person and camera.

    Raises:
        ReidError: the folder does not exist or holds no image, or one is not named like the dataset's.
    """
    path, rows = folder_in(root, folder, dataset), []
    for name in image_names(path):
        match = match_name(path, name, pattern, dataset=dataset, example=example)
        rows.append((os.path.join(path, name), int(match["person"]), int(match["camera"]), split))
    if not rows:
        raise ReidError(f"the {split} split is empty: no image in {path!r}. Unpack the dataset again.")
    return rows


def match_name(folder: str, name: str, pattern: re.Pattern, *, dataset: str, example: str) -> re.Match:
    """Returns the parts of an image's name; ReidError where it is not named like the dataset's images."""
    match = pattern.fullmatch(name)
    if match is None:
        path = os.path.join(folder, name)
        raise ReidError(f"{path!r} is not named like {dataset}'s images, such as {example}. Rename it or move it away.")
    return match


def read_matlab(path: str, fields: tuple[str, ...], what: str) -> list[np.ndarray]:
    """Returns fields of a MATLAB file, `what` in words; ReidError where it is missing, cannot be read or lacks one."""
    from scipy.io import loadmat  # imported here, since few datasets need it

    if not is_file(path):
        raise ReidError(f"{path!r} does not exist: expected {what}.")
    try:
        content = loadmat(io.BytesIO(read_bytes(path)))
    except Exception as error:  # scipy has no exception of its own for a file that is not MATLAB's
        raise ReidError(f"{path!r} is not a MATLAB file that can be read: {error}. Copy it again.") from error
    missing = [name for name in fields if name not in content]
    if missing:
        raise ReidError(f"{path!r} has no {', '.join(missing)}: it is not {what}. Copy it again.")
    return [content[name] for name in fields]
