"""Files written whole or not at all, under a temporary name in the same folder first; and folders with odd names."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_or_not_at_all(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path for a file or a folder, which is renamed to `path` when the block ends without error.

    An existing file is replaced. An existing folder is not: the rename raises OSError. When the block fails, what it
    wrote is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        remove(temporary)


def wait_for_disk(path: Path) -> None:
    """Waits until a file or a folder is on the disk: otherwise a power cut may leave its name without its contents."""
    for part in [path, *path.rglob("*")]:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a process that was killed while writing left this path."""
    return path.name.startswith(".") and ".part-" in path.name


def temporary_name(path: Path) -> Path:
    """Returns a new name in the folder of `path`, which `remove_leftovers` recognizes."""
    # The suffix stays last, for writers that choose their format by it.
    return path.with_name(f".{path.stem}.part-{uuid.uuid4().hex[:8]}{path.suffix}")


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what processes that were killed while writing left below a folder."""
    for leftover in list(folder.rglob(".*.part-*")):
        remove(leftover)


def remove_leftovers_of(path: Path, *, older_than: float) -> None:
    """Removes what processes that were killed while writing `path` left, at least so many seconds ago."""
    for leftover in list(path.parent.glob(f".*{glob.escape(path.stem)}.part-*")):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if time.time() - leftover.stat().st_mtime >= older_than:
                remove(leftover)


@contextlib.contextmanager
def without_patterns(folder: Path) -> Iterator[Path]:
    """Yields a path to a folder whose checkpoint TensorFlow reads, the folder's own or a link's in another place.

    It takes the path of a checkpoint, and of a SavedModel's variables, for a pattern in which `[`, `]` and `\\` have a
    meaning, and then opens what matches by the pattern: no way of writing these characters passes both.
    """
    special = "[]" if os.sep == "\\" else "[]\\"
    if not set(special) & set(os.fspath(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        link = Path(place, "folder")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with whole_or_not_at_all(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
