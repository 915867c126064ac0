"""Nearest neighbors: the gallery rows nearest to each query row, exactly, though float32 products do the work.

A float32 product costs half of a float64 one, and its rounding error has a known bound. So the product says which few
rows cannot be ruled out, and those alone are compared in float64 and sorted. No [Q, G] matrix is stored.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import cores, slices, squared_lengths, threads
from keras_reid.evaluation.products import centered, products_with, with_squares

BLOCK_BYTES = 64 << 20  # One block of products; smaller ones make the product slower.
CACHE_BYTES = 1 << 20  # What a core works on at a time after the product: it should stay in the core's own cache.
FEWEST_GROUPS = 512  # Few columns share a group then, so that hardly a candidate comes on top of the nearest.
CROWDED_FROM = 8  # Candidates for each neighbor asked for: with more, a float64 product is cheaper.
_SECONDS_BEFORE_BAR = 2.0  # A small gallery is done before that.


class Neighbors(NamedTuple):
    """The nearest gallery rows of each query row, the nearest first, and how far away the farthest row is."""

    indices: np.ndarray  # int64 [Q, count]
    squared_distances: np.ndarray  # float64 [Q, count]
    largest: np.ndarray  # float64 [Q], the squared distance of the farthest gallery row, as float32 picks that row


def nearest_neighbors(
    query: np.ndarray,
    gallery: np.ndarray,
    count: int,
    *,
    block_bytes: int = BLOCK_BYTES,
    description: str | None = None,
) -> Neighbors:
    """Finds the nearest gallery rows of each query row by squared Euclidean distance, as float64 orders them.

    Rows `[Q, D]` and `[G, D]` are finite: float16, float32, float64 or integers; for cosine, unit vectors. Those at
    equal distance stand in the order of their indices. Little is alive besides one block of products and one copy of
    the gallery. Without a description there is no progress bar. ReidError where `count` is not 1 to G.
    """
    if not 1 <= count <= len(gallery):
        raise ReidError(f"count={count}: expected 1 to {len(gallery)}, the number of gallery rows. Ask for fewer")
    searched = _without_needless_copies(gallery, count)
    rows = gallery[searched] if len(searched) < len(gallery) else gallery
    with progress_bar(len(query), description) as bar:
        found = _search(query, rows, count, np.float32, block_bytes, bar)
        crowded = np.flatnonzero(found.indices[:, 0] < 0)
        if len(crowded):
            again = _search(query[crowded], rows, count, np.float64, block_bytes, bar)
            for array, replacement in zip(found, again):
                array[crowded] = replacement
    return found._replace(indices=searched[found.indices])


def squared_distances(query: np.ndarray, rows: np.ndarray, gallery: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns |query[rows[n]] - gallery[columns[n]]|^2 for each n, float64 `[N]`, from differences, not from products.

    So two pairs of equal rows get one distance to the last bit, and identical rows get 0.
    """
    distances = np.empty(len(rows))
    for part in slices(len(rows), CACHE_BYTES // (8 * query.shape[1])):
        differences = query[rows[part]].astype(np.float64)
        differences -= gallery[columns[part]]
        distances[part] = squared_lengths(differences)
    return distances


def progress_bar(total: int, description: str | None, unit: str = "image") -> tqdm:
    """Returns a bar that shows itself only on a terminal, after a while, and goes when it is full."""
    disable = True if description is None else None
    return tqdm(total=total, desc=description, unit=unit, disable=disable, leave=False, delay=_SECONDS_BEFORE_BAR)


# --- Which rows are compared ---


def _without_needless_copies(gallery: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices to search: of identical rows the first `count`, as no later one can come before these.

    Else a network that puts every image at one point would leave no candidate ruled out.
    """
    contents = [hashlib.blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(gallery)]
    return np.flatnonzero(pd.Series(contents).groupby(contents).cumcount() < count)


def _search(query: np.ndarray, gallery: np.ndarray, count: int, dtype: Any, block_bytes: int, bar: tqdm) -> Neighbors:
    """Returns the neighbors; the indices are -1 in rows for which float32 rules out too few candidates."""
    prepare = centered(query, gallery)
    columns = with_squares(prepare, gallery, dtype)
    found = Neighbors(np.full((len(query), count), -1), np.zeros((len(query), count)), np.zeros(len(query)))
    row_bytes = np.dtype(dtype).itemsize * len(gallery)
    blocks = slices(len(query), block_bytes // row_bytes)
    buffer = np.empty((blocks[0].stop, len(gallery)), dtype)  # One for all blocks: fresh memory has its price.
    with threads() as pool:
        for block in blocks:
            rows, scores = query[block], buffer[: block.stop - block.start]
            lengths = products_with(columns, prepare, rows, out=scores)
            parts = slices(len(rows), min(CACHE_BYTES // row_bytes, -(-len(rows) // cores())))
            select = functools.partial(_select, rows, lengths, scores, gallery, count)
            for part, nearest in zip(parts, pool.map(select, parts)):
                for array, values in zip(found, nearest or ()):
                    array[block][part] = values
                bar.update(len(scores[part]) if nearest else 0)
    return found


def _select(
    query: np.ndarray, lengths: np.ndarray, scores: np.ndarray, gallery: np.ndarray, count: int, part: slice
) -> Neighbors | None:
    """Returns the neighbors of one part of a block, or None if a float64 product should be asked first."""
    query, lengths, scores = query[part], lengths[part], scores[part]
    limits = _limits(scores, lengths, count, query.shape[1])
    rows, columns = np.divmod(np.flatnonzero(scores <= limits[:, None]), len(gallery))
    if scores.dtype == np.float32 and len(rows) > CROWDED_FROM * count * len(query):
        return None
    distances = squared_distances(query, rows, gallery, columns)
    # Candidates come row by row, columns ascending; a stable sort leaves equal distances in this order.
    order = np.lexsort((distances, rows))
    nearest = order[np.searchsorted(rows, np.arange(len(query)))[:, None] + np.arange(count)]
    farthest = squared_distances(query, np.arange(len(query)), gallery, scores.argmax(axis=1))
    return Neighbors(columns[nearest], distances[nearest], farthest)


def _limits(scores: np.ndarray, lengths: np.ndarray, count: int, width: int) -> np.ndarray:
    """Returns for each row the score up to which a column may be one of its `count` nearest.

    Summed in any order, a score is off by at most r (|q| + |g|)^2 with r = (width + 10) roundings, and a column at
    distance d has |g| <= |q| + d, so by at most r (8 |q|^2 + 2 d^2). `count` columns have scores up to the `count`-th
    smallest minimum of any groups of columns. So `count` columns are as near as that plus the error, and no farther
    column, minus the error, can be among the nearest; both together are less than 20 r |q|^2 + 10 r d^2.
    """
    minima = _group_minima(scores, max(FEWEST_GROUPS, 16 * count))
    smallest = np.partition(minima, count - 1, axis=1)[:, count - 1].astype(np.float64)
    squares = np.maximum(smallest + lengths, 0)
    kind = np.finfo(scores.dtype)
    limits = squares - lengths + (width + 10) * kind.eps / 2 * (20 * lengths + 10 * squares)
    limits += 8 * width * float(kind.tiny)  # What is lost where products are too small for the type.
    return np.nextafter(limits.astype(scores.dtype), np.inf, dtype=scores.dtype)


def _group_minima(scores: np.ndarray, groups: int) -> np.ndarray:
    """Returns the minima of groups of columns. Columns side by side are in different groups, as a gallery is sorted."""
    rows, columns = scores.shape
    in_each = columns // groups
    if in_each < 2:
        return scores
    minima = scores[:, : in_each * groups].reshape(rows, in_each, groups).min(axis=1)
    rest = scores[:, in_each * groups :]
    np.minimum(minima[:, : rest.shape[1]], rest, out=minima[:, : rest.shape[1]])
    return minima
