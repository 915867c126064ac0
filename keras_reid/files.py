"""Files are written whole or not at all: beside their place first, then renamed into it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_or_not_at_all(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path beside `path` to write a file or a folder to; it takes `path`'s place when the block ends well.

    A file that is there is replaced; a folder that is there is not: renaming onto it raises OSError. When the block
    fails, what it wrote is removed.
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
    """Waits until a file or a folder is on the disk: after a power cut a name in place must not stand for nothing."""
    for part in [path, *path.rglob("*")]:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether this is what a process that was killed while writing left."""
    return path.name.startswith(".") and ".part-" in path.name


def temporary_name(path: Path) -> Path:
    """Returns a name beside `path` that nobody has, and that `remove_leftovers` knows."""
    # The suffix stays last, for writers that choose their format by it.
    return path.with_name(f".{path.stem}.part-{uuid.uuid4().hex[:8]}{path.suffix}")


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed while writing left below a folder."""
    for leftover in list(folder.rglob(".*.part-*")):
        remove(leftover)


def remove_leftovers_of(path: Path, *, older_than: float) -> None:
    """Removes what processes that were killed while writing to `path` left beside it, so many seconds ago or more."""
    for leftover in list(path.parent.glob(f".*{path.stem}.part-*")):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if time.time() - leftover.stat().st_mtime >= older_than:
                remove(leftover)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with whole_or_not_at_all(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
