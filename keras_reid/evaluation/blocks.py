"""Blocks of work on many embeddings: slices that fit the memory, for a thread on each core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np


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


def squared_lengths(rows: np.ndarray) -> np.ndarray:
    """Returns |row|^2 in float64, `[N]` for `[N, D]`."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
