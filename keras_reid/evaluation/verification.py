"""Verification: genuine and impostor pairs along their distances; ROC, equal error rate, thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_reid.artifacts.metadata import CALIBRATED
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import threads
from keras_reid.evaluation.pairs import Block, find_pairs

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
_STEPS, _OCTAVES = 1 << 20, 60  # of the scale of thresholds: each is 0.004 % above the one before


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

    def at(self, threshold: float) -> OperatingPoint:
        """Returns the rates of any threshold, up to the step of the scale below it."""
        step = int(np.searchsorted(self.thresholds, threshold, side="right")) - 1
        return dataclasses.replace(self._point(max(step, 0)), threshold=float(threshold))

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
    pairs = find_pairs(query_embeddings, gallery_embeddings, metric=metric, ignore=ignore, **people)
    scale = _Scale(pairs.largest_distance(), metric)
    genuine = scale.count_all(pairs.genuine())
    with threads() as pool:
        impostor = sum(pool.map(lambda part: scale.count_all(pairs.impostor(part)), pairs.impostor_parts()))
    if not impostor.any():
        raise ReidError("every gallery image shows the identity of every query: there is no impostor pair to compare.")
    return VerificationResult(
        int(genuine.sum()),
        int(impostor.sum()),
        metric,
        scale.thresholds,
        np.cumsum(genuine) / genuine.sum(),
        np.cumsum(impostor) / impostor.sum(),
    )


class _Scale:
    """Counts pairs along a scale of distances whose steps are even in the logarithm, so that no outlier coarsens it."""

    def __init__(self, largest: float, metric: str):
        self._metric, self._largest = metric, max(largest, float(np.finfo(np.float32).tiny))
        self.thresholds = self._largest * np.exp(np.linspace(-_OCTAVES * np.log(2), 0, _STEPS))

    def count_all(self, blocks: Iterable[Block]) -> np.ndarray:
        """Returns how many pairs lie in each step, int64 `[T]`."""
        return sum(self.count(squared) for *_, squared in blocks)

    def count(self, squared: np.ndarray) -> np.ndarray:
        """Returns how many squared distances of `Pairs` lie in each step, int64 `[T]`; inf is in none."""
        squared = squared if self._metric == "euclidean" else squared / 2  # 1 - cos = |a - b|^2 / 2
        power = 2 if self._metric == "euclidean" else 1
        lowest = (self._largest * 2.0**-_OCTAVES) ** power
        steps = np.log(np.maximum(squared, lowest) / lowest)
        steps *= (_STEPS - 1) / (power * _OCTAVES * np.log(2))
        # An image exactly on a threshold counts as within it, though the logarithm is rounded.
        steps = np.ceil(np.minimum(steps, _STEPS) - 1e-6, out=steps).astype(np.int64)
        return np.bincount(np.maximum(steps, 0).ravel(), minlength=_STEPS + 1)[:-1]
