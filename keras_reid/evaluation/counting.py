"""Decides at which rank a true match stands: one plus the number of wrong images that are not farther than it.

No [Q, G] matrix is stored and no gallery is sorted: blocks of scores are counted, by buckets, and forgotten. A float32
product settles nearly every comparison, because its rounding error has a bound; the few scores that lie within the
bound of a true match are computed again in float64. So the ranks are those of float64, at the price of float32.
`benchmarks/evaluation.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from keras_reid.evaluation.blocks import center_of, cores, scale_of, slices, squared_lengths, threads, unit_rows

_ROUNDING = 2.0**-24  # of float32
# A wider product is summed from several: the error bound grows with the length of one sum.
_SUMMED_AT_ONCE = 256
# Scores between a query's lowest and highest limit are placed in 16 bits.
_FIRST_BUCKET, _BUCKETS = 3, 65000
_ROWS_AT_ONCE = 1024  # in float64: they stay in the cache
_SCORES_AT_ONCE = 1 << 20  # counted at a time: enough not to wait for Python


class Matches(NamedTuple):
    """Which images count for which query; a "position" is an index into `order`."""

    order: np.ndarray  # int64 [N] indices of the counted gallery images, sorted by person
    first: np.ndarray  # int64 [Q]: the positions first to last hold the query's own person, true matches
    last: np.ndarray  # int64 [Q] and ignored images, so never wrong ones
    query: np.ndarray  # int64 [M] ascending: the query of each true match
    position: np.ndarray  # int64 [M] the position of each true match


def match_ranks(
    query: np.ndarray, gallery: np.ndarray, matches: Matches, *, metric: str, block_bytes: int
) -> np.ndarray:
    """Returns the ranks of the true matches, int64 `[M]`, 1 is best, ascending within each query.

    Squared distances are compared, without the term |q|^2 that all images of a query share. A wrong image counts as
    closer unless it is farther than the true match by more than the rounding error of a float64 product.

    Args:
      query: `[Q, D]`, finite.
      gallery: `[G, D]`, finite.
      matches: who counts.
      metric: "euclidean" or "cosine".
      block_bytes: about the size of one working block; a few of them are alive at a time.
    """
    prepare = preparation(query, gallery, metric)
    slack = 2 * (gallery.shape[1] + 6) * np.finfo(np.float64).eps
    scored, starts = np.unique(matches.query, return_index=True)
    own = np.stack([matches.first, matches.last], axis=1)[scored]
    with threads() as pool:
        anchors = _in_parallel(pool, prepare, query[scored])
        limits = _limits(anchors, gallery, matches, prepare, slack, pool)
        counter = _Counter(anchors, limits, starts, slack, pool)
        for part in slices(len(matches.order), max(1, block_bytes // (8 * gallery.shape[1]))):
            images = gallery[matches.order[part]]
            counter.count(images, prepare, np.clip(own - part.start, 0, len(images)), block_bytes)
    found = np.arange(len(limits)) - np.repeat(starts, np.diff(starts, append=len(limits))) + 1
    return counter.closer + found


def ranks_in_matrix(distances: np.ndarray, matches: Matches) -> np.ndarray:
    """Returns the ranks of the true matches as `match_ranks`, but by distances `[Q, G]` that are there already."""
    scored, starts = np.unique(matches.query, return_index=True)
    ranks = np.empty(len(matches.query), np.int64)
    for row, start, stop in zip(scored, starts, np.append(starts[1:], len(matches.query))):
        counted = distances[row, matches.order]
        limits = np.sort(counted[matches.position[start:stop]])
        counted[matches.first[row] : matches.last[row]] = np.inf
        near = np.sort(counted[counted <= limits[-1]])
        ranks[start:stop] = np.searchsorted(near, limits, side="right") + np.arange(1, stop - start + 1)
    return ranks


def preparation(query: np.ndarray, gallery: np.ndarray, metric: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the map of embeddings to float64 rows of length 1 at most whose distance gives the metric's order."""
    if metric == "cosine":  # |a - b|^2 = 2 - 2 cos for unit vectors.
        return unit_rows
    offset, scale = center_of(gallery), scale_of(query, gallery)

    def centered(embeddings: np.ndarray) -> np.ndarray:
        rows = embeddings.astype(np.float64)
        rows -= offset
        rows *= scale
        return rows

    return centered


def _limits(
    anchors: np.ndarray,
    gallery: np.ndarray,
    matches: Matches,
    prepare: Callable,
    slack: float,
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """Returns the scores up to which a wrong image counts as closer, float64 `[M]`, ascending within each query."""

    def limits(owners: np.ndarray, positions: np.ndarray) -> np.ndarray:
        images = prepare(gallery[matches.order[positions]])
        scores = (1 + slack) * squared_lengths(images) - 2 * np.einsum("nd,nd->n", images, anchors[owners])
        return scores + 2 * slack * lengths[owners]

    lengths = squared_lengths(anchors)
    owners = np.cumsum(np.diff(matches.query, prepend=matches.query[0]) > 0)
    unsorted = _in_parallel(pool, limits, owners, matches.position)
    return unsorted[np.lexsort((unsorted, owners))]


class _Counter:
    """Adds up, one block of the gallery after another, how many wrong images are closer than each true match.

    Scores are |g|^2 - 2 q.g. In float32, with the products summed in any order, a score is off by at most
    `bound` * (|q| + |g|)^2; and an image at most as far as a true match at distance d has |g| <= |q| + d. So beyond
    `limit` +- `bound` * (2 |q| + d)^2 a float32 score settles the comparison: what is longer than |q| + d stays above,
    because (t - |q|)^2 - bound * (t + |q|)^2 grows with t from there on.
    """

    def __init__(
        self, query: np.ndarray, limits: np.ndarray, starts: np.ndarray, slack: float, pool: ThreadPoolExecutor
    ):
        """Takes the prepared queries, the limits of all their matches, and where those of each query start."""
        self.closer = np.zeros(len(limits), np.int64)
        self._query, self._limits, self._slack, self._pool = query, limits, slack, pool
        self._starts = np.append(starts, len(limits))  # the matches of query i: starts[i] to starts[i + 1]
        self._lengths = np.repeat(np.sqrt(squared_lengths(query)), np.diff(self._starts))
        self._distances = np.sqrt(np.maximum(limits + self._lengths**2, 0))

    def count(self, images: np.ndarray, prepare: Callable, own: np.ndarray, block_bytes: int) -> None:
        """Counts one block of the gallery.

        Args:
          images: `[n, D]`.
          prepare: to float64 rows.
          own: int64 `[Q, 2]`: the images from own[:, 0] to own[:, 1] are of the query's person.
          block_bytes: of one working block.
        """
        columns, longest = _columns(images, prepare, self._pool)
        limits = self._certain(longest, images.shape[1])
        at_once = max(1, block_bytes // (4 * len(images) * cores()))
        blocks = iter(slices(len(self._query), at_once))

        def work(_: int) -> None:
            # While one thread counts, the product of another has the cores. Memory is taken once: new pages cost as
            # much as a product.
            memory = np.empty((2, min(at_once, len(self._query)), len(images)), np.float32)
            for block in blocks:
                rows = range(block.start, block.stop)
                scores = _product(self._query[block], columns, memory[:, : len(rows)])
                for part in slices(len(rows), _SCORES_AT_ONCE // len(images)):
                    of_part = slice(rows[part].start, rows[part].stop)
                    if not self._count_rows(of_part, scores[part], own, limits, images, prepare):
                        self._count_exactly(of_part, images, prepare, own)

        list(self._pool.map(work, range(cores())))

    def _certain(self, longest: float, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each true match the scores below and above which float32 settles the comparison."""
        bound = 1.01 * (min(width, _SUMMED_AT_ONCE) + width // _SUMMED_AT_ONCE + 10) * _ROUNDING
        reach = self._lengths + np.maximum(self._distances, 3 * bound * self._lengths)
        error = bound * (self._lengths + np.minimum(reach, longest)) ** 2
        error += 1e-30  # What vanishes below float32's smallest numbers.
        return self._limits - error, self._limits + error

    def _count_rows(
        self, rows: slice, scores: np.ndarray, own: np.ndarray, limits: tuple, images: np.ndarray, prepare: Callable
    ) -> bool:
        """Counts a block for some queries; False, with nothing counted, when too much is left to float64."""
        starts = self._starts[rows.start : rows.stop + 1]
        matches = slice(starts[0], starts[-1])
        lower, upper = (of_all[matches] for of_all in limits)
        starts, counts = starts[:-1] - starts[0], np.diff(starts)
        for row_scores, (first, last) in zip(scores, own[rows]):
            row_scores[first:last] = np.inf
        lowest = np.nextafter(lower[starts].astype(np.float32), np.float32(-np.inf))  # rounded, but not up
        highest = upper[starts + counts - 1]
        per_bucket = (_BUCKETS / (highest - lowest)).astype(np.float32)
        keys, order, columns, ends = _placed(scores, lowest, highest, per_bucket)

        def edges(of_matches: np.ndarray) -> np.ndarray:
            zero, scale = np.repeat(lowest, counts).astype(float), np.repeat(per_bucket, counts).astype(float)
            return (of_matches - zero) * scale + _FIRST_BUCKET + np.repeat(np.arange(len(counts)) << 16, counts)

        # Widened by what the cut to an integer and the arithmetic of a bucket itself may take away.
        below = np.searchsorted(keys, np.ceil(edges(lower) - 1.1).astype(np.uint32), sorter=order)
        upto = np.searchsorted(keys, np.floor(edges(upper) + 0.1).astype(np.uint32), side="right", sorter=order)
        between = _covered(below, upto)
        if len(between) > scores.size // 8:
            return False
        row_starts = np.repeat(ends[:-1], counts)
        closer = below - row_starts
        if len(between):
            # Those of them that are below already are counted again, in float64.
            closer -= np.searchsorted(between, below) - np.searchsorted(between, row_starts)
            open_ends = np.searchsorted(between, ends)
            exact = self._exact(columns(order[between]), open_ends, rows, images, prepare)
            for row in np.flatnonzero(np.diff(open_ends)):
                of_row = slice(starts[row], starts[row] + counts[row])
                sorted_scores = np.sort(exact[open_ends[row] : open_ends[row + 1]])
                closer[of_row] += np.searchsorted(sorted_scores, self._limits[matches][of_row], side="right")
        self.closer[matches] += closer
        return True

    def _exact(
        self, columns: np.ndarray, ends: np.ndarray, rows: slice, images: np.ndarray, prepare: Callable
    ) -> np.ndarray:
        """Returns the float64 scores of some wrong images, lowered so that an exact tie counts.

        Args:
          columns: int64 `[K]`, images of the block; those from ends[i] to ends[i + 1] for query i of `rows`.
          ends: int64, one more than queries.
          rows: the queries.
          images: the block.
          prepare: to float64 rows.
        """
        scores = np.empty(len(columns))
        for part in slices(len(columns), _ROWS_AT_ONCE):
            prepared = prepare(images[columns[part]])
            scores[part] = (1 - self._slack) * squared_lengths(prepared)
            in_part = np.clip(ends - part.start, 0, len(prepared))
            for row in np.flatnonzero(np.diff(in_part)):
                of_row = slice(in_part[row], in_part[row + 1])
                # No product of BLAS: it would start threads for each query.
                scores[part][of_row] -= 2 * np.einsum("nd,d->n", prepared[of_row], self._query[rows.start + row])
        return scores

    def _count_exactly(self, rows: slice, images: np.ndarray, prepare: Callable, own: np.ndarray) -> None:
        """Counts a block for queries that float32 leaves open, as for a collapsed network, by a float64 product."""
        scores = np.empty((rows.stop - rows.start, len(images)))
        for part in slices(len(images), _ROWS_AT_ONCE):
            prepared = prepare(images[part])
            scores[:, part] = (1 - self._slack) * squared_lengths(prepared) - 2 * (self._query[rows] @ prepared.T)
        for row, of_row in zip(range(rows.start, rows.stop), scores):
            of_row[own[row, 0] : own[row, 1]] = np.inf
            matches = slice(self._starts[row], self._starts[row + 1])
            near = np.sort(of_row[of_row <= self._limits[matches][-1]])
            self.closer[matches] += np.searchsorted(near, self._limits[matches], side="right")


def _columns(images: np.ndarray, prepare: Callable, pool: ThreadPoolExecutor) -> tuple[np.ndarray, float]:
    """Returns the prepared images in float32, |g|^2 in a last column, `[n, D + 1]`, and the largest |g|."""
    columns = np.empty((len(images), images.shape[1] + 1), np.float32)

    def write(part: slice) -> float:
        rows = prepare(images[part])
        squares = squared_lengths(rows)
        columns[part, :-1], columns[part, -1] = rows, squares
        return squares.max()

    return columns, np.sqrt(max(pool.map(write, slices(len(images), _ROWS_AT_ONCE))))


def _product(query: np.ndarray, columns: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Returns the scores float32 `[Q, n]`, in `memory` `[2, Q, n]`; the last of the columns holds |g|^2."""
    query = np.concatenate([-2 * query, np.ones((len(query), 1))], axis=1).astype(np.float32)
    scores, summand = memory
    # The column of |g|^2 joins the last part.
    starts = range(0, columns.shape[1] - 1, _SUMMED_AT_ONCE)
    for start, end in zip(starts, [*starts[1:], columns.shape[1]]):
        np.matmul(query[:, start:end], columns[:, start:end].T, out=summand if start else scores)
        if start:
            scores += summand
    return scores


def _placed(
    scores: np.ndarray, lowest: np.ndarray, highest: np.ndarray, per_bucket: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Callable, np.ndarray]:
    """Places the scores of each query that do not exceed its highest limit in 16-bit buckets.

    Placing is a stable sort of 16-bit integers, which takes linear time. What is under the lowest limit falls into the
    first buckets.

    Args:
      scores: float32 `[Q, n]`.
      lowest: float32 `[Q]`, the lowest limit of each query.
      highest: float64 `[Q]`, its highest.
      per_bucket: float32 `[Q]`, buckets per unit.

    Returns:
      keys uint32 `[K]`, row * 2^16 + bucket; their order, int64 `[K]`; the map of indices of keys to columns of
      `scores`; and where the rows end in that order, int64 `[Q + 1]`, from 0.
    """
    height, width = scores.shape
    row_keys = np.arange(height, dtype=np.uint32)[:, None] << np.uint32(16)
    near = np.flatnonzero(scores <= (highest + abs(highest) * 1e-6).astype(np.float32)[:, None])
    if len(near) > scores.size // 4:
        buckets = _buckets(scores, lowest[:, None], per_bucket[:, None])
        order = np.argsort(buckets, axis=1, kind="stable")
        order += np.arange(height)[:, None] * width
        ends = np.arange(height + 1) * width
        return (buckets + row_keys).ravel(), order.ravel(), lambda indices: indices % width, ends
    # A good model leaves few.
    ends = np.searchsorted(near, np.arange(height + 1) * width)
    counts = np.diff(ends)
    buckets = _buckets(scores.ravel()[near], np.repeat(lowest, counts), np.repeat(per_bucket, counts))
    parts = [slice(*part) for part in zip(ends, ends[1:])]
    order = np.concatenate([part.start + np.argsort(buckets[part], kind="stable") for part in parts])
    return buckets + np.repeat(row_keys.ravel(), counts), order, lambda indices: near[indices] % width, ends


def _buckets(scores: np.ndarray, lowest: np.ndarray, per_bucket: np.ndarray) -> np.ndarray:
    buckets = scores - lowest
    buckets *= per_bucket
    buckets += np.float32(_FIRST_BUCKET)
    return np.clip(buckets, 0, 65535, out=buckets).astype(np.uint16)


def _covered(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns, ascending, the positions in at least one of the intervals [start, end), both ascending."""
    starts = np.maximum(starts, np.append(0, ends[:-1]))  # what an earlier interval holds comes once
    lengths = np.maximum(ends - starts, 0)
    total = lengths.sum()
    if not total:
        return np.zeros(0, np.int64)
    return np.arange(total) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def _in_parallel(pool: ThreadPoolExecutor, function: Callable, *rows: np.ndarray) -> np.ndarray:
    """Returns `function` of the rows, computed in parts that stay in the cache."""
    parts = slices(len(rows[0]), _ROWS_AT_ONCE)
    return np.concatenate(list(pool.map(lambda part: function(*(array[part] for array in rows)), parts)))
