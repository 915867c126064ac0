"""Lock: what one process writes, no other writes at the same time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from filelock import FileLock, Timeout

from keras_reid.errors import ReidError


@contextlib.contextmanager
def locked(path: str | os.PathLike, *, seconds: float, taken: str) -> Iterator[None]:
    """Keeps other processes out while the block runs; on a file system without locks it does nothing.

    Args:
        path: of the lock's file, which is made.
        seconds: to wait for another process that holds it.
        taken: what is said when it still does.

    Raises:
        ReidError: `taken`.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise ReidError(taken) from error
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()
