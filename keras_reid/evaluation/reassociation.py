"""Re-association: is who left a camera's view found again among those whom the same camera sees some time later?"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from keras_reid.data.catalog import JUNK_ID
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices
from keras_reid.evaluation.inputs import read_embeddings, read_people
from keras_reid.evaluation.products import preparation
from keras_reid.evaluation.uncertainty import DRAWS, percentile_intervals, resampled

_BLOCK_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class ReassociationResult:
    """Scores of re-association over a gap, as fractions.

    Attributes:
      gap: seconds that lie between a query and its candidates, at least.
      metric: how embeddings were compared.
      queries: how many queries have a true match among their candidates; no mean contains the others.
      skipped: how many do not.
      candidates: for each query that counts, in the mean.
      rank1: share of the queries whose nearest candidate is their person.
      mean_reciprocal_rank: mean of 1 / rank of the first candidate who is.
      intervals: "rank1" and "mean_reciprocal_rank" -> 95 % interval, by bootstrap over people; empty without it.
      first_match_rank: int64 `[Q]`, 1 is best; 0 if skipped.
    """

    gap: float
    metric: str
    queries: int
    skipped: int
    candidates: float
    rank1: float
    mean_reciprocal_rank: float
    intervals: dict[str, tuple[float, float]]
    first_match_rank: np.ndarray = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores in plain Python types that `json.dump` accepts."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"protocol": "reassociation", **plain, "first_match_rank": self.first_match_rank.tolist()}


def evaluate_reassociation(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    gap: float,
    query_times: Any,
    gallery_times: Any,
    bootstrap: int = DRAWS,
    seed: int = 0,
    metric: str = "euclidean",
    **people: Any,
) -> ReassociationResult:
    """Scores whether people are found again by the camera that saw them, a stated time later.

    The candidates of a query are the gallery images of its camera from `gap` seconds after it on. An image of another
    person at the distance of the query's own counts as nearer. Images without a time or a camera do not count.

    Args:
      query_embeddings: `[Q, D]`, as in `evaluate_retrieval`.
      gallery_embeddings: `[G, D]`.
      gap: seconds, 0 or more.
      query_times: float `[Q]`, seconds of any clock that all images of a camera share; NaN where it is not known.
      gallery_times: `[G]`, the same.
      bootstrap: draws behind the 95 % intervals, over people with all their queries; 0 leaves them out.
      seed: the same seed gives the same intervals.
      metric: "euclidean" or "cosine".
      **people: ids of query and gallery, as in `evaluate_retrieval`.

    Raises:
      ReidError: as `evaluate_retrieval`; the gap is negative; or no query has a true match among its candidates.
    """
    if not 0 <= gap < np.inf:
        raise ReidError(f"gap={gap}: expected seconds, 0 or more.")
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    people.pop("ignore", None)
    rules = {"ignore": "same_camera", **people, "missing_cameras": "leave_out"}
    sides = read_people(len(query), len(gallery), **rules)
    times = [np.asarray(one, float) for one in (query_times, gallery_times)]
    counted = [side.counted & (side.person_ids != JUNK_ID) & np.isfinite(time) for side, time in zip(sides, times)]
    prepare = preparation(query, gallery, metric)
    ranks, candidates = np.zeros(len(query), np.int64), np.zeros(len(query), np.int64)
    for camera in np.unique(sides[0].keys[counted[0]]):
        here, there = (np.flatnonzero(which & (side.keys == camera)) for which, side in zip(counted, sides))
        rows = prepare(gallery[there])
        for part in slices(len(here), _BLOCK_BYTES // (8 * max(1, len(there)))):
            asked = here[part]
            later = times[1][there] >= times[0][asked][:, None] + gap
            distances = np.where(later, cdist(prepare(query[asked]), rows, "sqeuclidean"), np.inf)
            own = sides[1].person_ids[there] == sides[0].person_ids[asked][:, None]
            nearest = np.min(distances, axis=1, where=own, initial=np.inf)
            as_near = np.count_nonzero(~own & (distances <= nearest[:, None]), axis=1)
            ranks[asked] = np.where(np.isfinite(nearest), 1 + as_near, 0)
            candidates[asked] = later.sum(axis=1)
    found = ranks > 0
    if not found.any():
        raise ReidError(
            f"gap={gap:g}: no query is seen again by its own camera so many seconds later: expected a smaller gap, or "
            "queries and gallery images of one camera with times on one clock."
        )
    scores = np.stack([ranks[found] == 1, 1 / ranks[found]], axis=1)
    intervals = _intervals(scores, sides[0].person_ids[found], bootstrap, seed) if bootstrap else {}
    means = (float(mean) for mean in scores.mean(axis=0))
    counts = int(found.sum()), int((~found).sum()), float(candidates[found].mean())
    return ReassociationResult(float(gap), metric, *counts, *means, intervals, ranks)


def check_times(images: pd.DataFrame, name: str) -> None:
    """Raises ReidError where a table of images has no times, or one that is no time."""
    if "time" not in images or images.time.isna().all():
        raise ReidError(
            f"reassociation needs a time for each image, and {name} have none: expected a column time, in seconds or "
            "ISO 8601, in a dataset=csv or in saved embeddings."
        )
    seconds_of(images.time)


def seconds_of(times: pd.Series) -> np.ndarray:
    """Returns times as seconds, float64 `[N]`, NaN for gaps.

    Args:
      times: numbers, which are seconds, or text in ISO 8601, which is UTC where it names no zone.

    Raises:
      ReidError: one is neither.
    """
    if pd.api.types.is_numeric_dtype(times):
        return times.astype("Float64").to_numpy(float, na_value=np.nan)
    try:
        moments = pd.to_datetime(times, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise ReidError(f"time: expected seconds, or times such as 2026-05-01T14:02:10+02:00 ({error}).") from error
    since = (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return since.to_numpy(float, na_value=np.nan)


def _intervals(scores: np.ndarray, person_ids: np.ndarray, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    """Returns the 95 % intervals of means of `scores` `[N, 2]`: people are drawn again, with all their queries."""
    _, person = np.unique(person_ids, return_inverse=True)
    count = person.max() + 1
    sums = np.stack([np.bincount(person, column, count) for column in (*scores.T, np.ones(len(scores)))], axis=1)
    drawn = [weights @ sums for weights in resampled(count, draws, seed)]
    means = [sums_[:, :2] / sums_[:, 2:] for sums_ in drawn]
    return dict(zip(("rank1", "mean_reciprocal_rank"), percentile_intervals(np.concatenate(means))))
