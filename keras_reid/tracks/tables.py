"""Tables of boxes as trackers write them: text with or without column names, or Parquet; and written again.

A row keeps its number in the file, so that what was read can be written back in the form in which it came.
"""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from keras_reid.artifacts.embeddings_parquet import import_pyarrow
from keras_reid.data.formats import HEAD, file_format
from keras_reid.errors import ReidError, first_line
from keras_reid.files import whole_or_not_at_all

_SAMPLE = 2**16  # bytes at a file's start that show what it is
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?|")


@dataclasses.dataclass(frozen=True)
class Form:
    """How a table is written.

    Attributes:
        separator: between cells, None for Parquet.
        decimal: sign of a decimal fraction.
        encoding: of the text.
        above: lines above the names or the first row.
        has_names: whether a line names the columns.
        cells: how many there are in most rows, where no line names them.
    """

    separator: str | None
    decimal: str = "."
    encoding: str = "utf-8-sig"
    above: int = 0
    has_names: bool = True
    cells: int = 0


def read_table(
    path: str | os.PathLike, is_name: Callable[[str], bool], *, as_text: bool = False
) -> tuple[pd.DataFrame, Form, int]:
    """Reads a table.

    Args:
        path: text in UTF-8 or UTF-16 whose cells are separated by commas, semicolons, tabs or spaces, or Parquet.
            Lines at the top that begin with # are passed over.
        is_name: whether a cell, in lower case, is the name of a column that is looked for.
        as_text: read each cell as it is written, not as a number.

    Returns:
        The table, its form, and the number of lines with more cells than the others, which are left out. Columns are
        numbered 0, 1, ... where no line names them. A file without a row gives no column either.

    Raises:
        ReidError: there is no such file, or it is no table.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            sample = file.read(_SAMPLE)
    except OSError as error:
        raise ReidError(f"{str(path)!r} cannot be read ({error.strerror}): expected a file of boxes.") from error
    if sample.startswith(b"PAR1"):
        return _read_parquet(path), Form(None), 0
    _refuse_no_text(path, sample)
    encoding = "utf-16" if sample.startswith(_UTF16) else "utf-8-sig"
    form = _form(sample.decode(encoding, "replace"), encoding, is_name, whole=len(sample) < _SAMPLE)
    if form is None:
        return pd.DataFrame(), Form(","), 0
    frame, longer = _read_text(path, form, as_text)
    return frame, form, longer


def write_table(path: str | os.PathLike, frame: pd.DataFrame, form: Form) -> None:
    """Writes a table in a form, whole or not at all."""
    with whole_or_not_at_all(path) as temporary:
        if form.separator is None:
            frame.to_parquet(temporary, index=False)
        else:
            separator = " " if form.separator == r"\s+" else form.separator
            frame.to_csv(temporary, sep=separator, header=form.has_names, index=False, lineterminator="\n")


def _refuse_no_text(path: Path, sample: bytes) -> None:
    found = file_format(sample[:HEAD])
    if b"\0" in sample and not sample.startswith(_UTF16):
        what = f"{found} file" if found != "unknown" else "file of bytes, not of text"
        raise ReidError(f"{str(path)!r} is a {what}: expected rows of boxes as text (.txt, .csv), or Parquet.")
    if sample.lstrip()[:1] in (b"{", b"[", b"<"):
        raise ReidError(
            f"{str(path)!r} is {'HTML or XML' if sample.lstrip()[:1] == b'<' else 'JSON'}: expected rows of boxes, "
            "such as MOT Challenge's frame,id,left,top,width,height,confidence,-1,-1,-1 or a CSV with named columns."
        )


def _form(sample: str, encoding: str, is_name: Callable[[str], bool], *, whole: bool) -> Form | None:
    """Returns the form that the first lines show; None where there is no row."""
    lines = sample.splitlines()
    lines = lines if whole else lines[:-1] or lines
    above = next((number for number, line in enumerate(lines) if line.strip() and not _is_comment(line)), None)
    if above is None:
        return None
    rows = [line.strip() for line in lines[above:] if line.strip()]
    separator = next((sign for sign in (";", "\t", ",") if sign in rows[0]), r"\s+")
    cells = [_split(row, separator) for row in rows[:1000]]
    names = [cell.lower() for cell in cells[0]]
    has_names = any(map(is_name, names)) or not any(map(_NUMBER.fullmatch, names))
    has_commas = separator != "," and any(re.fullmatch(r"-?\d+,\d+", cell) for row in cells for cell in row)
    usual = Counter(map(len, cells)).most_common(1)[0][0]
    return Form(separator, "," if has_commas else ".", encoding, above, has_names, usual)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _split(row: str, separator: str) -> list[str]:
    cells = row.split() if separator == r"\s+" else row.split(separator)
    return [cell.strip().strip('"') for cell in cells]


def _read_text(path: Path, form: Form, as_text: bool) -> tuple[pd.DataFrame, int]:
    options = {"sep": form.separator, "decimal": form.decimal, "encoding": form.encoding, "skiprows": form.above}
    options |= {"encoding_errors": "replace", "index_col": False, "on_bad_lines": "warn", "low_memory": False}
    options |= {"header": 0} if form.has_names else {"header": None, "names": range(form.cells)}
    options |= {"dtype": str, "keep_default_na": False} if as_text else {}
    if form.separator != r"\s+":
        options["skipinitialspace"] = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = pd.read_csv(path, **options)
    except (ValueError, OSError) as error:  # pandas' own are ValueErrors
        raise ReidError(
            f"{str(path)!r} cannot be read as a table ({first_line(error)}): expected rows of boxes."
        ) from error
    if form.decimal == "," and not as_text:  # a column with a broken cell is one of text
        frame = frame.replace({r"^(-?\d+),(\d+)$": r"\1.\2"}, regex=True)
    return frame, sum(str(warning.message).count("Skipping line") for warning in caught)


def _read_parquet(path: Path) -> pd.DataFrame:
    import_pyarrow(path)
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's are among them
        raise ReidError(f"{str(path)!r} cannot be read as Parquet ({first_line(error)}): copy it again.") from error
    return frame.reset_index(drop=True)
