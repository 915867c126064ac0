"""Open set: who is this, or unknown? Some identities are enrolled in a gallery; queries of all others are strangers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_reid.artifacts.metadata import CALIBRATED
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.counted import People
from keras_reid.errors import ReidError
from keras_reid.evaluation.enrolled import Distances, distances_to_enrolled
from keras_reid.evaluation.identification import FALSE_ALARM_RATES, OpenSetPoint, intervals_of, points_of, share
from keras_reid.evaluation.inputs import check_positive, read_embeddings, read_people
from keras_reid.evaluation.ranking import find_matches
from keras_reid.evaluation.uncertainty import DRAWS


@dataclasses.dataclass(frozen=True, eq=False)
class OpenSetResult:
    """Scores over all drawn galleries together, as fractions.

    Attributes:
      gallery_identities: how many identities are enrolled in each gallery.
      identities: how many they are drawn from: those that queries and gallery both show.
      draws: how many galleries were drawn.
      seed: of the draws.
      metric: how embeddings were compared.
      ignore: which images of a query's identity do not count for it.
      enrolled_queries: queries of enrolled people that count, in the mean over the galleries.
      unknown_queries: queries of strangers, in the mean over the galleries.
      strangers: how many queries are a stranger's in one gallery or more.
      rank1: share of the enrolled people's queries whose nearest image shows their identity, without any threshold.
      points: false alarm rate that is wanted, of `FALSE_ALARM_RATES` -> `OpenSetPoint`, None where no threshold has it.
      intervals: the same rates -> name of a field of `OpenSetPoint` -> its 95 % interval; empty where not asked for.
      enrolled: `[draws, gallery_identities]`, the person ids in each gallery, as they were given.
      distances: what the scores are counted from.
    """

    gallery_identities: int
    identities: int
    draws: int
    seed: int
    metric: str
    ignore: str
    enrolled_queries: float
    unknown_queries: float
    strangers: int
    rank1: float
    points: dict[float, OpenSetPoint | None]
    intervals: dict[float, dict[str, tuple[float, float]]]
    enrolled: np.ndarray = dataclasses.field(repr=False)
    distances: Distances = dataclasses.field(repr=False)

    def operating_point(self, false_alarm_rate: float) -> OpenSetPoint:
        """Returns the largest threshold at which at most this share of the strangers' queries is taken for anyone.

        Raises:
          ReidError: the rate is not between 0 and 1, there are too few strangers to tell, or too many of them lie at
            distance 0 of an enrolled image.
        """
        if not 0 < false_alarm_rate < 1:
            raise ReidError(f"a false alarm rate of {false_alarm_rate} is wanted, expected one between 0 and 1.")
        point = points_of(self.distances, [false_alarm_rate])[0]
        if point:
            return point
        if self.strangers * false_alarm_rate < 1:
            raise ReidError(
                f"a false alarm rate of {false_alarm_rate} is wanted, but {self.strangers} queries of strangers cannot "
                f"show less than {1 / max(1, self.strangers):.1e}: use more people or a larger rate."
            )
        raise ReidError(
            f"more than {false_alarm_rate:.2%} of the strangers' queries have distance 0 to an enrolled image: no "
            "threshold has that false alarm rate. The model has collapsed, or images are listed twice."
        )

    def calibration(
        self, false_alarm_rate: float, *, dataset: str, test_time_augmentation: str = "none"
    ) -> dict[str, Any]:
        """Returns what `reid.json` holds of the operating point: a value for each key of `CALIBRATED`."""
        point = self.operating_point(false_alarm_rate)
        values = (point.threshold, point.false_alarm_rate, dataset, test_time_augmentation, self.gallery_identities)
        return dict(zip(CALIBRATED, values))

    def told(self, false_alarm_rate: float) -> str:
        """Returns a sentence on what the operating point for a rate lets through."""
        point = self.operating_point(false_alarm_rate)
        return (
            f"{point.false_alarm_rate:.3g} of the strangers' queries find one of {self.gallery_identities} enrolled "
            f"people up to it, and {point.detection_and_identification_rate:.2%} of the enrolled people's find them"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores in plain Python types that `json.dump` accepts."""
        plain = ("gallery_identities", "identities", "draws", "seed", "metric", "ignore", "enrolled_queries")
        points = {
            f"{rate:g}": point and {**dataclasses.asdict(point), "intervals": self.intervals.get(rate, {})}
            for rate, point in self.points.items()
        }
        return {
            "protocol": "open_set",
            **{name: getattr(self, name) for name in (*plain, "unknown_queries", "strangers", "rank1")},
            "at_false_alarm_rate": points,
            "enrolled": self.enrolled.tolist(),
        }


def evaluate_open_set(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    gallery_identities: int | None = None,
    draws: int = 100,
    seed: int = 0,
    bootstrap: int = DRAWS,
    metric: str = "euclidean",
    ignore: str = "same_camera",
    **people: Any,
) -> OpenSetResult:
    """Scores galleries in which some people are enrolled and others are not, drawn at random again and again.

    In each gallery all gallery images of the enrolled identities stand, and nothing else. A query of an enrolled
    identity should find it; that of any other person should find nobody. A query is taken for the identity of its
    nearest image where that lies up to a threshold, and for unknown beyond it. The threshold for a false alarm rate is
    the largest at which at most that share of the strangers' queries, over all galleries, is taken for anyone.

    Phillips, Grother, Micheals, "Evaluation Methods in Face Recognition", 2011 (detection and identification rate,
    false alarm rate); NIST's 1:N reports and IJB-C call the latter false positive identification rate.

    Identities are drawn from those that queries and gallery both show: nobody else could be found. So Market-1501's
    distractors, id 0, are not enrolled. A query whose person has no gallery image at all is a stranger's in every
    gallery; one whose own images are all ignored counts only where its person is not enrolled; one with id -1 never.
    An image of another person at the distance of the query's own counts as nearer, as in `evaluate_retrieval`.

    Args:
      query_embeddings: `[Q, D]`, as in `evaluate_retrieval`.
      gallery_embeddings: `[G, D]`.
      gallery_identities: how many are enrolled in each gallery; half of those there are by default, rounded down.
      draws: how many galleries.
      seed: the same seed gives the same galleries and intervals.
      bootstrap: draws behind the 95 % intervals; the people of the queries are drawn again, with all their queries.
        0 leaves the intervals out.
      metric: "euclidean" or "cosine".
      ignore: as in `evaluate_retrieval`.
      **people: ids of query and gallery and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
      An `OpenSetResult`.

    Raises:
      ReidError: as `evaluate_retrieval`; there are fewer identities than should be enrolled; or no stranger is left.
    """
    check_positive("draws", draws)
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    of_query, of_gallery = read_people(len(query), len(gallery), ignore=ignore, **people)
    matches = find_matches(of_query, of_gallery, ignore)
    known = of_query.counted & (of_query.person_ids != JUNK_ID)
    there, gallery_ids = np.unique(of_query.person_ids[known]), of_gallery.person_ids[matches.order]
    there = there[np.isin(there, gallery_ids)]
    is_stranger = known & ~np.isin(of_query.person_ids, there)
    count = _gallery_size(gallery_identities, len(there), is_stranger.any())
    random = np.random.default_rng(seed)
    drawn = np.stack([np.sort(random.choice(len(there), count, replace=False)) for _ in range(draws)])
    of_images = np.full(len(gallery), -1)
    of_images[matches.order] = _numbers(gallery_ids, there)
    numbers = np.where(known, _numbers(of_query.person_ids, there), -2), of_images
    distances = distances_to_enrolled(query, gallery, matches, numbers, drawn, metric)
    return OpenSetResult(
        gallery_identities=count,
        identities=len(there),
        draws=draws,
        seed=seed,
        metric=metric,
        ignore=ignore,
        enrolled_queries=float(distances.enrolled.sum() / draws),
        unknown_queries=float(distances.draws.sum() / draws),
        strangers=len(np.unique(distances.query)),
        rank1=share(distances.first.sum(), distances.enrolled.sum()),
        points=dict(zip(FALSE_ALARM_RATES, points_of(distances, FALSE_ALARM_RATES))),
        intervals=intervals_of(distances, of_query.person_ids, bootstrap, seed) if bootstrap else {},
        enrolled=_as_given(there, of_query)[drawn],
        distances=distances,
    )


def _gallery_size(wanted: int | None, there: int, strangers: bool) -> int:
    """Returns how many identities to enroll; ReidError where the dataset does not have as many, and strangers."""
    if wanted is not None:
        check_positive("gallery_identities", wanted)
    most = there if strangers else there - 1
    count = max(1, there // 2) if wanted is None else wanted
    if count > most:
        wish = "an open set enrolls one" if wanted is None else f"gallery_identities={wanted}"
        raise ReidError(
            f"{wish}, but of {there} identities that queries and gallery both show at most {max(0, most)} can be, with "
            "somebody left who is not enrolled: expected a dataset with more people, or fewer to enroll."
        )
    return int(count)


def _numbers(person_ids: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns the place of each id in the ascending ids `there`, -1 for those that are not."""
    return np.where(np.isin(person_ids, there), np.searchsorted(there, person_ids), -1)


def _as_given(there: np.ndarray, of_query: People) -> np.ndarray:
    """Returns the ids `there` as the caller knows them."""
    if of_query.given_ids is None:
        return there
    _, rows = np.unique(of_query.person_ids, return_index=True)
    return of_query.given_ids[rows][np.searchsorted(np.unique(of_query.person_ids), there)]
