"""Parquet files of embeddings: a column of lists, by pyarrow; the schema's metadata hold the metric and the network."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError

NAMES = ("embeddings", "embedding")  # of the embeddings' column, or array, in any format
ABOUT = ("metric", "network_fingerprint")  # what any format says of all its rows
_ROWS_AT_ONCE = 4096  # of a list array, whose offsets have 32 bits


def import_pyarrow(path: str | os.PathLike):
    """Returns pyarrow; ReidError, naming the file that needs it, says how to get it."""
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:  # not installed, or built for another NumPy
        raise ReidError(
            f"{str(path)!r} needs pyarrow, which cannot be imported ({error}). Install it with pip install pyarrow, "
            "below 26 with NumPy 1, or write .npz."
        ) from error
    return pyarrow


def write_parquet(path: Path, frame: pd.DataFrame, embeddings: np.ndarray, about: Mapping[str, str]) -> None:
    """Writes embeddings, a column of lists, with the columns known of their images."""
    pyarrow = import_pyarrow(path)
    rows = None  # without any column, Arrow forgets how many rows there are
    if len(frame.columns):
        rows = pyarrow.Table.from_pandas(frame, preserve_index=False)
    with open(path, "wb") as file:  # of a path it would take some for addresses, such as photos:1/out.parquet
        pyarrow.parquet.write_table(embeddings_table(rows, embeddings, about), file)


def embeddings_table(rows, embeddings: np.ndarray, about: Mapping[str, str]):
    """Returns the Arrow table of a file: rows, a table or None, with their embeddings, and what is said of all."""
    import pyarrow

    parts = [embeddings[start : start + _ROWS_AT_ONCE] for start in range(0, len(embeddings), _ROWS_AT_ONCE)]
    lists = [
        pyarrow.ListArray.from_arrays(np.arange(0, part.size + 1, part.shape[1], dtype=np.int32), part.ravel())
        for part in parts
    ]
    column = pyarrow.chunked_array(lists, pyarrow.list_(pyarrow.float32()))
    table = pyarrow.table({"embedding": column}) if rows is None else rows.append_column("embedding", column)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **about})


def part_name(number: int, count: int) -> str:
    """Returns the name of one of the files that embeddings are shared out to, numbered from 0."""
    return f"embeddings-{number:05}-of-{count:05}.parquet"


def read_parquet(path: Path) -> tuple[dict, np.ndarray, dict[str, str]]:
    """Returns the columns, the embeddings and what is said of all rows of a file, or of a folder's files together.

    Raises:
        ValueError: it is damaged, or a folder's files are not whole in number, or of several networks.
        OSError: it cannot be read.
    """
    pyarrow = import_pyarrow(path)
    tables = []
    try:
        for part in _parts(path) if path.is_dir() else [path]:
            with pyarrow.parquet.ParquetFile(part) as file:
                tables.append(file.read())
        _check_together(tables)
        return _content(pyarrow, pyarrow.concat_tables(tables, promote_options="default"))
    except pyarrow.ArrowException as error:  # a flipped byte shows anywhere
        raise ValueError(error) from error


def _parts(folder: Path) -> list[Path]:
    """Returns the Parquet files of a folder in order; names that begin with . or _ are of those who write them."""
    parts = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_")))
    if not parts:
        raise ValueError("it is a folder without .parquet files")
    numbered = [re.fullmatch(r".+-(\d+)-of-(\d+)\.parquet", path.name) for path in parts]
    if all(numbered) and len(parts) != int(numbered[0][2]):
        raise ValueError(f"it has {len(parts)} of {int(numbered[0][2])} files, as an interrupted run leaves it")
    return parts


def _check_together(tables: list) -> None:
    for name in ABOUT:
        said = {(table.schema.metadata or {}).get(name.encode(), b"") for table in tables}
        if len(said) > 1:
            raise ValueError(f"its files name {len(said)} values of {name}")


def _content(pyarrow, table) -> tuple[dict, np.ndarray, dict[str, str]]:
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise ValueError(f"it has the column {min(twice)!r} twice")
    name = next((name for name in NAMES if name in table.column_names), None)
    if name is None:
        raise ValueError(f"no column embedding, only {', '.join(table.column_names) or 'none at all'}")
    embeddings = _matrix(pyarrow, table.column(name))
    # Without pandas' own notes, which a file may or may not have; plain_columns finds the dtypes.
    rest = table.drop([name]).to_pandas(ignore_metadata=True, integer_object_nulls=True)
    found = {name.decode(errors="replace"): text for name, text in (table.schema.metadata or {}).items()}
    about = {name: found[name].decode(errors="replace") for name in ABOUT if name in found}
    return dict(rest.items()), embeddings, about


def _matrix(pyarrow, column) -> np.ndarray:
    """Returns a column of equally long lists of numbers as an array `[N, D]`."""
    is_list = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if not len(column) or not any(check(column.type) for check in is_list):
        raise ValueError(f"its {len(column)} embeddings are of type {column.type}, expected lists of float")
    widths = pyarrow.compute.list_value_length(column).unique().to_pylist()
    if len(widths) > 1 or widths == [None]:
        raise ValueError(f"embeddings are {', '.join(map(str, widths[:5]))} wide, expected one width")
    numbers = [chunk.flatten() for chunk in column.chunks]
    if any(part.null_count for part in numbers):
        raise ValueError("numbers are missing in the embeddings")
    return np.concatenate([part.to_numpy(zero_copy_only=False) for part in numbers]).reshape(len(column), -1)
