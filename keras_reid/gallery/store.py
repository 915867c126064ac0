"""Store: a gallery's engine with its header; readers that read again, writers that take turns, errors in one line."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from keras_reid.errors import ReidError
from keras_reid.gallery.engines import is_gone, open_engine, told_in_one_line
from keras_reid.gallery.header import Header, check_header, read_header
from keras_reid.locks import locked

_HEADER = "header"  # the key of its record
_SECONDS_FOR_LOCK = 10.0


class Store:
    """What a gallery consists of.

    Args:
        uri: as in `Gallery`.
        expected: what of metric, embedding_size, network_fingerprint and test_time_augmentation the gallery must have;
            None passes.
        options: of the engine.
    """

    def __init__(self, uri: str, expected: dict[str, Any], **options: Any):
        self.name, self.expected = f"gallery={uri}", expected
        self.engine = open_engine(uri, **options)
        self.header_there: Header | None = None
        with told_in_one_line(self.engine, self.name):
            self.engine.check_place()
            self.read_header()

    @property
    def header(self) -> Header:
        """The header; ReidError where nothing was added yet."""
        if self.header_there is None and not self.is_there():
            raise ReidError(f"{self.name}: there is no gallery yet. gallery add makes one.")
        return self.header_there

    def is_there(self) -> bool:
        """Whether there is a gallery, which another process may have made meanwhile."""
        return self.header_there is not None or self.read(self.read_header) is not None

    def read_header(self) -> Header | None:
        """Reads the header anew; ReidError where it does not fit what is expected."""
        text = self.engine.records().get(_HEADER)
        header = None if text is None else read_header(text, self.name)
        if header is not None:
            check_header(header, self.name, **self.expected)
        self.header_there = header
        return header

    def write_header(self, **changed: Any) -> Header:
        """Writes the header with some values changed."""
        self.header_there = dataclasses.replace(self.header, **changed)
        self.engine.put_record(_HEADER, self.header_there.as_text())
        return self.header_there

    def make(self, header: Header) -> None:
        """Makes an empty gallery; the header comes last and says that all is there."""
        self.engine.create_entries(header.embedding_size, header.metric)
        self.engine.put_record(_HEADER, header.as_text())
        self.header_there = header

    def purge(self) -> None:
        """Removes from the disk what was deleted; afterwards no forget is unfinished, and there is no index."""
        self.engine.purge()
        self.write_header(unfinished_forget=False, recall=None)

    def read(self, function: Callable[[], Any]) -> Any:
        """Returns what a function reads; it reads again where a writer took away what it was reading."""
        with told_in_one_line(self.engine, self.name):
            try:
                return function()
            except self.engine.errors as error:
                if isinstance(error, ReidError) or not is_gone(error):
                    raise
                self.engine.close()
                return function()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers out, after waiting for them a while; what they changed in the header is read."""
        with told_in_one_line(self.engine, self.name), self._lock():
            self.read_header()
            yield

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        path = self.engine.lock_file
        if path is None:
            yield
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = f"{self.name}: another process is writing to it, for {_SECONDS_FOR_LOCK:g} seconds already. Give the "
        taken += "same command again when it is done."
        with locked(path, seconds=_SECONDS_FOR_LOCK, taken=taken):
            yield
