"""Tests of verification: counts of pairs against a slow walk over all of them, and operating points placed by hand."""

import json

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import pairs
from keras_reid.evaluation.verification import FALSE_POSITIVE_RATES, verify
from tests.evaluation import oracle

STEP = 2 ** (60 / (2**20 - 1))  # from one threshold to the next: 2^60 in 2^20 - 1 steps


def drawn_people(random, count, lowest):
    return {
        "person_ids": random.integers(lowest, 7, count),
        "camera_ids": random.integers(1, 4, count),
        "tracklet_ids": random.integers(1, 9, count),
        "files": [f"{number}.jpg" for number in random.integers(0, 60, count)],
    }


def drawn(seed, width=8, queries=14, images=90):
    """Both sides' embeddings in float32, and labels with junk (-1), distractors (0) and three cameras."""
    random = np.random.default_rng(seed)
    query, gallery = (random.normal(size=(count, width)).astype(np.float32) for count in (queries, images))
    labels = {}
    for side, count in (("query", queries), ("gallery", images)):
        labels.update({f"{side}_{name}": values for name, values in drawn_people(random, count, -1).items()})
    return query, gallery, labels


def pairs_by_the_book(query, gallery, labels, *, metric="euclidean", ignore="same_camera", leave_out=()):
    """Returns the sorted distances of genuine and of impostor pairs; `leave_out` are camera ids that are not known."""
    shared = {"same_camera": "camera_ids", "same_tracklet": "tracklet_ids", "same_file": "files"}.get(ignore)
    genuine, impostor = [], []
    for row, anchor in enumerate(query):
        for column, image in enumerate(gallery):
            people = labels["query_person_ids"][row], labels["gallery_person_ids"][column]
            cameras = labels["query_camera_ids"][row], labels["gallery_camera_ids"][column]
            if -1 in people or any(camera in leave_out for camera in cameras):
                continue
            if people[0] != people[1]:
                impostor.append(oracle.float64_distance(anchor, image, metric))
            elif not shared or labels[f"query_{shared}"][row] != labels[f"gallery_{shared}"][column]:
                genuine.append(oracle.float64_distance(anchor, image, metric))
    return np.sort(genuine), np.sort(impostor)


def assert_counts(result, genuine, impostor):
    """All rates at all thresholds; a distance that is a threshold up to rounding may count on either side of it."""
    assert (result.genuine_pairs, result.impostor_pairs) == (len(genuine), len(impostor))
    for rate, distances in ((result.true_positive_rate, genuine), (result.false_positive_rate, impostor)):
        sure, possible = (
            np.searchsorted(distances, result.thresholds * factor, side="right") / len(distances)
            for factor in (1 - 1e-9, 1 + 1e-9)
        )
        assert (rate > sure - 1e-12).all() and (rate < possible + 1e-12).all()


def equal_error_by_the_book(genuine, impostor):
    """Tries the distance of every pair as the threshold."""
    rates = [
        ((impostor <= threshold).mean(), (genuine > threshold).mean())
        for threshold in np.concatenate([genuine, impostor])
    ]
    nearest = min(rates, key=lambda both: abs(both[0] - both[1]))
    return sum(nearest) / 2


# --- Points placed by hand ---

# One query of person 1 by camera 1 at 0; four more images of person 1, at 1, 2, 4 and 8; strangers at 3, 5, 6, 7 and 9.
LINE = {
    "gallery_embeddings": [[1.0], [2.0], [4.0], [8.0], [3.0], [5.0], [6.0], [7.0], [9.0], [0.5], [0.1]],
    "gallery_person_ids": [1, 1, 1, 1, 2, 0, 2, 3, 3, -1, 1],
    "gallery_camera_ids": [2, 2, 2, 3, 1, 1, 2, 3, 1, 2, 1],  # the last: person 1 by camera 1 again, ignored
}


def verify_line(**changes):
    arguments = {"query_person_ids": [1], "query_camera_ids": [1], **LINE, **changes}
    return verify([[0.0]], arguments.pop("gallery_embeddings"), **arguments)


def test_points_on_a_line():
    """Genuine distances 1, 2, 4, 8; impostor 3, 5, 6, 7, 9: junk at 0.5 and the own camera's image at 0.1 in no pair.

    One impostor in five may pass: a threshold up to 5, where 3 of 4 genuine pairs pass. Two in five: up to 6.
    Equal error: at 4 <= t < 5 one impostor of five passes and one genuine pair of four is refused, 0.2 and 0.25;
    nowhere are they closer. Their mean is 0.225.
    """
    result = verify_line()
    assert (result.genuine_pairs, result.impostor_pairs) == (4, 5)
    assert_counts(result, np.array([1.0, 2, 4, 8]), np.array([3.0, 5, 6, 7, 9]))
    for wanted, next_impostor, true_positive_rate in ((0.2, 5, 3 / 4), (0.39, 5, 3 / 4), (0.4, 6, 3 / 4), (0.8, 9, 1)):
        point = result.operating_point(wanted)
        assert next_impostor / STEP**1.01 < point.threshold < next_impostor
        assert point.false_positive_rate == pytest.approx(wanted if wanted != 0.39 else 0.2)
        assert point.true_positive_rate == true_positive_rate
    assert result.equal_error_rate == pytest.approx(0.225)
    assert 4 <= result.equal_error().threshold < 5
    assert result.equal_error().false_positive_rate == pytest.approx(0.2)


def test_ignoring_nothing_adds_the_own_camera():
    """The image of person 1 at 0.1 makes a fifth genuine pair; the junk at 0.5 stays out."""
    result = verify_line(ignore="nothing")
    assert_counts(result, np.array([0.1, 1, 2, 4, 8]), np.array([3.0, 5, 6, 7, 9]))


def test_angles_by_hand():
    """At 60 and 90 degrees from the query, 1 - cos is 1/2 and 1; opposite it is 2. Lengths do not matter."""
    gallery = [[1.0, np.sqrt(3)], [0.0, 7.0], [-5.0, 0.0]]
    result = verify(
        [[3.0, 0.0]], gallery, metric="cosine", ignore="nothing", query_person_ids=[1], gallery_person_ids=[1, 2, 3]
    )
    assert_counts(result, np.array([0.5]), np.array([1.0, 2.0]))
    assert result.metric == "cosine"
    assert result.equal_error_rate == 0
    assert result.equal_error().threshold == pytest.approx(0.5, rel=1e-4)


def test_separated_people_have_no_error():
    """Everybody's images lie within 0.2 and people 10 apart: at any rate all genuine pairs pass."""
    gallery = [[0.0], [0.1], [10.0], [10.1]], [1, 1, 2, 2]
    result = verify(
        [[0.2], [10.2]], gallery[0], ignore="nothing", query_person_ids=[1, 2], gallery_person_ids=gallery[1]
    )
    assert result.equal_error_rate == 0
    assert result.operating_point(0.25).true_positive_rate == 1
    assert result.operating_point(0.25).threshold > 9.7


def test_reversed_distances_are_all_wrong():
    """The stranger is nearer than the own image: both rates cross where all errors are made."""
    result = verify([[0.0]], [[1.0], [2.0]], ignore="nothing", query_person_ids=[1], gallery_person_ids=[2, 1])
    assert result.equal_error_rate == 1


def test_distance_on_a_threshold_is_within_it():
    """Query at 0, images of its person at +-d for thresholds d below 1, strangers at +-1: the scale ends at 2.

    The logarithm of such a distance, in steps, is a whole number up to rounding: rounded up, it would be a step late.
    """

    def verify_pairs(distances):
        gallery = np.outer(distances, [1, -1]).reshape(-1, 1)
        person_ids = np.repeat(np.where(np.array(distances) < 1, 1, 2), 2)
        return verify([[0.0]], gallery, ignore="nothing", query_person_ids=[1], gallery_person_ids=person_ids)

    rows = np.arange(600_000, 1_013_000, 997)
    thresholds = verify_pairs([0.5, 1.0]).thresholds[rows]
    rates = verify_pairs([*thresholds, 1.0]).true_positive_rate
    np.testing.assert_allclose(rates[rows] * len(rows), np.arange(len(rows)) + 1)
    np.testing.assert_allclose(rates[rows - 1] * len(rows), np.arange(len(rows)))


# --- All pairs, one by one ---


@pytest.mark.parametrize("ignore", ["same_camera", "same_tracklet", "same_file", "nothing"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(2))
def test_rates_equal_those_of_all_pairs(seed, metric, ignore):
    query, gallery, labels = drawn(seed)
    result = verify(query, gallery, metric=metric, ignore=ignore, **labels)
    genuine, impostor = pairs_by_the_book(query, gallery, labels, metric=metric, ignore=ignore)
    assert_counts(result, genuine, impostor)
    assert result.equal_error_rate == pytest.approx(equal_error_by_the_book(genuine, impostor), abs=1e-12)


@pytest.mark.parametrize("false_positive_rate", [0.005, 0.01, 0.1, 0.5, 0.99])
def test_operating_point_is_the_largest_threshold_allowed(false_positive_rate):
    query, gallery, labels = drawn(seed=3)
    genuine, impostor = pairs_by_the_book(query, gallery, labels)
    point = verify(query, gallery, **labels).operating_point(false_positive_rate)
    allowed = int(false_positive_rate * len(impostor) + 1e-9)
    assert point.false_positive_rate == pytest.approx(allowed / len(impostor))
    assert impostor[allowed] / STEP**2 < point.threshold < impostor[allowed]
    assert point.true_positive_rate == pytest.approx((genuine <= point.threshold).mean())


def test_integers_with_many_equal_distances():
    random = np.random.default_rng(4)
    _, _, labels = drawn(seed=4)
    query, gallery = random.integers(-2, 3, (14, 3)), random.integers(-2, 3, (90, 3))
    genuine, impostor = pairs_by_the_book(query, gallery, labels)
    assert_counts(verify(query, gallery, **labels), genuine, impostor)
    assert len(np.unique(impostor)) < 40 < len(impostor)


def test_junk_is_in_no_pair_and_a_distractor_is():
    """Without the images of id -1, on either side, nothing changes; without those of id 0 there are fewer pairs."""
    query, gallery, labels = drawn(seed=5)
    assert (labels["query_person_ids"] == -1).any() and (labels["gallery_person_ids"] == -1).any()
    rows, columns = (labels[f"{side}_person_ids"] != -1 for side in ("query", "gallery"))
    kept = {name: np.asarray(values)[rows if "query" in name else columns] for name, values in labels.items()}
    whole, clean = verify(query, gallery, **labels), verify(query[rows], gallery[columns], **kept)
    assert (whole.genuine_pairs, whole.impostor_pairs) == (clean.genuine_pairs, clean.impostor_pairs)
    for rate in (0.01, 0.1):
        assert whole.operating_point(rate).threshold == pytest.approx(clean.operating_point(rate).threshold, rel=1e-4)
    labels["gallery_person_ids"] = np.where(labels["gallery_person_ids"] == 0, -1, labels["gallery_person_ids"])
    assert verify(query, gallery, **labels).impostor_pairs < whole.impostor_pairs


def test_missing_cameras_are_left_out_of_every_pair():
    query, gallery, labels = drawn(seed=6)
    genuine, impostor = pairs_by_the_book(query, gallery, labels, leave_out=(2,))
    for side in ("query", "gallery"):
        cameras = labels[f"{side}_camera_ids"]
        labels[f"{side}_camera_ids"] = np.where(cameras == 2, None, cameras)
    with pytest.raises(ReidError, match="query_camera_ids: row . is missing"):
        verify(query, gallery, **labels)
    assert_counts(verify(query, gallery, missing_cameras="leave_out", **labels), genuine, impostor)
    assert verify(query, gallery, missing_cameras="distinct", **labels).impostor_pairs > len(impostor)


# --- The arithmetic ---


@pytest.mark.parametrize("factor", [1e-20, 1e-5, 1e7, 1e20])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_scale_changes_no_rate(metric, factor):
    query, gallery, labels = drawn(seed=7)
    plain = verify(query, gallery, metric=metric, **labels)
    scaled = verify(query * np.float32(factor), gallery * np.float32(factor), metric=metric, **labels)
    assert scaled.equal_error_rate == pytest.approx(plain.equal_error_rate, abs=1e-12)
    unit = factor if metric == "euclidean" else 1
    for rate in (0.01, 0.1, 0.5):
        point, expected = scaled.operating_point(rate), plain.operating_point(rate)
        assert point.threshold == pytest.approx(expected.threshold * unit, rel=1e-4)
        assert point.true_positive_rate == pytest.approx(expected.true_positive_rate)


def test_an_offset_that_all_share_changes_no_rate():
    """Points 1e-3 apart around 1000: squares of 1e6 would eat ten of the sixteen digits."""
    query, gallery, labels = drawn(seed=8, width=4)
    query, gallery = (rows.astype(np.float64) * 1e-3 + 1000 for rows in (query, gallery))
    assert_counts(verify(query, gallery, **labels), *pairs_by_the_book(query, gallery, labels))


@pytest.mark.parametrize("person", [-1, 0, 3])
def test_one_outlier_leaves_the_thresholds_as_they_are(person):
    """An even scale from 0 to the outlier's distance, 4e6, in a million steps would have all others in its first."""
    query, gallery, labels = drawn(seed=9, width=16)
    labels["gallery_person_ids"][17], labels["gallery_camera_ids"][17] = person, 9
    gallery[17] = 1e6
    result = verify(query, gallery, **labels)
    genuine, impostor = pairs_by_the_book(query, gallery, labels)
    for rate in (0.01, 0.1, 0.5):
        allowed = int(rate * len(impostor))
        point = result.operating_point(rate)
        assert point.false_positive_rate == pytest.approx(allowed / len(impostor))
        assert point.threshold == pytest.approx(impostor[allowed], rel=1e-4)
    assert result.equal_error_rate == pytest.approx(equal_error_by_the_book(genuine, impostor), abs=1e-12)


def with_copies(seed):
    """Drawn embeddings where 24 gallery images are copies of queries, 7 of them of the query's person by camera 9."""
    query, gallery, labels = drawn(seed, width=37)
    gallery[:24] = query[np.arange(24) % len(query)]
    labels["gallery_person_ids"][:7], labels["gallery_camera_ids"][:7] = labels["query_person_ids"][:7], 9
    return query, gallery, labels


@pytest.mark.parametrize("rows_at_once", [1, 2, 7, 33])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_block_size_changes_nothing(metric, rows_at_once, monkeypatch):
    query, gallery, labels = with_copies(seed=10)
    whole = verify(query, gallery, metric=metric, **labels)
    monkeypatch.setattr(pairs, "ROWS_AT_ONCE", rows_at_once)
    in_blocks = verify(query, gallery, metric=metric, **labels)
    for name in ("thresholds", "true_positive_rate", "false_positive_rate"):
        np.testing.assert_array_equal(getattr(in_blocks, name), getattr(whole, name))
    assert in_blocks.to_dict() == whole.to_dict()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_copies_are_at_distance_zero(metric):
    """So that they are all on the first step, and none a rounding error above the threshold that should hold them."""
    query, gallery, labels = with_copies(seed=11)
    result = verify(query, gallery, metric=metric, **labels)
    genuine, impostor = pairs_by_the_book(query, gallery, labels, metric=metric)
    for rates, distances in ((result.true_positive_rate, genuine), (result.false_positive_rate, impostor)):
        assert rates[0] > 0
        assert rates[0] == pytest.approx((distances < 1e-9).mean())


@pytest.mark.parametrize("convert", [lambda rows: rows.astype(np.float16), lambda rows: rows.tolist()])
def test_float16_and_lists_are_read_as_they_are(convert):
    """The numbers are float16's own, so that nothing is lost on the way and all rates are the same."""
    query, gallery, labels = drawn(seed=12)
    query, gallery = (rows.astype(np.float16).astype(np.float32) for rows in (query, gallery))
    labels = {name: list(values) for name, values in labels.items()}
    result = verify(convert(query), convert(gallery), **labels)
    assert_counts(result, *pairs_by_the_book(query, gallery, labels))


def test_inputs_are_left_alone():
    query, gallery, labels = with_copies(seed=13)
    before = query.copy(), gallery.copy()
    verify(query, gallery, metric="cosine", **labels)
    verify(query, gallery, **labels)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


# --- What goes out, and what is refused ---


def test_summary_survives_json():
    query, gallery, labels = drawn(seed=14)
    result = verify(query, gallery, **labels)
    summary = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert summary == result.to_dict()
    assert (summary["genuine_pairs"], summary["impostor_pairs"]) == (result.genuine_pairs, result.impostor_pairs)
    assert summary["equal_error_rate"] == result.equal_error_rate
    assert summary["equal_error_threshold"] == result.equal_error().threshold
    assert 100 <= result.impostor_pairs < 10_000
    expected = result.operating_point(0.01)
    assert summary["at_false_positive_rate"]["0.01"] == vars(expected)
    known = [summary["at_false_positive_rate"][f"{rate:g}"] is not None for rate in FALSE_POSITIVE_RATES]
    assert known == [result.impostor_pairs * rate >= 1 for rate in FALSE_POSITIVE_RATES]


def test_curve_of_the_summary_lies_on_the_rates():
    """It starts at one impostor pair at most, ends where all pairs pass, and never falls."""
    query, gallery, labels = drawn(seed=15)
    genuine, impostor = pairs_by_the_book(query, gallery, labels)
    curve = {name: np.array(values) for name, values in verify(query, gallery, **labels).to_dict()["roc"].items()}
    assert len(curve["threshold"]) <= 200
    assert curve["false_positive_rate"][0] == pytest.approx(1 / len(impostor))
    assert curve["false_positive_rate"][-1] == curve["true_positive_rate"][-1] == 1
    assert all((np.diff(values) >= 0).all() for values in curve.values())
    for name, distances in (("false_positive_rate", impostor), ("true_positive_rate", genuine)):
        shares = [(distances <= threshold * (1 + 1e-9)).mean() for threshold in curve["threshold"]]
        np.testing.assert_allclose(curve[name], shares, atol=1e-12)


def test_summary_of_a_single_impostor_pair():
    result = verify([[0.0]], [[1.0], [2.0]], ignore="nothing", query_person_ids=[1], gallery_person_ids=[1, 2])
    summary = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(summary["at_false_positive_rate"].values()) == {None}
    assert summary["roc"]["false_positive_rate"] == [1.0]


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_rate_beyond_a_share_is_refused(rate):
    with pytest.raises(ReidError, match=f"a false positive rate of {rate} is wanted, expected one between 0 and 1"):
        verify_line().operating_point(rate)


def test_too_few_impostor_pairs_to_tell():
    """Five pairs show shares of a fifth: 0.2 can be had, less cannot."""
    result = verify_line()
    assert result.operating_point(0.2).false_positive_rate == pytest.approx(0.2)
    with pytest.raises(ReidError, match=r"0\.19 is wanted, but 5 impostor pairs cannot show less than 2\.0e-01"):
        result.operating_point(0.19)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("images", [90, 3000])
@pytest.mark.parametrize("width", [1, 37, 128])
def test_collapsed_embeddings_have_no_operating_point(width, images, metric):
    """Everything at one point, of values whose sums are rounded: every pair passes every threshold."""
    random = np.random.default_rng(16)
    row = random.uniform(0.1, 10, width)
    people = {"query_person_ids": random.integers(1, 4, 14), "gallery_person_ids": random.integers(1, 4, images)}
    result = verify(np.tile(row, (14, 1)), np.tile(row, (images, 1)), metric=metric, ignore="nothing", **people)
    assert result.false_positive_rate[0] == result.true_positive_rate[0] == 1
    assert result.equal_error_rate == 0.5
    with pytest.raises(ReidError, match=r"100\.00% of the impostor pairs have distance 0.*collapsed"):
        result.operating_point(0.01)
    summary = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(summary["at_false_positive_rate"].values()) == {None}


@pytest.mark.filterwarnings("error")
def test_zeros_have_no_operating_point():
    result = verify(
        np.zeros((2, 3)), np.zeros((4, 3)), ignore="nothing", query_person_ids=[1, 2], gallery_person_ids=[1, 2] * 2
    )
    with pytest.raises(ReidError, match="collapsed"):
        result.operating_point(0.5)


def test_some_copies_leave_larger_rates():
    """One of the four strangers is a copy of the query: a quarter of the pairs passes every threshold."""
    people = {"query_person_ids": [1] * 10, "gallery_person_ids": [1, 2, 3, 4, 5], "ignore": "nothing"}
    result = verify([[0.0]] * 10, [[1.0], [0.0], [2.0], [3.0], [4.0]], **people)
    assert result.operating_point(0.25).true_positive_rate == 1
    with pytest.raises(ReidError, match=r"25\.00% of the impostor pairs have distance 0.*images are listed twice"):
        result.operating_point(0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery_person_ids": [1] * 11}, "every gallery image shows the identity of every query"),
        ({"query_person_ids": [-1]}, "query ids -1 and gallery ids"),
        ({"query_person_ids": [9]}, "none of the 1 queries has a true match"),
        ({"gallery_camera_ids": [1] * 11}, "none of the 1 queries has a true match.*camera"),
        ({"query_camera_ids": None}, "query_camera_ids is None"),
        ({"metric": "manhattan"}, "metric='manhattan' is unknown"),
        ({"ignore": "same_person"}, "ignore='same_person' is unknown"),
        ({"gallery_embeddings": [[np.nan]] * 11}, "gallery_embeddings: row 0 is the first with NaN"),
        ({"metric": "cosine"}, "query_embeddings: row 0 is the first of length zero"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ReidError, match=message):
        verify_line(**change)
