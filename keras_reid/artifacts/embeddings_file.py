"""Embeddings file: embeddings and the columns known of their images, as .npz, .parquet or .csv by the suffix.

| file | embeddings | columns | metric, network_fingerprint |
|---|---|---|---|
| .npz | array `embeddings`, float32 `[N, D]` | an array a column; gaps: bool array `<column>.missing` | a text each |
| .parquet | column `embedding`, list of float | a column each | in the schema's metadata |
| .csv | columns `e0`, `e1`, ... | a column each | a column each, the same in each row |

The first two return what was written bit for bit. Nothing is pickled: reading a stranger's file runs no code.
"""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.artifacts.embeddings_parquet import ABOUT, NAMES, import_pyarrow, read_parquet, write_parquet
from keras_reid.choices import METRICS
from keras_reid.data.tables import is_id, plain_columns, read_csv, whole_numbers_or_text
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all

SUFFIXES = (".parquet", ".npz", ".csv")
# Names that other programs give our columns.
_PLURALS = {f"{name}s": name for name in ("image_path", "person_id", "camera_id", "tracklet_id")}
_MISSING = ".missing"


@dataclasses.dataclass(frozen=True)
class SavedEmbeddings:
    """Content of a file of embeddings.

    Attributes:
        frame: N rows of columns such as image_path, person_id and camera_id, possibly none. Gaps are pandas' NA.
        embeddings: float32 `[N, D]`, in the order of the frame.
        metric: "euclidean" or "cosine", by which they are compared; None where the file does not say.
        network_fingerprint: of the network that made them; None where the file does not say.
    """

    frame: pd.DataFrame
    embeddings: np.ndarray
    metric: str | None
    network_fingerprint: str | None = None


def check_writable_as(path: str | os.PathLike, columns: Sequence[str]) -> None:
    """Raises ReidError when embeddings with these columns cannot be written to a file of that name."""
    _check_suffix(path)
    if Path(path).suffix.lower() == ".parquet":
        import_pyarrow(path)
    taken = [name for name in columns if name in (*NAMES, *ABOUT) or re.fullmatch(rf"e\d+|.*{_MISSING}", name)]
    if taken:
        raise ReidError(
            f"a column is named {taken[0]!r}, but the file needs the names {', '.join((*NAMES, *ABOUT))}, e0, e1, ... "
            f"and *{_MISSING} itself. Rename or drop the column."
        )


def write_embeddings(
    path: str | os.PathLike,
    frame: pd.DataFrame,
    embeddings: np.ndarray,
    *,
    metric: str = "euclidean",
    network_fingerprint: str | None = None,
) -> None:
    """Writes embeddings and the columns known of their images, whole or not at all; `read_embeddings` returns them.

    Args:
        path: ends in .npz, .parquet or .csv.
        frame: N rows; columns of whole numbers, numbers, true and false, or text, with or without gaps.
        embeddings: float `[N, D]`; written as float32.
        metric: "euclidean" or "cosine", by which they are compared.
        network_fingerprint: `Artifact.network_fingerprint` of what made them; None where that is not known.

    Raises:
        ReidError: another suffix, shape, metric or kind of column, numbers that are not finite, or pyarrow is missing.
    """
    frame = plain_columns(frame)
    check_writable_as(path, list(frame))
    embeddings = _checked(embeddings, "embeddings")
    _check_metric(metric, "metric")
    if len(frame) != len(embeddings):
        raise ReidError(f"{len(frame)} rows but {len(embeddings)} embeddings, expected one for each row.")
    broken = ~np.isfinite(embeddings).all(axis=1)
    if broken.any():
        about = " ".join(map(str, frame.iloc[broken.argmax()].tolist()))
        raise ReidError(
            f"embedding {broken.argmax()} of {len(frame)} holds NaN or inf ({about}): expected finite numbers. Look at "
            "that image and at the model's weights."
        )
    writer = {".npz": _write_npz, ".parquet": write_parquet, ".csv": _write_csv}[Path(path).suffix.lower()]
    about = {"metric": metric, **({"network_fingerprint": network_fingerprint} if network_fingerprint else {})}
    with whole_or_not_at_all(path) as temporary:
        try:
            writer(temporary, frame, embeddings, about)
        except UnicodeEncodeError as error:
            raise ReidError(f"{str(path)!r} cannot be written: {error.object[:200]!r} is not in UTF-8.") from error


def read_embeddings(path: str | os.PathLike) -> SavedEmbeddings:
    """Reads embeddings that `write_embeddings` or another program wrote in one of its formats.

    Embeddings alone, as float16, float32 or float64, are enough. Columns named `person_ids`, `camera_ids` and the like
    become `person_id`, `camera_id`; an id 1.0 is 1, as pandas writes it beside a gap. Arrays of an .npz that have no
    row for each embedding are left out. The .parquet files of a folder are read as one.

    Raises:
        ReidError: no such file, another suffix, a damaged file or an unfinished folder, no embeddings, rows of several
            widths, or pyarrow is missing.
    """
    path = Path(path)
    if not path.exists():
        raise ReidError(f"no file of embeddings at {str(path)!r}: expected one that ends in {', '.join(SUFFIXES)}.")
    if not path.is_dir():
        _check_suffix(path)
    reader = {".npz": _read_npz, ".csv": _read_csv}.get("" if path.is_dir() else path.suffix.lower(), read_parquet)
    try:
        columns, embeddings, about = reader(path)
        columns = _singular(columns)
    except ReidError:  # pyarrow is missing, or the text is no CSV
        raise
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        hint = "; Python objects are not read: save numbers and text" if "pickle" in str(error) else ""
        raise ReidError(f"{str(path)!r} holds no embeddings, or is damaged ({error}{hint}). Write it again.") from error
    embeddings = _checked(embeddings, f"{str(path)!r}: embeddings")
    if "metric" in about:
        _check_metric(about["metric"], f"{str(path)!r}: metric")
    frame = pd.DataFrame(columns, index=range(len(embeddings)))
    return SavedEmbeddings(plain_columns(frame, keep_others=True), embeddings, *map(about.get, ABOUT))


def _check_suffix(path: str | os.PathLike) -> None:
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ReidError(f"{str(path)!r} is no file of embeddings: expected a name that ends in {', '.join(SUFFIXES)}.")


def _check_metric(metric: str, label: str) -> None:
    if metric not in METRICS:
        raise ReidError(f"{label}={metric!r} is unknown: expected one of {', '.join(METRICS)}.")


def _checked(embeddings: np.ndarray, label: str) -> np.ndarray:
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape or embeddings.dtype.kind not in "fiu":
        shape = f"{embeddings.dtype} {list(embeddings.shape)}"
        raise ReidError(f"{label} are {shape}, expected float16, float32 or float64 [N, D], a row for each image.")
    with np.errstate(over="ignore"):  # becomes inf, which evaluation refuses, naming the row
        return embeddings.astype(np.float32)


def _write_npz(path: Path, frame: pd.DataFrame, embeddings: np.ndarray, about: Mapping[str, str]) -> None:
    arrays = {"embeddings": embeddings, **{name: np.array(text) for name, text in about.items()}}
    for name, values in frame.items():
        arrays[name] = _array_of_column(values)
        if values.isna().any() and arrays[name].dtype.kind != "f":  # a float has NaN for it
            arrays[name + _MISSING] = values.isna().to_numpy(bool)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            # As np.savez, which cannot write an array that is named like one of its own arguments.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _array_of_column(values: pd.Series) -> np.ndarray:
    if values.dtype == "string":
        return values.fillna("").to_numpy(object).astype(str)
    if values.dtype == "boolean":
        return values.fillna(False).to_numpy(bool)
    if values.dtype == "Int64":
        # A program that does not know the mask reads a person_id of -1 as junk, which no score counts.
        return values.fillna(-1).to_numpy(np.int64)
    return values.to_numpy()


def _read_npz(path: Path) -> tuple[dict, np.ndarray, dict[str, str]]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip archive of arrays")
    with np.load(path, allow_pickle=False) as file:
        members = {name: file[name] for name in file.files}
    arrays = {name: array for name, array in members.items() if isinstance(array, np.ndarray)}  # bytes: no .npy
    embeddings = next((arrays.pop(name) for name in NAMES if name in arrays), None)
    if embeddings is None:
        raise ValueError(f"no array embeddings, only {', '.join(arrays) or 'none at all'}")
    about = {name: str(arrays.pop(name)) for name in ABOUT if name in arrays}
    columns = {}
    for name, values in arrays.items():
        if name.endswith(_MISSING):
            continue
        if values.shape == embeddings.shape[:1]:
            columns[name] = _column_of_array(values, arrays.get(name + _MISSING))
        elif _PLURALS.get(name, name) in _PLURALS.values():
            raise ValueError(f"{name} has shape {list(values.shape)} but embeddings {list(embeddings.shape)}")
    return columns, embeddings, about


def _column_of_array(values: np.ndarray, missing: np.ndarray | None) -> pd.Series:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    dtype = {"U": "string", "b": "boolean", "i": "Int64"}.get(values.dtype.kind)
    if dtype is None or missing is None or missing.shape != values.shape or missing.dtype.kind != "b":
        return pd.Series(values)
    return pd.Series(values.tolist(), dtype=dtype).mask(missing)


def _singular(columns: dict) -> dict:
    """Returns the columns by the names of this package."""
    names = [_PLURALS.get(name, name) for name in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"it has both {min(twice)} and its plural")
    return dict(zip(names, columns.values()))


def _write_csv(path: Path, frame: pd.DataFrame, embeddings: np.ndarray, about: Mapping[str, str]) -> None:
    numbers = pd.DataFrame(embeddings, columns=[f"e{n}" for n in range(embeddings.shape[1])], index=frame.index)
    # pandas writes the shortest text that reads back as the same float32.
    frame.assign(**about).join(numbers).to_csv(path, index=False, encoding="utf-8")


def _read_csv(path: Path) -> tuple[dict, np.ndarray, dict[str, str]]:
    is_number = re.compile(r"e\d+").fullmatch
    frame = read_csv(path, is_number=is_number)
    names = [f"e{n}" for n in range(len(list(filter(is_number, frame))))]
    if not names or not set(names) <= set(frame):
        raise ValueError("expected the columns e0, e1, ... and so on without a gap")
    for name in filter(is_id, frame):
        written = frame[name].astype("string").str.replace(r"^(-?[0-9]+)\.0+$", r"\1", regex=True)
        frame[name] = whole_numbers_or_text(written)
    embeddings = frame[names].to_numpy()
    if np.isnan(embeddings).any():
        raise ValueError(f"numbers are missing in row {np.isnan(embeddings).any(axis=1).argmax() + 1}")
    rest, about = frame.drop(columns=names), {}
    for name in (name for name in ABOUT if name in rest):
        texts = list(map(str, rest.pop(name).dropna().unique()))
        if len(texts) > 1:
            raise ValueError(f"its rows name {len(texts)} values of {name}, {', '.join(texts[:5])}: expected one")
        about.update({name: texts[0]} if texts else {})
    return dict(rest.items()), embeddings, about
