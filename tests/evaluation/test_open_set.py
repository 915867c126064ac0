"""Open set: points placed by hand, slow loops over the drawn galleries, ties, and what is refused."""

import dataclasses

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import evaluate_open_set
from tests.evaluation.oracle import open_set

# People 1 to 4 stand in the gallery at 0, 10, 20 and 11. Ten strangers are at 0.5, 2, 4, ..., 18 from person 3.
GALLERY, GALLERY_IDS = [[0.0], [10.0], [20.0], [11.0]], [1, 2, 3, 4]
QUERY, QUERY_IDS = [[one] for one in (1, 10.9, 23, 20, 20.5, *range(22, 39, 2))], [1, 2, 3, 3, *range(90, 100)]
LINE = {
    "query_person_ids": QUERY_IDS,
    "gallery_person_ids": GALLERY_IDS,
    "query_camera_ids": [1] * len(QUERY),
    "gallery_camera_ids": [2] * 4,
}


def test_by_hand():
    """At a rate of 0.1 one of ten strangers may be taken for somebody, and the second, at 2, must not.

    Up to that lie the queries of person 1 (at 1), 2 (at 0.9, but 4 is at 0.1) and the second of 3 (at 0), not the first
    (at 3). Nobody asks for person 4, who is not enrolled unless a query shows him.
    """
    asked = {**LINE, "query_person_ids": [*QUERY_IDS, 4], "query_camera_ids": [1] * (len(QUERY) + 1)}
    result = evaluate_open_set([*QUERY, [11.0]], GALLERY, gallery_identities=4, draws=3, **asked)
    point = result.points[0.1]
    assert point.threshold == pytest.approx(2) and point.threshold < 2
    assert point.false_alarm_rate == pytest.approx(1 / 10)
    assert point.detection_and_identification_rate == pytest.approx(3 / 5)
    assert point.true_positive_identification_rate == pytest.approx(4 / 5)
    assert result.rank1 == pytest.approx(4 / 5)
    assert result.points[0.01] is result.points[0.001] is None
    assert (result.enrolled_queries, result.unknown_queries, result.strangers) == (5, 10, 10)
    assert result.enrolled.tolist() == [[1, 2, 3, 4]] * 3
    # Without his query person 4 is not in the gallery, and nobody is nearer to person 2's.
    alone = evaluate_open_set(QUERY, GALLERY, gallery_identities=3, draws=1, **LINE)
    assert alone.enrolled.tolist() == [[1, 2, 3]] and alone.rank1 == 1
    assert alone.points[0.1].detection_and_identification_rate == pytest.approx(3 / 4)
    # Person 1's own image is at 0.5 from a query that it is one of two to show: a rate of 0.2 allows two strangers.
    assert alone.operating_point(0.2).threshold == pytest.approx(4)
    with pytest.raises(ReidError, match="10 queries of strangers cannot show less than 1.0e-01"):
        alone.operating_point(0.01)


def test_own_images_that_are_ignored_do_not_help_and_strangers_are_not_ignored():
    """Person 1's only image is of the query's camera: this query counts neither as found nor as a stranger's."""
    people = {**LINE, "gallery_camera_ids": [1, 2, 2, 2]}
    result = evaluate_open_set(QUERY, GALLERY, gallery_identities=3, draws=1, **people)
    assert result.enrolled_queries == 3 and result.unknown_queries == 10
    with pytest.raises(ReidError, match="none of the 14 queries has a true match"):
        evaluate_open_set(QUERY, GALLERY, **{**people, "gallery_camera_ids": [1] * 4})


def crowd(seed: int, people: int = 14, dtype=np.float32):
    """Queries and gallery of some people by three cameras, with junk, distractors and one who is in no gallery."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(people + 2, 6))
    ids = {"query": np.repeat(np.arange(1, people + 1), 3), "gallery": random.integers(-1, people, 6 * people)}
    rows = {
        name: (centers[one] + 0.6 * random.normal(size=(len(one), 6)) + 5).astype(dtype) for name, one in ids.items()
    }
    known = {f"{name}_person_ids": one for name, one in ids.items()}
    known |= {f"{name}_camera_ids": random.integers(3, size=len(one)) for name, one in ids.items()}
    return rows["query"], rows["gallery"], known


@pytest.mark.parametrize(("metric", "wanted"), [("euclidean", None), ("cosine", 9), ("euclidean", 1)])
def test_as_slow_loops_say(metric, wanted):
    query, gallery, people = crowd(3)
    result = evaluate_open_set(query, gallery, gallery_identities=wanted, draws=6, seed=2, metric=metric, **people)
    assert result.enrolled.shape == (6, wanted or result.identities // 2) and not (result.enrolled < 1).any()
    assert len({tuple(row) for row in result.enrolled.tolist()}) > 1
    rates = (0.1, 0.01, 0.4, 1 / 7)
    points, strangers, found = open_set(query, gallery, people, result.enrolled, metric, rates)
    assert result.rank1 == pytest.approx(points["rank1"])
    assert (result.unknown_queries, result.enrolled_queries) == pytest.approx((strangers, found))
    assert points[0.1] and points[0.01] is None and result.points[0.01] is None
    for rate in (0.1, 0.4, 1 / 7):
        assert dataclasses.astuple(result.operating_point(rate)) == pytest.approx(points[rate], rel=1e-6)
        assert result.operating_point(rate).threshold < points[rate][0]


def test_the_seed_gives_the_galleries_and_blocks_change_nothing(monkeypatch):
    from keras_reid.evaluation import enrolled

    query, gallery, people = crowd(4, dtype=np.float64)
    first = evaluate_open_set(query, gallery, draws=5, bootstrap=50, **people)
    monkeypatch.setattr(enrolled, "_BLOCK_BYTES", 8 * 20)
    monkeypatch.setattr(enrolled, "_IMAGES_AT_ONCE", 7)
    monkeypatch.setattr(enrolled, "_ROWS_AT_ONCE", 5)
    again = evaluate_open_set(query, gallery, draws=5, bootstrap=50, **people)
    assert again.enrolled.tolist() == first.enrolled.tolist() and again.rank1 == first.rank1
    for rate in (0.1, 0.3):
        left, right = (dataclasses.astuple(one.operating_point(rate)) for one in (first, again))
        assert left == pytest.approx(right, rel=1e-12)
    other = evaluate_open_set(query, gallery, draws=5, seed=1, **people)
    assert other.enrolled.tolist() != first.enrolled.tolist()


def test_more_people_enrolled_need_a_stricter_threshold():
    query, gallery, people = crowd(5, people=20)
    sizes = (1, 3, 9)
    found = [evaluate_open_set(query, gallery, gallery_identities=size, bootstrap=0, **people) for size in sizes]
    thresholds = [one.calibration(0.1, dataset="crowd")["threshold"] for one in found]
    assert thresholds == sorted(thresholds, reverse=True) and len(set(thresholds)) == 3
    written = found[2].calibration(0.1, dataset="crowd", test_time_augmentation="flip")
    assert written["threshold_identities"] == 9 and written["threshold_views"] == "flip"
    assert written["threshold_dataset"] == "crowd" and 0 < written["false_positive_rate"] <= 0.1


def test_intervals_hold_the_scores_and_narrow_with_more_people():
    widths = []
    for people in (15, 120):
        query, gallery, ids = crowd(6, people=people)
        result = evaluate_open_set(query, gallery, draws=10, bootstrap=300, **ids)
        for name, (low, high) in result.intervals[0.1].items():
            assert low <= getattr(result.points[0.1], name) <= high or name == "false_alarm_rate"
        low, high = result.intervals[0.1]["true_positive_identification_rate"]
        widths.append(high - low)
    assert widths[1] < widths[0]
    assert evaluate_open_set(query, gallery, draws=1, bootstrap=0, **ids).intervals == {}


def test_a_collapsed_network_finds_nobody():
    query, gallery, people = crowd(7)
    for value in (0.0, 0.3):
        result = evaluate_open_set(np.full_like(query, value), np.full_like(gallery, value), **people)
        assert result.rank1 == 0 and set(result.points.values()) == {None}
        with pytest.raises(ReidError, match="more than 10.00% of the strangers' queries have distance 0"):
            result.operating_point(0.1)


def test_text_ids_are_told_as_they_came_and_what_cannot_be_drawn_is_refused():
    names = {"query_person_ids": ["bob", "eve", "-1"], "gallery_person_ids": ["bob", "eve", "bob"]}
    rows, options = np.array([[0.0], [1.0], [2.0]]), {"ignore": "nothing", "draws": 4}
    result = evaluate_open_set(rows, rows, **names, **options)
    assert {one for row in result.enrolled.tolist() for one in row} == {"bob", "eve"}
    assert result.to_dict()["at_false_alarm_rate"] == {"0.1": None, "0.01": None, "0.001": None}
    with pytest.raises(ReidError, match="gallery_identities=2, but of 2 identities .* at most 1 can be"):
        evaluate_open_set(rows, rows, gallery_identities=2, **names, **options)
    with pytest.raises(ReidError, match="an open set enrolls one, but of 1 identities"):
        evaluate_open_set(rows, rows, query_person_ids=[1] * 3, gallery_person_ids=[1] * 3, ignore="nothing")
    with pytest.raises(ReidError, match="gallery_identities=0: expected an integer of at least 1"):
        evaluate_open_set(rows, rows, gallery_identities=0, **names, **options)
    with pytest.raises(ReidError, match="false alarm rate of 1 is wanted, expected one between 0 and 1"):
        result.operating_point(1)
