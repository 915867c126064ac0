"""Engines: the database that an address stands for, and what is told of its errors in one line.

Each engine has the same few functions; `lance.py` says what they do.

| address | engine |
|---|---|
| a folder; s3://, gs://, az:// | LanceDB |
| http://HOST:19530, https://...; with #NAME one of several galleries there | a Milvus server |
| a path that ends in .db | Milvus Lite, in this process |
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from keras_reid.errors import ReidError, first_line

_SIGNS_OF_A_FULL_DISK = re.compile(r"No space left|File too large|Disk quota|errno = 2[78]|os error 2[78]")
_GONE = re.compile(r"not found|No such file|does not exist", re.IGNORECASE)


def open_engine(uri: str | os.PathLike, **options: Any) -> Any:
    """Returns the engine of an address; it connects when it is first used."""
    uri = os.fspath(uri)
    if not uri:
        raise ReidError("gallery is empty: expected a folder, an address in a bucket, or http://HOST:19530.")
    if re.match("https?://", uri) or uri.endswith(".db"):
        from keras_reid.gallery.milvus import MilvusEngine

        return MilvusEngine(uri, **options)
    from keras_reid.gallery.lance import LanceEngine

    return LanceEngine(uri, **options)


@contextlib.contextmanager
def told_in_one_line(engine: Any, name: str) -> Iterator[None]:
    """Turns the errors of an engine, which are of many classes and pages long, into a ReidError."""
    try:
        yield
    except ReidError:
        raise
    except engine.errors as error:
        raise _told(engine, name, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, of damaged files; it is no Exception
            raise
        raise _told(engine, name, error) from error


def is_gone(error: Exception) -> bool:
    """Whether a reader met a file that a writer has just removed: what it reads again is the newer state."""
    return _GONE.search(str(error)) is not None


def _told(engine: Any, name: str, error: BaseException) -> ReidError:
    full = _SIGNS_OF_A_FULL_DISK.search(str(error))
    if full:
        return ReidError(f"{name}: No space left on the disk ({full[0]}); what was added before is kept.")
    return ReidError(f"{name}: {engine.explain(error)} ({first_line(error)}).")
