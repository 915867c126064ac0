"""Tables with plain columns: whole numbers, numbers, true and false, or text, each with or without gaps.

Gaps are pandas' NA: camera 3 stays 3 where another camera is unknown. A CSV's cell is a number only where the number
keeps all that was written: person 0002 stays the text "0002".
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Container

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
_WHOLE_NUMBER = r"-?(?:0|[1-9]\d{0,17})"  # these fit 64 bits
_NUMBER = r"-?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][+-]?\d+)?"  # more whole digits would not fit float64


def plain_columns(frame: pd.DataFrame, *, keep_others: bool = False) -> pd.DataFrame:
    """Returns a table with each column as int64, float64, bool or text, or with gaps as Int64, boolean or text.

    Ids that pandas has turned into 1.0, 2.0, NaN because one was missing are whole numbers again.

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
    if kind == "floating" and name.endswith("_id") and (values.dropna() % 1 == 0).all():
        kind = "integer"
    try:
        plain = values.astype(_DTYPES[kind])
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


def read_csv(
    path: str | os.PathLike, *, is_number: Callable[[str], bool] = lambda name: False, as_text: Container[str] = ()
) -> pd.DataFrame:
    """Reads a CSV with a head line; an empty cell is a gap.

    Args:
        path: the file, in UTF-8, cells separated by commas.
        is_number: whether a column of that name holds nothing but numbers: it is read as float64, faster and in a
            tenth of the memory. Any other column is one of numbers if each cell is written as one, else text.
        as_text: names of columns that stay text even where each cell is a number.

    Returns:
        Columns as `plain_columns` gives them.

    Raises:
        ReidError: the file cannot be read as a CSV.
    """
    # utf-8-sig: spreadsheets begin UTF-8 with a mark, which would become part of the first column's name.
    options = {"encoding": "utf-8-sig", "index_col": False, "keep_default_na": False, "na_values": [""]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more cells than there are columns
            content = read_bytes(os.fspath(path)) if is_remote(path) else None
            names = pd.read_csv(path if content is None else io.BytesIO(content), nrows=0, **options).columns
            dtypes = {name: "float64" if is_number(name) else str for name in names}
            frame = pd.read_csv(
                path if content is None else io.BytesIO(content), dtype=dtypes, float_precision="round_trip", **options
            )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise ReidError(
            f"{str(path)!r} cannot be read as a CSV ({error}): expected a line of column names, then as many cells in "
            "each line, separated by commas, in UTF-8."
        ) from error
    for name in names:
        if name in as_text:
            frame[name] = frame[name].astype("string")
        elif not is_number(name):
            frame[name] = _from_text(frame[name])
    return frame


def _from_text(cells: pd.Series) -> pd.Series:
    written = cells.dropna().astype("string")
    if written.str.fullmatch(_WHOLE_NUMBER).all():
        return whole_numbers(cells.astype("string"))
    return cells.astype("float64" if written.str.fullmatch(_NUMBER).all() else "string")
