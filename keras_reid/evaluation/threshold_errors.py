"""Errors at a threshold: genuine pairs that it refuses, impostor pairs that it accepts, and the worst of each."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import threads
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.pairs import Pairs

_ON_THRESHOLD = 1 + 8e-11  # of a squared distance: what `verify` takes for rounding


class Pair(NamedTuple):
    """A query and a gallery image."""

    query: int  # row of `Embedded.query`
    image: int  # row of `Embedded.gallery`
    distance: float  # by the metric of the embeddings


class ThresholdErrors(NamedTuple):
    """What a threshold would answer: pairs at most that far apart are accepted as one person."""

    threshold: float
    genuine_pairs: int
    impostor_pairs: int
    false_rejects: int  # genuine pairs beyond the threshold
    false_accepts: int  # impostor pairs within it
    worst_rejects: tuple[Pair, ...]  # of the false rejects the farthest, the farthest first
    worst_accepts: tuple[Pair, ...]  # of the false accepts the nearest, the nearest first


def errors_at(embedded: Embedded, threshold: float, *, count: int = 12, **rules: Any) -> ThresholdErrors:
    """Counts the errors that a threshold makes on the pairs that `verify` counts, and finds the worst.

    Args:
        embedded: query and gallery.
        threshold: a distance by the metric of the embeddings.
        count: how many of the worst of each kind are returned; fewer where there are fewer.
        **rules: `ignore` and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
        The counts, and the worst pairs; at equal distances those of the first rows. Memory is bounded.

    Raises:
        ReidError: as `evaluate_retrieval`, or the threshold is no distance.
    """
    check_positive("count", count)
    if not isinstance(threshold, numbers.Real) or isinstance(threshold, bool) or not 0 <= threshold < np.inf:
        raise ReidError(f"threshold={threshold!r}: expected a distance, a finite number of at least 0")
    pairs = embedded.pairs(**rules)
    limit = (2 * threshold if pairs.metric == "cosine" else threshold**2) * _ON_THRESHOLD

    def accepted(part: slice) -> tuple[int, int, _Worst]:
        """Returns how many impostor pairs a part of the gallery is in, how many are accepted, and the nearest."""
        of_part, impostor_pairs, false_accepts = _Worst(count), 0, 0
        for queries, images, squared in pairs.impostor(part):
            impostor_pairs += int(np.isfinite(squared).sum())
            rows, columns = np.nonzero(squared <= limit)
            false_accepts += len(rows)
            of_part.add(queries[rows], images[columns], squared[rows, columns])
        return impostor_pairs, false_accepts, of_part

    rejected, genuine_pairs, false_rejects = _Worst(count), 0, 0
    for queries, images, squared in pairs.genuine():
        beyond = squared > limit
        genuine_pairs, false_rejects = genuine_pairs + len(squared), false_rejects + int(beyond.sum())
        rejected.add(queries[beyond], images[beyond], -squared[beyond])
    with threads() as pool:
        parts = list(pool.map(accepted, pairs.impostor_parts()))
    nearest = _Worst(count)
    for *_, of_part in parts:
        nearest.add(*of_part.columns)
    return ThresholdErrors(
        threshold=float(threshold),
        genuine_pairs=genuine_pairs,
        impostor_pairs=sum(part[0] for part in parts),
        false_rejects=false_rejects,
        false_accepts=sum(part[1] for part in parts),
        worst_rejects=rejected.pairs(pairs),
        worst_accepts=nearest.pairs(pairs),
    )


class _Worst:
    """Keeps the `count` pairs of the lowest keys among all that are added; queries, images and keys in `columns`."""

    def __init__(self, count: int):
        self._count = count
        self.columns = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)

    def add(self, queries: np.ndarray, images: np.ndarray, keys: np.ndarray) -> None:
        if len(keys) > self._count:  # sorting all of a loose threshold's pairs would take long
            few = keys <= np.partition(keys, self._count - 1)[self._count - 1]
            queries, images, keys = queries[few], images[few], keys[few]
        columns = [np.concatenate(both) for both in zip(self.columns, (queries, images, keys))]
        order = np.lexsort((columns[1], columns[0], columns[2]))[: self._count]
        self.columns = tuple(column[order] for column in columns)

    def pairs(self, pairs: Pairs) -> tuple[Pair, ...]:
        queries, images, _ = self.columns
        distances = pairs.distances(pairs.squared(queries, images))
        return tuple(Pair(*one) for one in zip(queries.tolist(), images.tolist(), distances.tolist()))
