"""Decides what an evaluation accepts: two sides of embeddings and ids, checked, or refused by name."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_reid.errors import ReidError

LARGEST_VALUE = float(np.finfo(np.float32).max)  # Squares of these still fit into float64.


class Side(NamedTuple):
    """Query or gallery, read and checked."""

    name: str  # "query" or "gallery"
    embeddings: np.ndarray  # [N, D] in the dtype that came: a float64 copy of a large gallery may not fit
    person_ids: np.ndarray  # int64 [N]
    camera_ids: np.ndarray | None  # int64 [N]; None where the rule does not read them


def check_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ReidError(f"{name}={value!r} is unknown: expected one of {', '.join(known)}")


def check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ReidError(f"{name}={value!r}: expected an integer of at least 1")


def read_side(name: str, embeddings: Any, person_ids: Any, camera_ids: Any, reads_cameras: bool) -> Side:
    try:
        embeddings = np.asarray(embeddings)
    except ValueError as error:
        raise ReidError(f"{name}_embeddings: expected rows of one width, got {error}") from error
    label = f"{name}_embeddings has shape {embeddings.shape}"
    if embeddings.size == 0:
        raise ReidError(f"{label}: expected at least one image and one column. Is the {name} split empty?")
    if embeddings.ndim != 2:
        raise ReidError(f"{label}: expected [images, width]. Put one embedding in each row")
    if embeddings.dtype.kind not in "fiu":
        raise ReidError(f"{name}_embeddings is {embeddings.dtype}: expected float16, float32 or float64. Convert it")
    person_ids = _read_ids(f"{name}_person_ids", person_ids, len(embeddings))
    camera_ids = _read_ids(f"{name}_camera_ids", camera_ids, len(embeddings)) if reads_cameras else None
    return Side(name, embeddings, person_ids, camera_ids)


def _read_ids(name: str, ids: Any, length: int) -> np.ndarray:
    way_out = '. Give real camera ids, or use --ignore=nothing (ignore="nothing")' if "camera" in name else ""
    if ids is None:
        raise ReidError(f"{name} is None: expected one integer for each of {length} embeddings{way_out}")
    ids = np.asarray(ids)
    if ids.shape != (length,):
        raise ReidError(f"{name} has shape {ids.shape}: expected ({length},), one id for each embedding")
    for row, value in enumerate(ids if ids.dtype == object else ()):  # pandas nullable integers arrive as objects.
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise ReidError(f"{name}: row {row} is {value!r}: expected an integer. Code the ids as integers{way_out}")
    if ids.dtype.kind not in "iuO":
        raise ReidError(f"{name} is {ids.dtype}: expected integers. Code the ids as integers{way_out}")
    return ids.astype(np.int64)


def check_embeddings(query: Side, gallery: Side, metric: str, block_bytes: int) -> None:
    widths = query.embeddings.shape[1], gallery.embeddings.shape[1]
    if widths[0] != widths[1]:
        raise ReidError(
            f"query embeddings are {widths[0]} wide and gallery embeddings {widths[1]}: expected one width. "
            "Compute both with the same model"
        )
    for side in (query, gallery):
        for start, rows in _row_blocks(side.embeddings, block_bytes):
            _refuse(
                ~(np.abs(rows) <= LARGEST_VALUE).all(axis=1),  # NaN compares as False.
                f"{side.name}_embeddings: row {{}} is the first with NaN, inf or a value above {LARGEST_VALUE:.2g}: "
                "expected finite numbers. Look at that image and at the model's weights",
                start,
            )
            if metric == "cosine":
                _refuse(
                    ~np.square(rows).any(axis=1),
                    f"{side.name}_embeddings: row {{}} is the first of length zero: cosine needs a direction. "
                    'Look at that image, or use --metric=euclidean (metric="euclidean")',
                    start,
                )


def _refuse(bad: np.ndarray, message: str, start: int) -> None:
    if bad.any():
        raise ReidError(message.format(start + bad.argmax()))


def _row_blocks(rows: np.ndarray, block_bytes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields row number and float64 copy of one block of rows after another."""
    step = max(1, block_bytes // (8 * rows.shape[1]))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step].astype(np.float64)
