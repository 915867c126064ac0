"""Places: files and folders by path, local ones by Python, those with a scheme (gs://, file://) by TensorFlow.

TensorFlow takes seconds to import, and local folders do without it.
"""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Callable, Iterable

from keras_reid.errors import ReidError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def is_remote(path: str | os.PathLike) -> bool:
    """Whether TensorFlow's file systems open a path, such as gs://bucket/folder."""
    return _SCHEME.match(os.fspath(path)) is not None


def absolute(path: str) -> str:
    """Returns a path that means the same from any folder."""
    return path if is_remote(path) else os.path.abspath(path)


def is_folder(path: str) -> bool:
    return _is_remote_folder(path) is True if is_remote(path) else os.path.isdir(path)


def is_file(path: str) -> bool:
    return _is_remote_folder(path) is False if is_remote(path) else os.path.isfile(path)


def list_folder(folder: str) -> list[str]:
    """Returns the names in a folder, sorted; none where there is no folder."""
    if not is_folder(folder):
        return []
    # Buckets list a folder with a slash at the end of its name.
    names = _remote(folder, lambda gfile: gfile.listdir(folder)) if is_remote(folder) else os.listdir(folder)
    return sorted(name.rstrip("/") for name in names)


def list_files(folder: str) -> list[str]:
    """Returns the paths of all files below a folder, sorted; names that begin with a dot are left out."""

    def stop(error: OSError):  # a folder that may not be read, which os.walk would pass over in silence
        raise error

    found, visible, remote = [], lambda name: not name.startswith("."), is_remote(folder)
    walk = _remote(folder, lambda gfile: list(gfile.walk(folder))) if remote else os.walk(folder, onerror=stop)
    for place, folders, names in walk:
        if remote:  # gfile.walk enters hidden folders, whatever is removed from `folders`
            if any(not visible(part) for part in place[len(folder) :].strip("/").split("/")):
                continue
        else:
            folders[:] = filter(visible, folders)
        # On foreign disks macOS adds a file ._0001.jpg, which is no image, to each 0001.jpg.
        found += [os.path.join(place, name) for name in filter(visible, names)]
    return sorted(found)


def find_files(pattern: str) -> list[str]:
    """Returns the paths that match a pattern; `**` stands for any number of folders in a local one.

    A file whose name is the pattern itself, such as star[1].jpg, is the only one, and a folder that the pattern begins
    with, such as [1]/*.jpg, is taken as it is called.
    """
    if is_file(pattern):
        return [pattern]
    if is_remote(pattern):
        return _remote(pattern, lambda gfile: gfile.glob(pattern))
    folder = pattern
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return glob.glob(f"{glob.escape(folder)}{pattern[len(folder) :]}", recursive=True)


def read_bytes(path: str) -> bytes:
    """Returns a file's content. Raises ReidError, or OSError of a local file, where it cannot be read."""
    if is_remote(path):
        return _remote(path, lambda gfile: gfile.GFile(path, "rb").read())
    with open(path, "rb") as file:
        return file.read()


def read_lines(path: str) -> list[str]:
    """Returns the lines of a text file in UTF-8; empty ones at its end are left out."""
    try:
        return read_bytes(path).decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ReidError(f"{path!r} is no text in UTF-8. Copy the file again.") from error


def refuse_missing(paths: Iterable[str], named_by: str, advice: str) -> None:
    """Raises ReidError where local files do not exist that a list or a CSV names.

    Each folder is listed once, which is faster than a question for each file. Remote files are named when they are
    read: listing thousands of folders of a bucket takes minutes.
    """
    names_in = functools.lru_cache(maxsize=None)(lambda folder: set(list_folder(folder or ".")))
    local = (path for path in dict.fromkeys(paths) if not is_remote(path))
    missing = [path for path in local if os.path.basename(path) not in names_in(os.path.dirname(path))]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ReidError(
            f"{len(missing)} images that {named_by} names do not exist: "
            f"{', '.join(map(repr, missing[:3]))}{more}. {advice}"
        )


def _is_remote_folder(path: str) -> bool | None:
    """Returns whether a remote path is a folder; None where there is nothing."""
    return _remote(path, lambda gfile: bool(gfile.stat(path).is_directory), missing_ok=True)


def _remote(path: str, action: Callable, *, missing_ok: bool = False):
    """Returns what `action(tf.io.gfile)` gives; None where nothing is at the path and this is fine."""
    from keras_reid.keras2 import tf

    try:
        return action(tf.io.gfile)
    except tf.errors.OpError as error:  # a scheme that is unknown, no rights, no network
        if missing_ok and isinstance(error, tf.errors.NotFoundError):
            return None
        raise ReidError(
            f"TensorFlow cannot open {path!r}: {error.message}. Check the path and the rights, or copy the data to a "
            "local folder."
        ) from error
