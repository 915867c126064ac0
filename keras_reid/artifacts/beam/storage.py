"""Storage of a pipeline: files by path, local or in a bucket (gs://, s3://), by Apache Beam's file systems."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from keras_reid.data import image_list
from keras_reid.data.places import is_remote
from keras_reid.errors import ReidError, first_line
from keras_reid.files import remove

_AS_IT_IS = CompressionTypes.UNCOMPRESSED  # whatever a name ends in


def check_reachable(path: str) -> None:
    """Raises ReidError where Beam has no file system for a path."""
    try:
        FileSystems.get_filesystem(path)
    except (BeamIOError, ValueError) as error:
        raise _not_opened(path, error) from error


def _not_opened(path: str, error: Exception) -> ReidError:
    details = getattr(error, "exception_details", None) or {path: error}
    why = first_line(next(iter(details.values())))
    return ReidError(
        f"Beam cannot open {path!r} ({why}). gs:// needs its extra gcp, s3:// aws, hdfs:// hadoop, as in pip install "
        "'apache-beam[gcp]', and rights there."
    )


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading; it can be sought in."""
    return FileSystems.open(path, compression_type=_AS_IT_IS)


@contextlib.contextmanager
def create_file(path: str) -> Iterator[BinaryIO]:
    """Yields a file to write to, which is at its path once the block has ended without error."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{uuid.uuid4().hex}.{name}"  # of each try its own: a runner may repeat it elsewhere
    with FileSystems.create(temporary, compression_type=_AS_IT_IS) as file:
        yield file
    FileSystems.rename([temporary], [path])


def names_in(folder: str) -> list[str]:
    """Returns the names of what is in a folder, of a bucket only those of a part; none where there is none."""
    if not is_remote(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return sorted(path[len(folder) + 1 :] for path in _matches(f"{folder}/**", limit=100))


def exists(path: str) -> bool:
    return FileSystems.exists(path)


def remove_file(path: str) -> None:
    if is_remote(path):
        FileSystems.delete([path])
    else:
        remove(Path(path))


def remove_folder(folder: str) -> None:
    """Removes a folder with all that is in it, where there is one."""
    if not is_remote(folder):
        remove(Path(folder))
    elif names_in(folder):
        FileSystems.delete([f"{folder}/"])


def list_images(source: str) -> pd.DataFrame:
    """Lists images as `data.image_list.list_images`, those of a bucket by Beam's file systems."""
    if not is_remote(source):
        return image_list.list_images(source)
    check_reachable(source)
    if source.lower().endswith(".csv"):
        return _read_remote_csv(source)
    place = source.rstrip("/")
    # In Beam's patterns ** stands for something; here for any number of folders, none too.
    found = _matches(place, place.replace("**/", "")) or _matches(f"{place}/**")
    return image_list.images_among(found, source)


def _matches(*patterns: str, limit: int | None = None) -> list[str]:
    try:
        found = FileSystems.match(list(patterns), limits=[limit] * len(patterns))
    except BeamIOError as error:
        raise _not_opened(patterns[0], error) from error
    paths = {file.path for matched in found for file in matched.metadata_list}
    return [path for path in paths if "/." not in path]  # hidden, as in a local folder


def _read_remote_csv(source: str) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(source))
        with open_file(source) as file, open(copy, "wb") as local:
            shutil.copyfileobj(file, local)
        try:
            frame = image_list.read_image_csv(copy, required=["image_path"], folder=os.path.dirname(source))
        except ReidError as error:
            raise ReidError(str(error).replace(copy, source)) from error
    image_list.refuse_unreadable_names(frame.image_path)
    return frame
