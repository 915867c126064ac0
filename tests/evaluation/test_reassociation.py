"""Re-association over a gap: against a naive loop, by hand, and what a time may look like."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import Embedded
from keras_reid.evaluation.reassociation import evaluate_reassociation, seconds_of
from keras_reid.evaluation.tables import reassociation_table


def images(count, seed, people=6):
    random = np.random.default_rng(seed)
    persons = random.integers(1, people + 1, count)
    frame = pd.DataFrame({"person_id": persons, "camera_id": random.integers(1, 4, count)})
    frame["time"] = random.uniform(0, 100, count).round(1)
    looks = np.random.default_rng(9).normal(size=(people + 1, 4))
    return frame, looks[persons] + random.normal(size=(count, 4))


def naive_ranks(query, q, gallery, g, gap, metric):
    ranks = []
    for one, a in zip(query.itertuples(), q):
        candidates = []
        for other, b in zip(gallery.itertuples(), g):
            if other.camera_id == one.camera_id and other.time >= one.time + gap and other.person_id != -1:
                cosine = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
                distance = cosine if metric == "cosine" else np.sqrt(((a - b) ** 2).sum())
                candidates.append((distance, other.person_id == one.person_id))
        hits = [place for place, (_, same) in enumerate(sorted(candidates), 1) if same]
        ranks.append(hits[0] if hits else 0)
    return ranks


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_ranks_are_those_of_a_naive_loop(metric):
    (query, q), (gallery, g) = images(60, 0), images(90, 1)
    gallery.loc[:9, "person_id"] = -1
    found = Embedded(query, q, gallery, g, metric).evaluate_reassociation(gap=25.0)
    expected = np.array(naive_ranks(query, q, gallery, g, 25.0, metric))
    assert found.first_match_rank.tolist() == expected.tolist()
    scored = expected[expected > 0]
    assert (found.queries, found.skipped) == (len(scored), 60 - len(scored)) and found.skipped > 5
    assert found.rank1 == pytest.approx((scored == 1).mean())
    assert found.mean_reciprocal_rank == pytest.approx((1 / scored).mean())
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high
    table = reassociation_table({"people": found.to_dict()}, "reference")
    assert f"{100 * found.rank1:.2f}" in table and "95 % interval" in table


def test_only_the_same_camera_a_stated_time_later_counts():
    """Of four images of the query's person one is too early, one of another camera and one has no time."""
    query = pd.DataFrame({"person_id": [1], "camera_id": [1], "time": [100.0]})
    rows = [(1, 1, 129.9), (1, 2, 140), (1, 1, np.nan), (2, 1, 150), (1, 1, 130)]
    gallery = pd.DataFrame(rows, columns=["person_id", "camera_id", "time"])
    place = np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])
    found = Embedded(query, np.zeros((1, 1)), gallery, place).evaluate_reassociation(gap=30, bootstrap=0)
    assert (found.rank1, found.mean_reciprocal_rank, found.candidates, found.intervals) == (0, 0.5, 2, {})
    place[3] = 2.0  # as near as the right one: counts as nearer
    assert Embedded(query, np.zeros((1, 1)), gallery, place).evaluate_reassociation(gap=30).rank1 == 0
    with pytest.raises(ReidError, match="gap=31: no query is seen again"):
        Embedded(query, np.zeros((1, 1)), gallery, place).evaluate_reassociation(gap=31)
    with pytest.raises(ReidError, match="gap=-1"):
        Embedded(query, np.zeros((1, 1)), gallery, place).evaluate_reassociation(gap=-1)
    with pytest.raises(ReidError, match="the gallery images have none: expected a column time"):
        Embedded(query, np.zeros((1, 1)), gallery.drop(columns="time"), place).evaluate_reassociation(gap=30)


def test_times_are_seconds_or_moments():
    assert seconds_of(pd.Series([1, 2.5, None])).tolist()[:2] == [1, 2.5]
    text = pd.Series(
        ["1970-01-01T00:01:00Z", "1970-01-01 01:00:30+01:00", "1970-01-01T00:00:01", pd.NA], dtype="string"
    )
    found = seconds_of(text)
    assert found[:3].tolist() == [60, 30, 1] and np.isnan(found[3])
    with pytest.raises(ReidError, match="expected seconds, or times such as"):
        seconds_of(pd.Series(["at noon"], dtype="string"))


def test_many_queries_in_blocks(monkeypatch):
    (query, q), (gallery, g) = images(60, 2), images(90, 3)
    whole = Embedded(query, q, gallery, g).evaluate_reassociation(gap=5, bootstrap=0)
    monkeypatch.setattr("keras_reid.evaluation.reassociation._BLOCK_BYTES", 2000)
    parts = Embedded(query, q, gallery, g).evaluate_reassociation(gap=5, bootstrap=0)
    assert whole.to_dict() == parts.to_dict()
    names = {"query_person_ids": query.person_id, "gallery_person_ids": gallery.person_id}
    names |= {"query_camera_ids": query.camera_id, "gallery_camera_ids": gallery.camera_id}
    times = {"query_times": query.time, "gallery_times": gallery.time}
    assert evaluate_reassociation(q, g, gap=5, bootstrap=0, **names, **times).to_dict() == whole.to_dict()
