"""Ranks of true matches: one plus the number of wrong images that are not farther, counted in float64.

No [Q, G] matrix is stored and no gallery is sorted: blocks of scores are counted and forgotten.
`benchmarks/evaluation.py` measures it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_reid.data.counted import Matches
from keras_reid.evaluation.blocks import cores, slices, threads
from keras_reid.evaluation.products import preparation, with_squares

_MATCHES_AT_ONCE = 512  # rows that stay in the cache
_IMAGES_AT_ONCE = 1 << 14  # a block of more images has fewer queries, for which the product is slower


def match_ranks(
    query: np.ndarray, gallery: np.ndarray, matches: Matches, *, metric: str, block_bytes: int
) -> np.ndarray:
    """Returns the ranks of the true matches, int64 `[M]`, 1 is best, ascending within each query.

    Squared distances are compared, without the term |q|^2 that all images of a query share. A wrong image counts as
    closer unless it is farther than the true match by more than the rounding error of a float64 product.
    """
    prepare = preparation(query, gallery, metric)
    slack = 2 * (gallery.shape[1] + 6) * np.finfo(np.float64).eps
    scored, starts, counts = np.unique(matches.query, return_index=True, return_counts=True)
    own = np.stack([matches.first, matches.last], axis=1)[scored]
    owners, found = np.repeat(np.arange(len(scored)), counts), matches.order[matches.position]
    anchors = with_squares(prepare, query[scored])
    limits = np.empty(len(owners))
    for part in slices(len(limits), _MATCHES_AT_ONCE):
        limits[part] = _limits(anchors[owners[part]], with_squares(prepare, gallery[found[part]]), slack)
    counter = _Counter(anchors, limits[np.lexsort((limits, owners))], np.append(starts, len(limits)))
    with threads() as pool:
        for part in slices(len(matches.order), min(_IMAGES_AT_ONCE, block_bytes // (8 * gallery.shape[1]))):
            images = with_squares(prepare, gallery[matches.order[part]])
            images[:, -1] *= 1 - slack
            counter.count(images, np.clip(own - part.start, 0, len(images)), block_bytes, pool)
    return counter.closer + np.arange(len(limits)) - np.repeat(starts, counts) + 1


def ranks_in_matrix(distances: np.ndarray, matches: Matches) -> np.ndarray:
    """Returns the ranks of the true matches as `match_ranks`, but by distances `[Q, G]` that are there already."""
    scored, starts = np.unique(matches.query, return_index=True)
    ranks = np.empty(len(matches.query), np.int64)
    for row, start, stop in zip(scored, starts, np.append(starts[1:], len(matches.query))):
        counted = distances[row, matches.order]
        limits = np.sort(counted[matches.position[start:stop]])
        counted[matches.first[row] : matches.last[row]] = np.inf
        ranks[start:stop] = _at_most(limits, counted) + np.arange(1, stop - start + 1)
    return ranks


def _limits(anchors: np.ndarray, images: np.ndarray, slack: float) -> np.ndarray:
    """Returns the scores up to which wrong images are as near as true matches, float64 `[n]`, row by row."""
    products = np.einsum("nd,nd->n", anchors[:, :-1], images[:, :-1])
    return (1 + slack) * images[:, -1] - 2 * products + 2 * slack * anchors[:, -1]


def _at_most(limits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns how many scores are at most as large as each of the ascending limits, int64 `[M]`."""
    near = scores[scores <= limits[-1]]
    if len(limits) < 50 and len(near) > 4000:  # a pass for each limit is faster than a search for each score
        return np.array([np.count_nonzero(near <= limit) for limit in limits])
    return np.cumsum(np.bincount(np.searchsorted(limits, near), minlength=len(limits)))


class _Counter:
    """Adds up in `closer`, int64 `[M]`, part by part of the gallery, the wrong images as near as each true match."""

    def __init__(self, anchors: np.ndarray, limits: np.ndarray, starts: np.ndarray):
        """Takes the scored queries, the limits of their matches, and where those of each start, `[Q + 1]`."""
        self.closer = np.zeros(len(limits), np.int64)
        self._limits, self._starts = limits, starts
        self._queries = -2 * anchors
        self._queries[:, -1] = 1

    def count(self, images: np.ndarray, own: np.ndarray, block_bytes: int, pool: ThreadPoolExecutor) -> None:
        """Counts images `[n, D + 1]`; those from own[:, 0] to own[:, 1] are of the query's identity."""
        at_once = max(1, block_bytes // (8 * len(images) * cores()))
        blocks = iter(slices(len(self._queries), at_once))

        def work(_: int) -> None:
            # While one thread counts, the product of another has the cores. Memory is taken once: new pages cost as
            # much as a product.
            memory = np.empty((min(at_once, len(self._queries)), len(images)))
            for block in blocks:
                scores = np.matmul(self._queries[block], images.T, out=memory[: block.stop - block.start])
                for query, row in enumerate(scores, start=block.start):
                    row[own[query, 0] : own[query, 1]] = np.inf
                    of_query = slice(self._starts[query], self._starts[query + 1])
                    self.closer[of_query] += _at_most(self._limits[of_query], row)

        list(pool.map(work, range(cores())))
