"""Tables with plain columns: whole numbers, numbers, true and false, or text, each with or without gaps.

Gaps are pandas' NA: camera 3 stays 3 where another camera is unknown. A CSV's cell is a number only where the number
keeps all that was written: person 0002 stays the text "0002", and so does 2.0 in a column of ids, whatever the others.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import warnings
from collections.abc import Callable, Container, Iterable, Sequence
from typing import BinaryIO

import pandas as pd

from keras_reid.data.places import is_remote, read_bytes
from keras_reid.errors import ReidError

# pandas' name of what is in a column -> the dtype that keeps it, gaps included.
_DTYPES = {
    "integer": "Int64",
    "boolean": "boolean",
    "floating": "float64",
    "mixed-integer-float": "float64",
    "string": "string",
    "empty": "Int64",  # nothing but gaps
}
_WHOLE_NUMBER = r"(?:0|-?[1-9][0-9]{0,17})"  # these fit 64 bits
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"  # more whole digits would not fit float64
_SEPARATORS = (",", ";", "\t")
_COMMENT = re.compile(r'"?#(?!"?\s*[,;\t])')  # a first column may be named #


def plain_columns(frame: pd.DataFrame, *, keep_others: bool = False) -> pd.DataFrame:
    """Returns a table with each column as int64, float64, bool or text, or with gaps as Int64, boolean or text.

    Ids that pandas has turned into 1.0, 2.0, NaN because one was missing are whole numbers again, and white space at
    the ends of ids is taken away.

    Args:
        frame: any table.
        keep_others: leave a column of any other kind (times, lists) as it is.

    Returns:
        A new frame of the same shape, rows numbered from 0. Text has pandas' dtype "string".

    Raises:
        ReidError: two columns share a name, a name is no text, or a column is of another kind.
    """
    names = list(frame.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ReidError(f"the columns are {names}: expected a name for each, as text, and each name once.")
    columns = {name: _plain(name, values, keep_others) for name, values in frame.reset_index(drop=True).items()}
    return pd.DataFrame(columns, columns=names, index=range(len(frame)))


def _plain(name: str, values: pd.Series, keep_other: bool) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "floating" and is_id(name) and (values.dropna() % 1 == 0).all():
        kind = "integer"
    try:
        plain = values.astype(_DTYPES[kind])
        if kind == "string" and is_id(name):
            plain = stripped(plain)
    except UnicodeEncodeError as error:
        raise ReidError(f"column {name!r} holds {error.object[:200]!r}, which is not in UTF-8. Rename it.") from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last: beyond 64 bits
        if keep_other:
            return values
        raise ReidError(
            f"column {name!r} holds {kind} values (pandas' dtype {values.dtype}): expected whole numbers of 64 bits, "
            "numbers, true and false, or text, one kind in a column. Convert or drop it."
        ) from error
    if kind in ("integer", "boolean", "empty") and not plain.isna().any():
        plain = plain.astype("bool" if kind == "boolean" else "int64")
    return plain


def whole_numbers(values: pd.Series) -> pd.Series:
    """Returns whole numbers as int64, or as Int64 where some are missing."""
    numbers = values.astype("Int64")
    return numbers if numbers.isna().any() else numbers.astype("int64")


def is_id(name: str) -> bool:
    """Whether a column of that name holds ids: of people, cameras, tracks."""
    return name.endswith(("_id", "_ids"))


def stripped(values: pd.Series) -> pd.Series:
    """Returns values as text without white space at its ends, pandas' NA where nothing is left."""
    return values.astype("string").str.strip().replace("", pd.NA)


def whole_numbers_or_text(values: pd.Series) -> pd.Series:
    """Returns text as whole numbers where each is written as one, so that the numbers say all that was written."""
    return whole_numbers(values) if values.dropna().str.fullmatch(_WHOLE_NUMBER).all() else values


def check_columns(frame: pd.DataFrame, path: str | os.PathLike, required: Sequence[str], advice: str) -> None:
    """Raises ReidError where columns are missing from a file; the advice ends the sentence on what is expected."""
    absent = [name for name in required if name not in frame]
    if absent:
        raise ReidError(
            f"{str(path)!r} has no column {', '.join(absent)}: its columns are {', '.join(map(repr, frame))}. Expected "
            f"{', '.join(required)}{advice}"
        )


def read_csv(
    path: str | os.PathLike, *, is_number: Callable[[str], bool] = lambda name: False, as_text: Container[str] = ()
) -> pd.DataFrame:
    """Reads a CSV with a line of column names, below any lines that begin with #; an empty cell is a gap.

    White space at the ends of column names and ids is taken away.

    Args:
        path: the file, in UTF-8, cells separated by commas; or by semicolons or tabs, where the line of column names
            has more of them. Then a number's decimal sign may be a comma.
        is_number: whether a column of that name holds nothing but numbers: it is read as float64, faster and in a
            tenth of the memory. Any other column is one of numbers if each cell is written as one, of ids if each is
            a whole number, else text.
        as_text: names of columns that stay text even where each cell is a number.

    Returns:
        Columns as `plain_columns` gives them.

    Raises:
        ReidError: the file cannot be read as a CSV, or names a column twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more cells than there are columns
            frame = _read_cells(_opener(path), is_number)
    except (OSError, ValueError, csv.Error, pd.errors.ParserWarning) as error:
        raise ReidError(
            f"{str(path)!r} cannot be read as a CSV ({str(error).strip()}): expected a line of column names, then as "
            "many cells in each line, separated by commas (or semicolons, or tabs), in UTF-8."
        ) from error
    frame.columns = [name.strip() or name for name in frame]  # two columns may have no name
    for name in (name for name in frame if not is_number(name)):
        cells = stripped(frame[name]) if is_id(name) else frame[name].astype("string")
        frame[name] = cells if name in as_text else _from_text(cells, whole=is_id(name))
    return frame


def _opener(path: str | os.PathLike) -> Callable[[], BinaryIO]:
    """Returns a function that opens the file; a remote one is fetched once."""
    if not is_remote(path):
        return lambda: open(path, "rb")
    content = read_bytes(os.fspath(path))
    return lambda: io.BytesIO(content)


def _read_cells(opened: Callable[[], BinaryIO], is_number: Callable[[str], bool]) -> pd.DataFrame:
    """Returns columns of float64 and of text, under their names as they are written."""
    with opened() as file:  # pandas reads the text before a null character, or all of it, by its version
        if any(b"\0" in part for part in iter(lambda: file.read(1 << 20), b"")):
            raise ValueError("there is a null character in it")
    # utf-8-sig: spreadsheets begin UTF-8 with a mark, which would become part of the first column's name.
    with opened() as file, io.TextIOWrapper(file, "utf-8-sig") as lines:
        above, separator = _find_names(lines)
    options = {"encoding": "utf-8-sig", "index_col": False, "keep_default_na": False, "na_values": [""]}
    options |= {"skiprows": above, "sep": separator, "float_precision": "round_trip"}
    with opened() as file:
        names = pd.read_csv(file, nrows=0, **options).columns
    options["dtype"] = {name: "float64" if is_number(name.strip()) else str for name in names}
    if separator != ",":
        with contextlib.suppress(ValueError), opened() as file:  # not with decimal commas
            return pd.read_csv(file, **options)
        options["decimal"] = ","
    with opened() as file:
        return pd.read_csv(file, **options)


def _find_names(lines: Iterable[str]) -> tuple[int, str]:
    """Returns the number of lines above the column names, and what separates the names.

    Raises:
        ValueError: there is no such line, or it names a column twice.
    """
    for above, line in enumerate(lines):
        if line.strip() and not _COMMENT.match(line):
            rows = {separator: next(csv.reader([line], delimiter=separator)) for separator in _SEPARATORS}
            separator = max(rows, key=lambda one: len(rows[one]))
            names = [name.strip() for name in rows[separator] if name.strip()]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the column {twice[0]!r} is there twice")
            return above, separator
    raise ValueError("it is empty")


def _from_text(cells: pd.Series, *, whole: bool) -> pd.Series:
    found = whole_numbers_or_text(cells)
    is_number = found is cells and not whole and cells.dropna().str.fullmatch(_NUMBER).all()
    return cells.astype("float64") if is_number else found
