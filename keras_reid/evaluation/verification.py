"""Verification: genuine and impostor pairs along their distances; ROC, equal error rate, thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_reid.artifacts.metadata import CALIBRATED
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.counted import Matches
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices, squared_lengths, threads
from keras_reid.evaluation.inputs import read_embeddings, read_people
from keras_reid.evaluation.products import center_of, unit_rows
from keras_reid.evaluation.ranking import find_matches

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
_STEPS, _OCTAVES = 1 << 20, 60  # of the scale of thresholds: each is 0.004 % above the one before
_ROWS_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True, eq=False)
class VerificationResult:
    """Counts of genuine and impostor pairs on a scale of distances.

    A pair of a query and a gallery image is called the same person when its distance is at most the threshold.

    Attributes:
      genuine_pairs: number of pairs of one identity that count as true matches.
      impostor_pairs: number of pairs of two identities; images with id -1, which may show anyone, are in none.
      metric: how embeddings were compared.
      thresholds: float64 `[T]`, ascending: a scale of a million steps, each 0.004 % above the one before.
      true_positive_rate: float64 `[T]`, share of the genuine pairs up to each threshold.
      false_positive_rate: float64 `[T]`, share of the impostor pairs up to each threshold.
    """

    genuine_pairs: int
    impostor_pairs: int
    metric: str
    thresholds: np.ndarray = dataclasses.field(repr=False)
    true_positive_rate: np.ndarray = dataclasses.field(repr=False)
    false_positive_rate: np.ndarray = dataclasses.field(repr=False)

    def operating_point(self, false_positive_rate: float) -> OperatingPoint:
        """Returns the largest threshold of the scale whose false positive rate is at most the one that is wanted.

        Raises:
          ReidError: the rate is not between 0 and 1, there are too few impostor pairs to tell, or too many of them
            have distance 0.
        """
        if not 0 < false_positive_rate < 1:
            raise ReidError(f"a false positive rate of {false_positive_rate} is wanted, expected one between 0 and 1.")
        if self.impostor_pairs * false_positive_rate < 1:
            raise ReidError(
                f"a false positive rate of {false_positive_rate} is wanted, but {self.impostor_pairs} impostor pairs "
                f"cannot show less than {1 / self.impostor_pairs:.1e}: use more images or a larger rate."
            )
        below = int(np.searchsorted(self.false_positive_rate, false_positive_rate, side="right")) - 1
        if below < 0:
            raise ReidError(
                f"{self.false_positive_rate[0]:.2%} of the impostor pairs have distance 0: no threshold has a "
                f"false positive rate of {false_positive_rate}. The model has collapsed, or images are listed twice."
            )
        return self._point(below)

    def calibration(
        self, false_positive_rate: float, *, dataset: str, test_time_augmentation: str = "none"
    ) -> dict[str, Any]:
        """Returns what `reid.json` holds of the operating point for a rate: a value for each key of `CALIBRATED`."""
        point = self.operating_point(false_positive_rate)
        values = (point.threshold, point.false_positive_rate, dataset, test_time_augmentation, None)
        return dict(zip(CALIBRATED, values))

    def told(self, false_positive_rate: float) -> str:
        """Returns a sentence on what the operating point for a rate lets through."""
        point = self.operating_point(false_positive_rate)
        return (
            f"{point.false_positive_rate:.3g} of the impostor pairs and {point.true_positive_rate:.2%} of the genuine "
            "pairs lie up to it"
        )

    def equal_error(self) -> OperatingPoint:
        """Returns the point where as many impostor pairs are accepted as genuine pairs are refused, in shares."""
        nearest = int(np.argmin(abs(self.false_positive_rate - (1 - self.true_positive_rate))))
        return self._point(nearest)

    def _point(self, step: int) -> OperatingPoint:
        curves = (self.thresholds, self.false_positive_rate, self.true_positive_rate)
        return OperatingPoint(*(float(curve[step]) for curve in curves))

    @property
    def equal_error_rate(self) -> float:
        """Mean of both error rates at the equal error point, where they differ by a pair at most."""
        point = self.equal_error()
        return (point.false_positive_rate + 1 - point.true_positive_rate) / 2

    def to_dict(self) -> dict[str, Any]:
        """Returns the summary and a ROC curve of 200 points, in plain Python types that `json.dump` accepts."""
        points = {}
        for rate in FALSE_POSITIVE_RATES:
            try:
                points[f"{rate:g}"] = dataclasses.asdict(self.operating_point(rate))
            except ReidError:  # too few pairs, or too many at distance 0
                points[f"{rate:g}"] = None
        wanted = np.geomspace(1 / self.impostor_pairs, 1, 200)
        curve = np.unique(np.maximum(np.searchsorted(self.false_positive_rate, wanted, side="right") - 1, 0))
        return {
            "genuine_pairs": self.genuine_pairs,
            "impostor_pairs": self.impostor_pairs,
            "metric": self.metric,
            "equal_error_rate": self.equal_error_rate,
            "equal_error_threshold": self.equal_error().threshold,
            "at_false_positive_rate": points,
            "roc": {
                "threshold": self.thresholds[curve].tolist(),
                "false_positive_rate": self.false_positive_rate[curve].tolist(),
                "true_positive_rate": self.true_positive_rate[curve].tolist(),
            },
        }


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and the shares of impostor and of genuine pairs that lie up to it."""

    threshold: float
    false_positive_rate: float
    true_positive_rate: float


def verify(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    metric: str = "euclidean",
    ignore: str = "same_camera",
    **people: Any,
) -> VerificationResult:
    """Compares every query with every gallery image, and counts genuine and impostor pairs along the distance.

    Args:
      query_embeddings: `[Q, D]`, as in `evaluate_retrieval`.
      gallery_embeddings: `[G, D]`.
      metric: "euclidean", or "cosine" for the cosine distance, 1 - cosine similarity.
      ignore: as in `evaluate_retrieval`: a gallery image that it ignores for a query is in no pair with it.
      **people: ids of query and gallery and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
      A `VerificationResult`; distances are float64, memory is bounded. The distance of an impostor pair that is within
      the rounding error of a float64 product, about 1e-7 of the embeddings' distances from their mean, counts as 0.

    Raises:
      ReidError: as `evaluate_retrieval`, or there is no impostor pair.
    """
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    of_query, of_gallery = read_people(len(query), len(gallery), ignore=ignore, **people)
    matches = find_matches(of_query, of_gallery, ignore)
    known = np.flatnonzero(of_query.counted & (of_query.person_ids != JUNK_ID))
    pairs = _Pairs(query, gallery, matches, known, metric)
    genuine, impostor = pairs.count_genuine(), pairs.count_impostor()
    if not impostor.any():
        raise ReidError("every gallery image shows the identity of every query: there is no impostor pair to compare.")
    return VerificationResult(
        int(genuine.sum()),
        int(impostor.sum()),
        metric,
        pairs.thresholds,
        np.cumsum(genuine) / genuine.sum(),
        np.cumsum(impostor) / impostor.sum(),
    )


class _Pairs:
    """Counts pairs along a scale of distances whose steps are even in the logarithm, so that no outlier coarsens it."""

    def __init__(self, query: np.ndarray, gallery: np.ndarray, matches: Matches, counted: np.ndarray, metric: str):
        self._query, self._gallery, self._matches = query, gallery, matches
        self._counted, self._metric, self._offset = counted, metric, center_of(gallery)
        largest = 2.0
        if metric == "euclidean":
            blocks = (rows for side in (query, gallery) for _, rows in self._blocks(side))
            largest = 2 * np.sqrt(max(squared_lengths(rows).max() for rows in blocks))  # |q - g| <= |q| + |g|
        self._largest = max(float(largest), float(np.finfo(np.float32).tiny))  # Python's: no float32 below
        self.thresholds = self._largest * np.exp(np.linspace(-_OCTAVES * np.log(2), 0, _STEPS))

    def count_genuine(self) -> np.ndarray:
        """Returns how many genuine pairs lie in each step, by explicit differences, int64 `[T]`."""
        counts = np.zeros(_STEPS + 1, np.int64)
        for part in slices(len(self._matches.query), _ROWS_AT_ONCE):
            anchors = self._prepare(self._query[self._matches.query[part]])
            images = self._prepare(self._gallery[self._matches.order[self._matches.position[part]]])
            counts += self._count(squared_lengths(anchors - images))
        return counts[:-1]

    def count_impostor(self) -> np.ndarray:
        """Returns how many impostor pairs lie in each step, int64 `[T]`."""
        with threads() as pool:
            return sum(pool.map(self._count_block, slices(len(self._matches.order), _ROWS_AT_ONCE)))[:-1]

    def _count_block(self, part: slice) -> np.ndarray:
        """Counts the impostor pairs with some of the gallery images."""
        counts = np.zeros(_STEPS + 1, np.int64)
        rounding = 2 * (self._gallery.shape[1] + 6) * np.finfo(np.float64).eps
        images = self._prepare(self._gallery[self._matches.order[part]])
        own = np.stack([self._matches.first, self._matches.last], axis=1)[self._counted]
        squares, own = squared_lengths(images), np.clip(own - part.start, 0, len(images))
        for first, anchors in self._blocks(self._query[self._counted]):
            lengths = squares + squared_lengths(anchors)[:, None]
            squared = lengths - 2 * (anchors @ images.T)
            # Rounding would put copies at as many distances as a product has ways to be summed.
            squared[squared <= rounding * lengths] = 0
            for distances, (begin, end) in zip(squared, own[first : first + len(anchors)]):
                distances[begin:end] = np.inf  # beyond the scale
            counts += self._count(squared)
        return counts

    def _count(self, squared: np.ndarray) -> np.ndarray:
        """Returns how many squared distances lie in each step; a last entry holds those beyond the scale."""
        squared = squared if self._metric == "euclidean" else squared / 2  # 1 - cos = |a - b|^2 / 2
        power = 2 if self._metric == "euclidean" else 1
        lowest = (self._largest * 2.0**-_OCTAVES) ** power
        steps = np.log(np.maximum(squared, lowest) / lowest)
        steps *= (_STEPS - 1) / (power * _OCTAVES * np.log(2))
        # An image exactly on a threshold counts as within it, though the logarithm is rounded.
        steps = np.ceil(np.minimum(steps, _STEPS) - 1e-6, out=steps).astype(np.int64)
        return np.bincount(np.maximum(steps, 0).ravel(), minlength=_STEPS + 1)

    def _prepare(self, rows: np.ndarray) -> np.ndarray:
        return unit_rows(rows) if self._metric == "cosine" else rows - self._offset

    def _blocks(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for part in slices(len(rows), _ROWS_AT_ONCE):
            yield part.start, self._prepare(rows[part])
