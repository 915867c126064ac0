"""Entries of a gallery: one embedding and what is known of its image, as plain columns; and the key of each.

| column | is | where it is not known |
|---|---|---|
| key | 32 hexadecimal digits, of what tells one entry from another | |
| identity | who it is, any text | "" |
| camera | any text | "" |
| time | int64, microseconds since 1970, UTC | `NO_TIME` |
| until | the same, the end of a track that begins at time | `NO_TIME` |
| source | path of the image, name of the recording | "" |
| box | "left,top,width,height" in pixels of the source | "" |
| crop | path of the picture that was cut out | "" |
| added | int64, microseconds since 1970, UTC | |
"""

from __future__ import annotations

import hashlib
import json
import time as clock
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data.ids import as_names
from keras_reid.errors import ReidError

TEXTS = ("identity", "camera", "source", "box", "crop")
COLUMNS = ("key", "identity", "camera", "time", "until", "source", "box", "crop", "added")
TIMES = ("time", "until", "added")
NO_TIME = -(2**62)
_LONGEST_TEXT = 16_000  # bytes; three times as many still fit a column of Milvus


def now() -> int:
    """Returns the time in microseconds since 1970."""
    return clock.time_ns() // 1000


def entries_of(embeddings: np.ndarray, **known: Any) -> pd.DataFrame:
    """Returns the columns of entries, `[N]` rows.

    Args:
        embeddings: float32 `[N, D]`.
        known: identity, camera, time, until, source, box, crop: a value for each row, or one for all, or None.

    Raises:
        ReidError: another number of values, a time or box that is none, an end before its time, or two different
            embeddings of one place.
    """
    count = len(embeddings)
    frame = pd.DataFrame({name: _column(name, known.pop(name, None), count) for name in (*TEXTS, "time", "until")})
    if known:
        raise ReidError(f"an entry has no {min(known)}: expected {', '.join((*TEXTS, 'time', 'until'))}.")
    early = (frame.until != NO_TIME) & ((frame.time == NO_TIME) | (frame.until < frame.time))
    if early.any():
        time, until = (times_of(frame[name][early]).iloc[0] for name in ("time", "until"))
        raise ReidError(f"until={until} of an entry whose time is {time}: expected an end after it.")
    frame["added"] = now()
    frame["key"] = keys_of(frame, embeddings)
    return frame[list(COLUMNS)]


def keys_of(frame: pd.DataFrame, embeddings: np.ndarray | None = None) -> list[str]:
    """Returns the key of each entry: a hash of source (else crop), box, time and camera, whoever it shows.

    Adding the same entry again so finds it there. One without source and crop is told apart by its embedding.
    """
    keys = []
    for row, (source, crop, box, time, camera) in enumerate(
        zip(*(frame[name].tolist() for name in ("source", "crop", "box", "time", "camera")))
    ):
        content = json.dumps([source or crop, box, time, camera]).encode()
        if not source and not crop and embeddings is not None:
            content += embeddings[row].tobytes()
        keys.append(hashlib.blake2b(content, digest_size=16).hexdigest())
    return keys


def without_repeats(frame: pd.DataFrame, embeddings: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns entries with each key once; ReidError where one key stands for two embeddings or two people."""
    first = ~frame.key.duplicated().to_numpy(bool)
    if first.all():
        return frame, embeddings
    position = pd.Series(np.flatnonzero(first), index=frame.key[first])
    for row in np.flatnonzero(~first):
        other = position[frame.key.iloc[row]]
        same = (
            np.array_equal(embeddings[row], embeddings[other])
            and frame.identity.iloc[row] == frame.identity.iloc[other]
        )
        if not same:
            where = frame.source.iloc[row] or frame.crop.iloc[row] or "no source"
            raise ReidError(
                f"entries {other} and {row} have one source ({where!r}), box, time and camera, but differ: give the "
                "box of each, or its time."
            )
    return frame[first].reset_index(drop=True), embeddings[first]


def microseconds(name: str, values: Any, count: int) -> np.ndarray:
    """Returns times as int64 `[count]`, microseconds since 1970.

    Args:
        name: of the argument, for the error.
        values: one or `[count]` of: ISO 8601 text (UTC where no zone is written), datetime, pandas' or NumPy's times,
            seconds since 1970, or None.
    """
    values = values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind in "if" else values
    values = list(values) if _is_many(values) else [values] * count
    _check_count(name, values, count)
    unique = {value: _microseconds(name, value) for value in set(map(_hashable, values))}
    return np.array([unique[_hashable(value)] for value in values], np.int64).reshape(count)


def times_of(microseconds_: pd.Series) -> pd.Series:
    """Returns times in UTC, pandas' NaT where they are not known."""
    known = microseconds_.where(microseconds_ != NO_TIME)
    return pd.to_datetime(known.astype("Int64"), unit="us", utc=True)


def texts(name: str, values: Any, count: int) -> pd.Series:
    """Returns one text for each of `count` rows, "" where there is none; whole numbers become text."""
    values = list(values) if _is_many(values) else [values] * count
    _check_count(name, values, count)
    column = as_names(pd.Series(list(map(_without_point, values)), dtype=object)).fillna("")
    for text in set(column):
        try:
            length = len(text.encode())
        except UnicodeEncodeError as error:
            raise ReidError(f"{name}={text!r} is not in UTF-8. Rename it.") from error
        if length > _LONGEST_TEXT:
            raise ReidError(f"{name}={text[:50]!r}... has {length} bytes: expected at most {_LONGEST_TEXT}.")
    return column


def _column(name: str, values: Any, count: int) -> Any:
    if name in TIMES:
        return microseconds(name, values, count)
    if name == "box":
        several = _is_many(values) and not (len(values) == 4 and all(np.isscalar(one) for one in values))
        values = list(values) if several else [values] * count
        _check_count(name, values, count)
        return pd.Series([_box(value) for value in values], dtype="string")
    return texts(name, values, count)


def _box(value: Any) -> str:
    if _is_missing(value) or (isinstance(value, str) and not value.strip()):
        return ""
    try:
        left, top, width, height = map(float, value.split(",") if isinstance(value, str) else value)
        if not (np.isfinite([left, top]).all() and 0 < width < np.inf and 0 < height < np.inf):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise ReidError(f"box={value!r}: expected four numbers, left, top, width and height in pixels.") from error
    return ",".join(str(int(one)) if one == int(one) else repr(one) for one in (left, top, width, height))


def _microseconds(name: str, value: Any) -> int:
    if _is_missing(value) or value == "":
        return NO_TIME
    try:
        if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            return round(float(value) * 1e6)
        found = pd.Timestamp(value)
        if isinstance(value, str) and not value.strip()[:4].isdigit():  # pandas also takes "now" and "May"
            raise ValueError
        found = found.tz_localize("UTC") if found.tzinfo is None else found
        return int(found.value // 1000)
    except (TypeError, ValueError, OverflowError) as error:
        raise ReidError(
            f"{name}={value!r} is no time: expected ISO 8601, such as 2026-05-01T12:30:00+02:00 (UTC where no zone is "
            "written), or seconds since 1970."
        ) from error


def _hashable(value: Any) -> Any:
    return None if _is_missing(value) else value


def _without_point(value: Any) -> Any:
    """Returns 1 for 1.0, as whole numbers become beside a gap; None for a gap."""
    if _is_missing(value):
        return None
    return int(value) if isinstance(value, (float, np.floating)) and value % 1 == 0 else value


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, (float, np.floating)) and value != value)
    )


def _is_many(values: Any) -> bool:
    return isinstance(values, (Sequence, np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)) and not (
        isinstance(values, (str, bytes))
    )


def _check_count(name: str, values: list, count: int) -> None:
    if len(values) != count:
        raise ReidError(
            f"{name} has {len(values)} values for {count} embeddings: expected one for each, or one for all."
        )
