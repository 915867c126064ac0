"""LanceDB: a gallery as tables in a folder, or in a bucket (s3://, gs://, az://); no server.

Two tables: `entries`, and `records` of key and JSON text (the header, the audit log). A write is there whole or not at
all. Readers see the newest state at once; writers take turns by the gallery's lock. A bucket has no lock: LanceDB
commits one writer after the other, and as `key` is its primary key, what two add at once comes in once.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data.places import is_remote
from keras_reid.errors import ReidError
from keras_reid.gallery.entries import COLUMNS, NO_TIME, TIMES
from keras_reid.gallery.selection import Selection, condition

_TABLES = ("entries", "records")
_METRICS = {"euclidean": "l2", "cosine": "cosine"}  # our name -> LanceDB's
_ROWS_AT_ONCE = 50_000
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}  # merge_insert looks at what others add meanwhile
_FRAGMENTS = 64  # files of few rows that many adds leave; with more, they become one
# Of an index's partitions, by an approximate search: of a million drawn embeddings it finds 98 % of the nearest, and
# with a thirtieth of the partitions 72 %.
_SHARE_SEARCHED = 0.25


class LanceEngine:
    """A gallery's tables in LanceDB.

    Args:
        uri: a folder, or the address of one in a bucket.
        storage_options: of the bucket, as LanceDB takes them; keys and secrets are better left to the environment.
    """

    errors = (OSError, RuntimeError, ValueError, KeyError)
    name = "LanceDB"
    forgets_physically = True
    fewest_to_index = 10_000  # exact search takes milliseconds there

    def __init__(self, uri: str, *, storage_options: Mapping[str, str] | None = None):
        self.folder = None if is_remote(uri) else Path(uri)
        self._lancedb, self._pyarrow = _import_lancedb()
        self._uri, self._options, self._connection, self._tables = uri, storage_options, None, {}
        self._ends = False

    def explain(self, error: BaseException) -> str:
        """Returns what an error of the engine most likely means, and what to do."""
        if re.search("commit conflict|ncompatible transaction|preempted", str(error)):
            return "another process wrote to it at the same time; give the same command again"
        if self.folder is None:
            return "the bucket cannot be reached, or what is there is damaged; look at address and credentials"
        if isinstance(error, PermissionError) or "ermission denied" in str(error):
            return "it may not be read or written; look at its permissions"
        return "its files are damaged, or being moved; bring back a copy, or fill a new gallery"

    @property
    def lock_file(self) -> Path | None:
        return None if self.folder is None else self.folder / ".lock"

    def check_place(self) -> None:
        """Raises ReidError where there are other things than a gallery at the folder."""
        if self.folder is None or not os.path.lexists(self.folder):
            return
        if not self.folder.is_dir():
            raise ReidError(f"gallery={self._uri} is a file: expected the folder of a gallery, or a new one.")
        names = {path.name for path in self.folder.iterdir()}
        foreign = names - {f"{name}.lance" for name in _TABLES} - {".lock"}
        if foreign and not (self.folder / "records.lance").is_dir():
            raise ReidError(
                f"gallery={self._uri} is a folder with {min(foreign)!r} in it, but no gallery: expected a gallery, or "
                "a new or empty folder."
            )

    # --- Records: key -> JSON text ---

    def records(self) -> dict[str, str]:
        table = self._open("records")
        if table is None:
            return {}
        found = table.search().limit(2**31).to_arrow()
        return dict(zip(found["key"].to_pylist(), found["text"].to_pylist()))

    def put_record(self, key: str, text: str) -> None:
        schema = self._pyarrow.schema([self._key_field(), ("text", self._pyarrow.string())])
        rows = self._pyarrow.table({"key": [key], "text": [text]}, schema=schema)
        _upsert(self._open("records") or self._create("records", rows.schema), rows)

    # --- Entries ---

    def create_entries(self, width: int, metric: str) -> None:
        """Makes the table of entries; one of another width, without a header, is what a killed process left."""
        pa = self._pyarrow
        kinds = [(name, pa.int64() if name in TIMES else pa.string()) for name in COLUMNS[1:]]
        schema = pa.schema([self._key_field(), *kinds, ("embedding", pa.list_(pa.float32(), width))])
        table = self._open("entries")
        if table is None or not table.schema.equals(schema):
            self._create("entries", schema, anew=table is not None)

    def upsert(self, frame: pd.DataFrame, embeddings: np.ndarray) -> None:
        """Adds entries, or replaces those with the same keys: all of them or none."""
        pa = self._pyarrow
        if not self._has_ends:  # of an earlier version
            self._entries().add_columns({"until": f"cast({NO_TIME} as bigint)"})
        columns = {name: pa.array(frame[name].to_numpy(np.int64 if name in TIMES else object)) for name in COLUMNS}
        numbers = pa.array(np.ascontiguousarray(embeddings, np.float32).ravel())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(numbers, embeddings.shape[1])
        _upsert(self._entries(), pa.table(columns, schema=self._entries().schema))

    def count(self, selected: Selection) -> int:
        return self._entries().count_rows(self._where(selected))

    def nearest(
        self, query: np.ndarray, limit: int, selected: Selection, metric: str, approximate: bool
    ) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        """Returns entries, embeddings `[n, D]` and scores `[n]` of the nearest: squared, or cosine, distances."""
        search = self._entries().search(query, vector_column_name="embedding").limit(limit)
        search = search.distance_type(_METRICS[metric])
        if approximate:
            search = search.nprobes(math.ceil(_SHARE_SEARCHED * self._partitions()))
        else:
            search = search.bypass_vector_index()
        if not selected.is_all:
            search = search.where(self._where(selected), prefilter=True)
        table = search.select([*self._columns, "embedding", "_distance"]).to_arrow()
        frame, embeddings = self._content(table)
        return frame, embeddings, table["_distance"].to_numpy().astype(np.float64)

    def rows(self, selected: Selection, *, embeddings: bool = True) -> Iterator[tuple[pd.DataFrame, np.ndarray | None]]:
        """Yields all entries selected, some thousands at a time, with their embeddings if wanted."""
        search = self._entries().search().limit(2**31)
        if not selected.is_all:
            search = search.where(self._where(selected))
        search = search.select([*self._columns, *(["embedding"] if embeddings else [])])
        for batch in search.to_batches(batch_size=_ROWS_AT_ONCE):
            if batch.num_rows:
                yield self._content(self._pyarrow.Table.from_batches([batch]))

    def delete(self, selected: Selection) -> None:
        self._entries().delete(self._where(selected))

    def purge(self) -> None:
        """Removes deleted entries from the disk, with all earlier states; and what killed writers left.

        Optimizing alone leaves a deleted embedding where it stands as long as few are deleted of a file, and the
        condition of the delete, with its names, in the newest manifest. So every row that is left is written anew.
        """
        for index in self._entries().list_indices():
            self._entries().drop_index(index.name)  # its centers may be single embeddings
        self._entries().update(where="true", values_sql={"added": "added"})
        for name in _TABLES:
            # In a bucket, where no lock keeps writers out, unfinished files may be what another one is writing.
            self._optimize(name, keep=datetime.timedelta(0), unfinished=self.folder is not None)

    def tidy(self) -> None:
        """Makes few files of many small ones, once there are too many; readers keep what they are reading."""
        for name in _TABLES:
            table = self._open(name)
            if table.stats()["fragment_stats"]["num_small_fragments"] > _FRAGMENTS:
                self._optimize(name, keep=datetime.timedelta(hours=1), unfinished=False)

    # --- Approximate search ---

    def build_index(self, metric: str) -> None:
        options = {"vector_column_name": "embedding", "index_type": "IVF_FLAT", "num_partitions": self._partitions()}
        self._entries().create_index(metric=_METRICS[metric], replace=True, **options)

    def _partitions(self) -> int:
        return max(1, round(math.sqrt(self._entries().count_rows())))

    def files(self) -> list[Path]:
        """Returns the gallery's files; none of a bucket."""
        return [] if self.folder is None else sorted(path for path in self.folder.rglob("*") if path.is_file())

    def entry_files(self) -> list[Path]:
        """Returns those of `files` that hold entries."""
        return [path for path in self.files() if path.relative_to(self.folder).parts[0] == "entries.lance"]

    def close(self) -> None:
        self._tables.clear()

    # --- Tables ---

    def _entries(self) -> Any:
        table = self._open("entries")
        if table is None:
            raise ReidError(f"gallery={self._uri} is damaged: its entries are gone. Bring back a copy.")
        return table

    @property
    def _has_ends(self) -> bool:
        # A column that is there stays, and each look at the schema goes to the disk.
        self._ends = self._ends or "until" in self._entries().schema.names
        return self._ends

    @property
    def _columns(self) -> list[str]:
        return [name for name in COLUMNS if name != "until" or self._has_ends]

    def _where(self, selected: Selection) -> str | None:
        """Returns a selection as a condition of LanceDB's SQL; None for all entries."""
        return condition(selected, _listed, "''", has_ends=self._has_ends) or None

    def _open(self, name: str) -> Any:
        if name not in self._tables:
            if self.folder is not None and not (self.folder / f"{name}.lance").is_dir():
                return None  # connecting would make the folder
            if self.folder is None and name not in self._connect().table_names():
                return None
            self._tables[name] = self._connect().open_table(name)
        return self._tables[name]

    def _key_field(self) -> Any:
        return self._pyarrow.field("key", self._pyarrow.string(), nullable=False, metadata=_PRIMARY_KEY)

    def _create(self, name: str, schema: Any, *, anew: bool = False) -> Any:
        # Another one may make the same at this moment: then it is there, and as good.
        how = {"mode": "overwrite"} if anew else {"mode": "create", "exist_ok": True}
        self._tables[name] = self._connect().create_table(name, schema=schema, **how)
        return self._tables[name]

    def _connect(self) -> Any:
        if self._connection is None:
            newest = {"read_consistency_interval": datetime.timedelta(0)}
            options = dict(self._options) if self._options else None
            self._connection = self._lancedb.connect(self._uri, storage_options=options, **newest)
        return self._connection

    def _optimize(self, name: str, *, keep: datetime.timedelta, unfinished: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that readers of an earlier state fail: they read again
            self._open(name).optimize(cleanup_older_than=keep, delete_unverified=unfinished)

    def _content(self, table: Any) -> tuple[pd.DataFrame, np.ndarray | None]:
        frame = pd.DataFrame({name: table[name].to_numpy() for name in COLUMNS if name in table.column_names})
        frame = frame.reindex(columns=COLUMNS, fill_value=NO_TIME)
        if "embedding" not in table.column_names:
            return frame, None
        vectors = table["embedding"].combine_chunks()
        width = table.schema.field("embedding").type.list_size
        numbers = vectors.flatten() if hasattr(vectors, "flatten") else self._pyarrow.concat_arrays(vectors.chunks)
        return frame, numbers.to_numpy(zero_copy_only=False).reshape(-1, width)


def _upsert(table: Any, rows: Any) -> None:
    table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def _listed(values: tuple[str, ...]) -> str:
    """Returns literals of SQL: a quote is the only character that means something between quotes, and is doubled."""
    return "(" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + ")"


def _import_lancedb() -> tuple[Any, Any]:
    try:
        import lancedb
        import pyarrow
    except ImportError as error:
        raise ReidError(
            f"a gallery in a folder needs LanceDB, which cannot be imported ({error}): install it with "
            "pip install 'keras_reid[gallery]'."
        ) from error
    return lancedb, pyarrow
