"""Decides how work on many embeddings is cut: into slices that fit the memory, for a thread on each core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_ROWS_OF_MEDIAN = 500


def slices(length: int, step: int) -> list[slice]:
    """Returns slices that cover `range(length)`: `step` long, but 1 at least; the last may be shorter."""
    step = max(1, step)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> ThreadPoolExecutor:
    """Returns one thread for each core we may use: NumPy and SciPy free the interpreter while they work on arrays."""
    return ThreadPoolExecutor(cores())


def center_of(rows: np.ndarray) -> np.ndarray:
    """Returns a point amid the rows, float64 `[D]`: what all embeddings share eats the digits of a product.

    The median of some, not the mean of all: a single row far away must not take everybody's digits. Rounded to float32,
    so that subtracting it from float32 embeddings is exact or nearly so.
    """
    some = rows[:: max(1, len(rows) // _ROWS_OF_MEDIAN)].astype(np.float64)
    return np.median(some, axis=0).astype(np.float32).astype(np.float64)


def scale_of(query: np.ndarray, gallery: np.ndarray) -> float:
    """Returns what centered rows are multiplied by to have a length of 1 at most.

    A power of two, which rounds nothing: no square overflows float32 or, where it could matter, vanishes.
    """
    largest = max(max(float(rows.max()), -float(rows.min())) for rows in (query, gallery))
    longest = max(2 * largest * gallery.shape[1] ** 0.5, float(np.finfo(np.float64).tiny))
    return float(2.0 ** -np.ceil(np.log2(longest)))


def squared_lengths(rows: np.ndarray) -> np.ndarray:
    """Returns |row|^2 in float64, `[N]` for `[N, D]`."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Returns float64 rows of length 1; none may be zero."""
    rows = rows.astype(np.float64)
    # First by a power of two, which rounds nothing: the squares of very small numbers would vanish.
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1])
    rows /= np.sqrt(squared_lengths(rows))[:, None]
    return rows
