"""Products of embeddings: squared Euclidean distances of queries to gallery images from one matrix product a block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_reid.artifacts.augmentation import UNIT_LENGTH_TOLERANCE
from keras_reid.evaluation.blocks import slices, squared_lengths

_ROWS_OF_MEDIAN = 500
_BYTES_AT_ONCE = 1 << 20  # of rows that are prepared at a time: they should stay in a core's own cache

Preparation = Callable[[np.ndarray], np.ndarray]


def have_unit_length(rows: np.ndarray) -> bool:
    """Returns whether all rows have length 1, to within what networks that normalize in low precision give."""
    return bool((np.abs(np.sqrt(squared_lengths(rows)) - 1) <= UNIT_LENGTH_TOLERANCE).all())


@dataclasses.dataclass(frozen=True)
class Centered:
    """Moves and scales rows so that a product of them loses few digits: float64, of length 1 at most.

    Attributes:
        center: float64 `[D]`; what all embeddings share eats the digits of a product.
        scale: a power of two, which rounds nothing: no square overflows float32 or, where it could matter, vanishes.
    """

    center: np.ndarray
    scale: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        rows = rows - self.center
        rows *= self.scale
        return rows


def centered(query: np.ndarray, gallery: np.ndarray) -> Centered:
    """Returns the preparation that suits both sides, `[Q, D]` and `[G, D]`."""
    largest = max(max(float(rows.max()), -float(rows.min())) for rows in (query, gallery))
    longest = max(2 * largest * gallery.shape[1] ** 0.5, float(np.finfo(np.float64).tiny))
    return Centered(center_of(gallery), float(2.0 ** -np.ceil(np.log2(longest))))


def center_of(rows: np.ndarray) -> np.ndarray:
    """Returns a point amid the rows, float64 `[D]`: the median of some, which one row far away does not move.

    It is rounded to float32: subtracting it from float32 embeddings is exact or nearly exact.
    """
    some = rows[:: max(1, len(rows) // _ROWS_OF_MEDIAN)].astype(np.float64)
    return np.median(some, axis=0).astype(np.float32).astype(np.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Returns float64 rows of length 1; none may be zero."""
    rows = rows.astype(np.float64)
    # First by a power of two, which rounds nothing: the squares of very small numbers would vanish.
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1])
    rows /= np.sqrt(squared_lengths(rows))[:, None]
    return rows


def preparation(query: np.ndarray, gallery: np.ndarray, metric: str) -> Preparation:
    """Returns the map of embeddings to float64 rows of length 1 at most whose distance gives the metric's order."""
    return unit_rows if metric == "cosine" else centered(query, gallery)  # |a - b|^2 = 2 - 2 cos for unit vectors


def distances_from_squares(squared: np.ndarray, prepare: Preparation, metric: str) -> np.ndarray:
    """Returns the distances by the metric from squared ones of rows of `preparation`, which scales Euclidean ones."""
    return squared / 2 if metric == "cosine" else np.sqrt(squared) / prepare.scale


def with_squares(prepare: Preparation, rows: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """Returns the prepared rows, and their squared lengths in one more column, `[N, D + 1]`.

    The product of `[-2 q, 1]` with such a gallery is |q - g|^2 - |q|^2: the squared distances, in the same order.
    """
    columns = np.empty((len(rows), rows.shape[1] + 1), dtype)
    for part in slices(len(rows), _BYTES_AT_ONCE // (8 * rows.shape[1])):
        prepared = prepare(rows[part])
        columns[part, :-1], columns[part, -1] = prepared, squared_lengths(prepared)
    return columns


def products_with(gallery: np.ndarray, prepare: Preparation, query: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Writes |q - g|^2 - |q|^2 into `out` `[Q, G]`, in its dtype; returns |q|^2, float64 `[Q]`.

    `gallery` is what `with_squares` returns for the same preparation and dtype, `[G, D + 1]`.
    """
    query = with_squares(prepare, query)
    lengths = query[:, -1].copy()
    query *= -2
    query[:, -1] = 1
    np.matmul(query.astype(out.dtype), gallery.T, out=out)
    return lengths
