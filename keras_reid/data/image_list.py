"""Image list: the images that a folder, a pattern or a CSV stands for, as a frame with the CSV's other columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import pandas as pd

from keras_reid.data.formats import IMAGE_SUFFIXES, count_by_suffix, is_image, left_out
from keras_reid.data.places import find_files, is_file, is_folder, is_remote, list_files, list_folder
from keras_reid.data.tables import check_columns, read_csv
from keras_reid.errors import ReidError


def image_names(folder: str) -> list[str]:
    """Returns the names of a folder's images, sorted; none where there is no folder."""
    names = [name for name in list_folder(folder) if is_image(name)]
    refuse_unreadable_names(names)
    return names


def say_left_out(files: Iterable[str], source: str) -> None:
    """Says in one line on stderr which of the files found at a place may be images, and are left out all the same."""
    others = left_out(files)
    if others:
        print(f"notice: files left out of {source!r}: {count_by_suffix(others)}.", file=sys.stderr)


def list_images(source: str | os.PathLike) -> pd.DataFrame:
    """Lists images; it opens none of them.

    Args:
        source: a folder (all images in it and in the folders below, hidden ones left out), a CSV with a column
            `image_path`, or a file name or pattern, in which `**` stands for any number of folders. A file of exactly
            this name comes before what a pattern matches.

    Returns:
        A frame with the column `image_path`. From a folder or a pattern: the files whose names end as those of images
        (`formats.SUFFIXES`), in upper or lower case, sorted; a line on stderr counts the others. From a CSV: its rows
        with all columns, relative paths from its folder.

    Raises:
        ReidError: there is no such image, or the CSV cannot be read or names no image.
    """
    source = os.fspath(source)
    if source.lower().endswith(".csv") and is_file(source):
        frame = read_image_csv(source, required=["image_path"])
        refuse_unreadable_names(frame.image_path)
        return frame
    found = list_files(source) if is_folder(source) else [path for path in find_files(source) if not is_folder(path)]
    return images_among(found, source)


def images_among(found: Sequence[str], source: str) -> pd.DataFrame:
    """Returns the images among the files found at a place, as `list_images` does."""
    images = sorted(filter(is_image, found))
    if not images:
        there = f"none of the {len(found)} files there ({count_by_suffix(found)})" if found else "there is none that"
        raise ReidError(
            f"no image at {source!r}: {there} ends in {', '.join(IMAGE_SUFFIXES)}. Expected a folder, a quoted pattern "
            "such as 'photos/**/*.jpg', or a .csv with a column image_path."
        )
    say_left_out(found, source)
    refuse_unreadable_names(images)
    return pd.DataFrame({"image_path": images})


def read_image_csv(
    path: str, *, required: Sequence[str], as_text: Sequence[str] = (), folder: str | None = None
) -> pd.DataFrame:
    """Reads a CSV with a line for each image, relative paths from its folder; `as_text` as in `read_csv`.

    Paths with a scheme (gs://) stay. `folder` is that of the CSV where `path` is a copy of it.

    Raises:
        ReidError: it cannot be read, names no image, or lacks a required column, image_path among them, or its cell.
    """
    frame = read_csv(path, as_text=as_text)
    check_columns(frame, path, required, ": add or rename columns.")
    if not len(frame):
        raise ReidError(f"{path!r} names no image: expected a line for each below the column names.")
    for name in required:
        gaps = frame[name].isna()
        if gaps.any():
            raise ReidError(f"{path!r} has no {name} in {gaps.sum()} rows, the first is row {gaps.argmax() + 1}.")
    folder = os.path.dirname(path) if folder is None else folder
    images = map(str, frame.image_path)
    return frame.assign(image_path=[image if is_remote(image) else os.path.join(folder, image) for image in images])


def refuse_unreadable_names(images: Iterable[str]) -> None:
    """Raises ReidError for a path that is not in UTF-8."""
    for image in images:
        try:
            image.encode()
        except UnicodeEncodeError as error:  # pandas, TensorFlow and Parquet take no such name
            raise ReidError(f"the name of {image!r} is not in UTF-8. Rename the file.") from error
