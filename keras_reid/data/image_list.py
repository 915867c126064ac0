"""Image list: the images that a folder, a pattern or a CSV stands for, as a frame with the CSV's other columns."""

from __future__ import annotations

import os

import pandas as pd

from keras_reid.data.places import find_files, is_file, is_folder, list_files, list_folder
from keras_reid.data.tables import read_csv
from keras_reid.errors import ReidError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def image_names(folder: str) -> list[str]:
    """Returns the names of a folder's images, sorted; none where there is no folder."""
    return [name for name in list_folder(folder) if name.lower().endswith(IMAGE_SUFFIXES)]


def list_images(source: str | os.PathLike) -> pd.DataFrame:
    """Lists images; it opens none of them.

    Args:
        source: a folder (all images in it and in the folders below, hidden ones left out), a CSV with a column
            `image_path`, or a file name or pattern, in which `**` stands for any number of folders.

    Returns:
        A frame with the column `image_path`. From a folder or a pattern: the files that end in .jpg, .jpeg, .png or
        .bmp, in upper or lower case, sorted. From a CSV: its rows with all columns, relative paths from its folder.

    Raises:
        ReidError: there is no such image, or the CSV cannot be read or names no image.
    """
    source = os.fspath(source)
    if source.lower().endswith(".csv") and is_file(source):
        return _from_csv(source)
    found = list_files(source) if is_folder(source) else [path for path in find_files(source) if not is_folder(path)]
    images = sorted(path for path in found if path.lower().endswith(IMAGE_SUFFIXES))
    if not images:
        there = f"none of the {len(found)} files there" if found else "there is none that"
        raise ReidError(
            f"no image at {source!r}: {there} ends in {', '.join(IMAGE_SUFFIXES)}. Expected a folder, a quoted pattern "
            "such as 'photos/**/*.jpg', or a .csv with a column image_path."
        )
    _refuse_unreadable_names(images)
    return pd.DataFrame({"image_path": images})


def _from_csv(path: str) -> pd.DataFrame:
    frame = read_csv(path)
    if "image_path" not in frame:
        raise ReidError(f"{path!r} has no column image_path: its columns are {', '.join(map(repr, frame))}. Rename it.")
    if not len(frame):
        raise ReidError(f"{path!r} names no image: expected a line for each below the column names.")
    missing = frame.image_path.isna()
    if missing.any():
        raise ReidError(f"{path!r} has no image_path in {missing.sum()} rows, the first is row {missing.argmax() + 1}.")
    folder = os.path.dirname(path)
    images = [os.path.join(folder, str(image)) for image in frame.image_path]
    _refuse_unreadable_names(images)
    return frame.assign(image_path=images)


def _refuse_unreadable_names(images: list[str]) -> None:
    for image in images:
        try:
            image.encode()
        except UnicodeEncodeError as error:  # neither TensorFlow nor Parquet takes such a name
            raise ReidError(f"the name of {image!r} is not in UTF-8. Rename the file.") from error
