"""Identification rates: thresholds by the strangers' queries, and what they let through; their 95 % intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_reid.evaluation.enrolled import Distances
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.uncertainty import percentile_intervals

FALSE_ALARM_RATES = (1e-1, 1e-2, 1e-3)


@dataclasses.dataclass(frozen=True)
class OpenSetPoint:
    """A threshold for the nearest enrolled image, and what it lets through, over all drawn galleries together.

    Attributes:
      threshold: a query is taken for the identity of its nearest enrolled image when that lies up to it.
      false_alarm_rate: share of the strangers' queries with an enrolled image up to the threshold.
      detection_and_identification_rate: share of the enrolled people's queries whose nearest image shows their
        identity and lies up to the threshold.
      true_positive_identification_rate: share of the enrolled people's queries that have an image of their identity up
        to the threshold, whoever is nearer.
    """

    threshold: float
    false_alarm_rate: float
    detection_and_identification_rate: float
    true_positive_identification_rate: float


def points_of(
    distances: Distances, rates: Sequence[float], weights: np.ndarray | None = None
) -> list[OpenSetPoint | None]:
    """Returns the operating point of each rate, None where no threshold has it; queries count by `weights` `[Q]`."""
    weights = np.ones(len(distances.own)) if weights is None else weights
    alarms = np.cumsum(weights[distances.query] * distances.draws)  # up to and with each find
    strangers = weights[np.bincount(distances.query, minlength=len(weights)) > 0].sum()
    of_enrolled, found = (weights * count for count in (distances.enrolled, distances.first))
    points: list[OpenSetPoint | None] = []
    for rate in rates:
        # The first find that is one false alarm too many; rounding of rate * alarms must not make it one earlier.
        beyond = np.searchsorted(alarms, rate * alarms[-1] * (1 + 1e-12), side="right") if len(alarms) else 0
        limit = distances.at[beyond] if strangers * rate >= 1 - 1e-12 else 0.0
        if limit <= 0:
            points.append(None)
            continue
        below, within = np.searchsorted(distances.at, limit, side="left"), distances.own < limit
        points.append(
            OpenSetPoint(
                float(np.nextafter(limit, 0)),
                share(alarms[below - 1] if below else 0, alarms[-1]),
                share(found[within].sum(), of_enrolled.sum()),
                share(of_enrolled[within].sum(), of_enrolled.sum()),
            )
        )
    return points


def intervals_of(distances: Distances, person_ids: np.ndarray, bootstrap: int, seed: int) -> dict:
    """Returns the 95 % intervals of each rate's point: people are drawn again, each with all queries."""
    check_positive("bootstrap", bootstrap)
    random = np.random.default_rng(seed)
    _, people = np.unique(person_ids, return_inverse=True)
    count, values = people.max() + 1, {rate: [] for rate in FALSE_ALARM_RATES}
    for _ in range(bootstrap):
        weights = np.bincount(random.integers(count, size=count), minlength=count)[people].astype(np.float64)
        for rate, point in zip(FALSE_ALARM_RATES, points_of(distances, FALSE_ALARM_RATES, weights)):
            if point:
                values[rate].append(dataclasses.astuple(point))
    names = [field.name for field in dataclasses.fields(OpenSetPoint)]
    return {
        rate: dict(zip(names, percentile_intervals(np.array(rows)))) if rows else {} for rate, rows in values.items()
    }


def share(part: float, whole: float) -> float:
    """Returns part / whole, 0 where there is nothing."""
    return float(part / whole) if whole else 0.0
