"""Milvus: a gallery as collections on a server (http://HOST:19530), or in this process (Milvus Lite, a path in .db).

Two collections: NAME for the entries, and NAME_records of key and JSON text. Text is stored with the characters that
mean something in Milvus' expressions written as %22 and the like: no name can end a literal.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import re
import tempfile
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.gallery.entries import COLUMNS, NO_TIME, TIMES
from keras_reid.gallery.selection import Selection, condition

_METRICS = {"euclidean": "L2", "cosine": "COSINE"}
_SPECIAL = re.compile(r"[^\w .,:;/@+()\-]|[^\x20-\x7e]", re.ASCII)  # all else is written as %XX, in UTF-8
_LONGEST_TEXT = 65_535
_MOST_NEIGHBORS = 16_384  # that a search of Milvus gives
_ROWS_AT_ONCE = 1_000  # of 2048 numbers each, 8 MB of a message's 64
_KEYS_AT_ONCE = 1_000
_SECONDS = 30  # for an answer


class MilvusEngine:
    """A gallery's collections in Milvus.

    Args:
        uri: http(s)://HOST:PORT#NAME, NAME being that of the gallery, "gallery" by default; or a path that ends in .db.
        token: of the server; the environment's MILVUS_TOKEN by default.
        timeout: seconds to wait for an answer.
    """

    name = "Milvus"
    forgets_physically = False
    fewest_to_index = float("inf")  # its own index searches all of it

    def __init__(self, uri: str, *, token: str | None = None, timeout: float = _SECONDS):
        self._milvus = _import_pymilvus()
        self.errors = (
            self._milvus.exceptions.MilvusException,
            _grpc_error(),
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
        )
        self._uri, _, name = uri.partition("#")
        self.folder = None if re.match("https?://", uri) else Path(self._uri)
        self._collection = name or "gallery"
        if not re.fullmatch(r"[A-Za-z_]\w{0,200}", self._collection, re.ASCII):
            raise ReidError(f"gallery={uri}: {name!r} is no name of a collection: expected letters, digits and _.")
        self._token = token or os.environ.get("MILVUS_TOKEN", "")
        # Whole seconds: pymilvus takes no others for a limit, and tries 75 times, each as long as that.
        self._timeout, self._client = max(1, math.ceil(timeout)), None
        self._loaded, self._ends = set(), None
        if self.folder is not None:
            self.name = "Milvus Lite"

    def explain(self, error: BaseException) -> str:
        """Returns what an error of the engine most likely means, and what to do."""
        if self.folder is None:
            return (
                f"no answer from Milvus within {self._timeout:g} seconds, or an error there; look at address and server"
            )
        return (
            "Milvus Lite cannot open it, or not write to it: another process has it open, the disk is full, or it is "
            "damaged; then bring back a copy"
        )

    @property
    def lock_file(self) -> Path | None:
        return None if self.folder is None else self.folder.with_name(f"{self.folder.name}.lock")

    def check_place(self) -> None:
        """Raises ReidError where a path has no folder to lie in."""
        if self.folder is not None and not self.folder.absolute().parent.is_dir():
            raise ReidError(f"gallery={self._uri}: there is no folder {str(self.folder.absolute().parent)!r}. Make it.")

    # --- Records ---

    def records(self) -> dict[str, str]:
        if self.folder is not None and self._client is None and not self.folder.exists():
            return {}  # connecting would make it
        if not self._has("records"):
            return {}
        rows = self._query("records", "key != ''".replace("'", '"'), ["key", "text"])
        return {row["key"]: _decoded(row["text"]) for row in rows}

    def put_record(self, key: str, text: str) -> None:
        if not self._has("records"):
            fields = [("text", self._milvus.DataType.VARCHAR, {"max_length": _LONGEST_TEXT})]
            self._create("records", fields, width=2, metric="euclidean")
        row = {"key": key, "text": _encoded(text), "embedding": [0.0, 1.0]}
        self._connect().upsert(self._named("records"), [row], timeout=self._timeout)

    # --- Entries ---

    def create_entries(self, width: int, metric: str) -> None:
        if self._has("entries"):  # without a header: what a killed process left, or another one is making
            if self._describes("entries") == (width, _METRICS[metric]):
                return
            self._connect().drop_collection(self._named("entries"), timeout=self._timeout)
        kinds = self._milvus.DataType
        text, number = (kinds.VARCHAR, {"max_length": _LONGEST_TEXT}), (kinds.INT64, {})
        fields = [(name, *(number if name in TIMES else text)) for name in COLUMNS if name != "key"]
        self._create("entries", fields, width=width, metric=metric)
        self._ends = True

    def upsert(self, frame: pd.DataFrame, embeddings: np.ndarray) -> None:
        if not self._has_ends and (frame.until != NO_TIME).any():
            raise ReidError(
                f"gallery={self._uri} was made by an earlier version, and keeps no end of a track: fill a new one, by "
                "gallery export and gallery add."
            )
        rows = frame.to_dict("records")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = [
                {name: int(row[name]) if name in TIMES else _encoded(row[name]) for name in self._columns}
                | {"embedding": embedding}
                for row, embedding in zip(
                    rows[start : start + _ROWS_AT_ONCE], embeddings[start : start + _ROWS_AT_ONCE]
                )
            ]
            self._connect().upsert(self._named("entries"), part, timeout=self._timeout)

    def count(self, selected: Selection) -> int:
        options = {"output_fields": ["count(*)"], "timeout": self._timeout}
        found = self._connect().query(self._loaded_name("entries"), filter=self._filter(selected), **options)
        return int(found[0]["count(*)"])

    def nearest(
        self, query: np.ndarray, limit: int, selected: Selection, metric: str, approximate: bool
    ) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        """Returns entries, embeddings `[n, D]` and scores `[n]` of the nearest: squared, or cosine, distances."""
        if limit > _MOST_NEIGHBORS:
            parts = list(self.rows(selected))
            frame = pd.concat([frame for frame, _ in parts], ignore_index=True) if parts else self._frame([])
            rows = np.concatenate([rows for _, rows in parts]) if parts else np.zeros((0, len(query)), np.float32)
            return frame, rows, np.full(len(frame), np.inf)  # all of them: none is missing
        options = {"output_fields": [*self._columns, "embedding"], "timeout": self._timeout}
        found = self._connect().search(
            self._loaded_name("entries"), data=[query.tolist()], limit=limit, filter=self._filter(selected), **options
        )[0]
        frame, embeddings = self._frame([hit["entity"] for hit in found]), [hit["entity"]["embedding"] for hit in found]
        scores = np.array([hit["distance"] for hit in found], np.float64)
        embeddings = np.array(embeddings, np.float32).reshape(-1, len(query))
        return frame, embeddings, 1 - scores if metric == "cosine" else scores

    def rows(self, selected: Selection, *, embeddings: bool = True) -> Iterator[tuple[pd.DataFrame, np.ndarray | None]]:
        """Yields all entries selected, some thousands at a time, with their embeddings if wanted."""
        for part in _parts(selected):
            fields = [*self._columns, *(["embedding"] if embeddings else [])]
            iterator = self._connect().query_iterator(
                self._loaded_name("entries"),
                batch_size=_ROWS_AT_ONCE,
                filter=self._filter(part) or 'key != ""',
                output_fields=fields,
                timeout=self._timeout,
            )
            with contextlib.closing(iterator):
                while batch := iterator.next():
                    vectors = np.array([row["embedding"] for row in batch], np.float32) if embeddings else None
                    yield self._frame(batch), vectors

    def delete(self, selected: Selection) -> None:
        for part in _parts(selected):
            self._connect().delete(self._loaded_name("entries"), filter=self._filter(part), timeout=self._timeout)

    def purge(self) -> None:
        """Asks Milvus to write what is pending and to compact; when deleted rows leave its disks is its own affair."""
        self._connect().flush(self._named("entries"), timeout=self._timeout)
        with contextlib.suppress(*self.errors):  # Milvus Lite 2.5 has none
            self._connect().compact(self._named("entries"), timeout=self._timeout)

    def tidy(self) -> None:
        """Milvus does that by itself."""

    def build_index(self, metric: str) -> None:
        raise NotImplementedError("fewest_to_index is infinite")

    def files(self) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder] if self.folder.is_file() else sorted(p for p in self.folder.rglob("*") if p.is_file())

    entry_files = files

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client, self._loaded, self._ends = None, set(), None

    # --- Collections ---

    def _connect(self) -> Any:
        if self._client is None:
            address = self._uri if self.folder is None else str(self.folder.absolute())
            elsewhere = contextlib.nullcontext() if self.folder is None else _logs_in(_folder_of_this_process())
            with _quiet(), elsewhere:
                self._client = self._milvus.MilvusClient(address, token=self._token, timeout=self._timeout)
        return self._client

    def _named(self, table: str) -> str:
        return self._collection if table == "entries" else f"{self._collection}_{table}"

    def _has(self, table: str) -> bool:
        return self._connect().has_collection(self._named(table), timeout=self._timeout)

    def _describes(self, table: str) -> tuple[int, str]:
        """Returns width and metric of a collection's embeddings."""
        client, name = self._connect(), self._named(table)
        fields = client.describe_collection(name, timeout=self._timeout)["fields"]
        width = next(field["params"]["dim"] for field in fields if field["name"] == "embedding")
        return int(width), client.describe_index(name, client.list_indexes(name)[0])["metric_type"]

    def _loaded_name(self, table: str) -> str:
        """Returns the name of a collection, in memory on the server by now."""
        name = self._named(table)
        if name not in self._loaded:
            self._connect().load_collection(name, timeout=self._timeout)
            self._loaded.add(name)
        return name

    @property
    def _has_ends(self) -> bool:
        if self._ends is None:
            found = self._connect().describe_collection(self._named("entries"), timeout=self._timeout)
            self._ends = any(field["name"] == "until" for field in found["fields"])
        return self._ends

    @property
    def _columns(self) -> list[str]:
        return [name for name in COLUMNS if name != "until" or self._has_ends]

    def _filter(self, selected: Selection) -> str:
        """Returns a selection as an expression of Milvus; empty for all entries."""
        return condition(selected, _listed, '""', has_ends=self._has_ends)

    def _create(self, table: str, fields: list, *, width: int, metric: str) -> None:
        client, kinds = self._connect(), self._milvus.DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", kinds.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("embedding", kinds.FLOAT_VECTOR, dim=width)
        for name, kind, options in fields:
            schema.add_field(name, kind, **options)
        index = client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type=_METRICS[metric])
        # Strong: who reads sees what was written before.
        options = {"schema": schema, "index_params": index, "consistency_level": "Strong", "timeout": self._timeout}
        client.create_collection(self._named(table), **options)

    def _query(self, table: str, expression: str, fields: list[str]) -> list[dict]:
        options = {"filter": expression, "output_fields": fields, "batch_size": _ROWS_AT_ONCE, "timeout": self._timeout}
        iterator, rows = self._connect().query_iterator(self._loaded_name(table), **options), []
        with contextlib.closing(iterator):
            while batch := iterator.next():
                rows.extend(batch)
        return rows

    def _frame(self, rows: list) -> pd.DataFrame:
        columns = {}
        for name in COLUMNS:
            values = [row.get(name, NO_TIME) for row in rows]
            columns[name] = (
                np.array(values, np.int64) if name in TIMES else np.array(list(map(_decoded, values)), object)
            )
        return pd.DataFrame(columns)


def _parts(selected: Selection) -> Iterator[Selection]:
    """Yields selections of few keys each: an expression has a length that the server takes."""
    among = dict(selected.among)
    wanted = among.pop("key", None)
    if wanted is None:
        yield selected
        return
    rest = tuple(among.items())
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        yield Selection((*rest, ("key", wanted[start : start + _KEYS_AT_ONCE])))


def _listed(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{_encoded(value)}"' for value in values) + "]"


def _encoded(text: str) -> str:
    """Returns text in letters and digits, a few harmless signs, and %XX for each byte of the rest."""
    return _SPECIAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text)


def _import_pymilvus() -> Any:
    try:
        with _quiet():
            import pymilvus
            import pymilvus.exceptions
    except ImportError as error:
        raise ReidError(
            f"a gallery on Milvus needs pymilvus, which cannot be imported ({error}): install it with "
            "pip install 'keras_reid[milvus]'."
        ) from error
    return pymilvus


def _grpc_error() -> type[Exception]:
    import grpc

    return grpc.RpcError


@functools.cache
def _folder_of_this_process() -> tempfile.TemporaryDirectory:
    """Returns a folder that is removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="milvus-lite-")


@contextlib.contextmanager
def _logs_in(folder: tempfile.TemporaryDirectory) -> Iterator[None]:
    """Keeps what a server of Milvus Lite 2.5 logs, whether or not anything happens, from filling up /tmp."""
    name = "GOOGLE_LOG_DIR"
    if name in os.environ:  # somebody wants to see it
        yield
        return
    os.environ[name] = folder.name
    try:
        yield
    finally:
        os.environ.pop(name, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the warnings of an import, and the tracebacks that pymilvus logs for each error, off the screen."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("pymilvus", "pymilvus.decorators", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.disable(logging.CRITICAL)  # Milvus Lite logs by the root
        try:
            yield
        finally:
            logging.disable(disabled)
