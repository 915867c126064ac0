"""Tests of intervals and comparisons of runs: closed forms, permutations counted one by one, queries in any order."""

import dataclasses
import itertools

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import uncertainty
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.uncertainty import Difference, confidence_intervals, paired_differences

NORMAL_QUANTILE = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
SCORES = ("mean_average_precision", "top1", "top5", "top10")


def result_of(average_precision, first_match_rank, trapezoid=None, penalty=None):
    """A result whose means follow from its arrays, NaN and rank 0 for a skipped query."""
    precision, ranks = np.array(average_precision, float), np.array(first_match_rank)
    trapezoid = precision if trapezoid is None else np.array(trapezoid, float)
    penalty = precision if penalty is None else np.array(penalty, float)
    return RetrievalResult(
        mean_average_precision=float(np.nanmean(precision)),
        mean_average_precision_trapezoid=float(np.nanmean(trapezoid)),
        mean_inverse_negative_penalty=float(np.nanmean(penalty)),
        queries=len(ranks),
        gallery=100,
        metric="euclidean",
        ignore="same_camera",
        cmc=np.array([(ranks[ranks > 0] <= rank).mean() for rank in range(1, 11)]),
        average_precision=precision,
        average_precision_trapezoid=trapezoid,
        first_match_rank=ranks,
        inverse_negative_penalty=penalty,
        skipped_queries=np.flatnonzero(ranks == 0),
    )


def drawn(seed, queries):
    random = np.random.default_rng(seed)
    ranks = random.geometric(0.3, queries)
    return result_of(random.uniform(0, 1, queries), ranks, random.uniform(0, 1, queries), random.beta(2, 5, queries))


def per_query(names, average_precision, first_match_rank):
    columns = {"average_precision": list(average_precision), "first_match_rank": list(first_match_rank)}
    return {"query": list(names), **columns}


def drawn_runs(seed, queries):
    """Two runs of the same queries whose scores differ by chance."""
    random = np.random.default_rng(seed)
    names = [f"{number:04}.jpg" for number in range(queries)]
    scores = [(random.uniform(0, 1, queries), random.integers(1, 13, queries).tolist()) for _ in range(2)]
    return tuple(per_query(names, *of_run) for of_run in scores)


# --- Intervals ---


def test_interval_holds_the_score_and_every_score_has_one():
    result = drawn(seed=0, queries=200)
    intervals, summary = confidence_intervals(result), result.to_dict()
    assert set(intervals) == {name for name in summary if name.startswith(("mean", "top"))}
    for name, (low, high) in intervals.items():
        assert type(low) is type(high) is float
        assert 0 <= low < summary[name] < high <= 1


def test_many_queries_give_the_normal_interval_of_a_mean():
    """mean +- 1.96 * standard deviation / sqrt(N); 20,000 draws leave about 1 % of its width to chance."""
    result = drawn(seed=1, queries=1500)
    columns = {
        "mean_average_precision": result.average_precision,
        "mean_average_precision_trapezoid": result.average_precision_trapezoid,
        "mean_inverse_negative_penalty": result.inverse_negative_penalty,
        "top1": result.first_match_rank <= 1,
        "top5": result.first_match_rank <= 5,
        "top10": result.first_match_rank <= 10,
    }
    for name, interval in confidence_intervals(result, draws=20_000).items():
        half = NORMAL_QUANTILE * columns[name].std() / np.sqrt(len(columns[name]))
        expected = columns[name].mean() - half, columns[name].mean() + half
        np.testing.assert_allclose(interval, expected, atol=0.07 * half, err_msg=name)


def test_two_queries_by_hand():
    """Drawn twice from 0 and 1: the mean is 0 or 1 in a quarter of the draws each, so 95 % reach from 0 to 1."""
    assert confidence_intervals(result_of([0.0, 1.0], [11, 1]))["mean_average_precision"] == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("queries", [1, 7, 300])
def test_equal_scores_leave_nothing_open(queries, value):
    intervals = confidence_intervals(result_of([value] * queries, [1] * queries))
    assert intervals["mean_average_precision"] == pytest.approx((value, value), abs=1e-12)
    assert intervals["top1"] == (1.0, 1.0)


def test_seed_decides_the_numbers():
    result = drawn(seed=2, queries=50)
    assert confidence_intervals(result, seed=3) == confidence_intervals(result, seed=3)
    assert confidence_intervals(result, seed=3) != confidence_intervals(result, seed=4)
    assert confidence_intervals(result) == confidence_intervals(result, draws=2000, seed=0)


def test_nothing_else_is_random():
    """NumPy's global state is neither read nor moved on."""
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    confidence_intervals(drawn(seed=2, queries=50))
    assert np.random.random() == expected


def test_skipped_queries_do_not_count():
    result = drawn(seed=6, queries=40)
    fields = {"average_precision": np.nan, "average_precision_trapezoid": np.nan, "inverse_negative_penalty": np.nan}
    places = [0, 11, 11, 40]
    changes = {name: np.insert(getattr(result, name), places, value) for name, value in fields.items()}
    changes["first_match_rank"] = np.insert(result.first_match_rank, places, 0)
    with_skipped = dataclasses.replace(result, queries=44, **changes)
    assert confidence_intervals(with_skipped) == confidence_intervals(result)


@pytest.mark.parametrize("weights_at_once", [1, 45, 999])
def test_draws_in_parts_are_as_many(weights_at_once, monkeypatch):
    """Draws that do not fit at once, parts of several, and a last part that is shorter."""
    result = drawn(seed=7, queries=40)
    whole = confidence_intervals(result, draws=4000)
    monkeypatch.setattr(uncertainty, "_WEIGHTS_AT_ONCE", weights_at_once)
    in_parts = confidence_intervals(result, draws=4000)
    for name, interval in whole.items():
        np.testing.assert_allclose(in_parts[name], interval, atol=0.1 * max(interval[1] - interval[0], 1e-9))


# --- Two runs ---


def test_two_runs_by_hand():
    """Precision 0.5 and 0.7 here, 0.4 and 0.4 there; ranks 1 and 6 here, 2 and 11 there."""
    here, there = per_query("ab", [0.5, 0.7], [1, 6]), per_query("ab", [0.4, 0.4], [2, 11])
    differences = paired_differences(here, there)
    assert tuple(differences) == SCORES
    assert all(isinstance(difference, Difference) for difference in differences.values())
    found = {name: (one.here, one.there, one.difference) for name, one in differences.items()}
    assert found["mean_average_precision"] == pytest.approx((0.6, 0.4, 0.2))
    assert (found["top1"], found["top5"], found["top10"]) == ((0.5, 0, 0.5), (0.5, 0.5, 0), (1, 0.5, 0.5))


def test_order_of_the_queries_does_not_matter():
    here, there = drawn_runs(seed=8, queries=60)
    order = np.random.default_rng(9).permutation(60)
    shuffled = {name: [values[row] for row in order] for name, values in there.items()}
    assert shuffled["query"] != there["query"]
    assert paired_differences(here, shuffled) == paired_differences(here, there)


def test_runs_change_sides():
    """The difference changes its sign, the p-value stays."""
    here, there = drawn_runs(seed=10, queries=60)
    forward, backward = paired_differences(here, there), paired_differences(there, here)
    for name in SCORES:
        assert backward[name].difference == -forward[name].difference
        assert backward[name].p_value == forward[name].p_value
        low, high = forward[name].interval
        assert backward[name].interval == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("draws", [99, 2000])
def test_constant_shift_is_beyond_chance(draws):
    """Only all signs alike, 2 in 2^200, make a difference as large: none but the observed one, 1 / (1 + draws)."""
    there, _ = drawn_runs(seed=11, queries=200)
    here = {**there, "average_precision": [value + 0.05 for value in there["average_precision"]]}
    shifted = paired_differences(here, there, draws=draws)["mean_average_precision"]
    assert shifted.difference == pytest.approx(0.05)
    assert shifted.interval == pytest.approx((0.05, 0.05))
    assert shifted.p_value == 1 / (1 + draws)


def test_identical_runs_do_not_differ():
    here, _ = drawn_runs(seed=12, queries=30)
    for difference in paired_differences(here, here).values():
        assert (difference.difference, difference.interval, difference.p_value) == (0, (0, 0), 1)


@pytest.mark.parametrize("seed", range(3))
def test_p_value_is_that_of_all_permutations(seed):
    """Eight queries have 2^8 permutations; (1 + count) / (1 + draws) is within 4 standard errors of their share.

    Precisions are quarters, so that many permutations reach the observed difference exactly: ties count.
    """
    random = np.random.default_rng(20 + seed)
    runs = [per_query(range(8), random.integers(0, 5, 8) / 4, random.integers(1, 3, 8).tolist()) for _ in range(2)]
    results = paired_differences(*runs, draws=20_000)
    for name, column in (
        ("mean_average_precision", [np.array(run["average_precision"]) for run in runs]),
        ("top1", [np.array(run["first_match_rank"]) <= 1 for run in runs]),
    ):
        differences = column[0] - column[1].astype(float)
        sums = [abs(np.dot(signs, differences)) for signs in itertools.product([-1, 1], repeat=8)]
        share = np.mean(np.array(sums) >= abs(differences.sum()))
        assert results[name].p_value == pytest.approx(share, abs=4 * np.sqrt(0.25 / 20_000) + 1e-4)


def test_interval_of_the_difference_is_that_of_a_mean():
    """Pairs stay together: runs that both swing between 0 and 1 differ by 0.1 +- 0.02, and the interval tells so."""
    random = np.random.default_rng(13)
    shared, noise = random.uniform(0, 1, 1500), random.normal(0.1, 0.02, 1500)
    names, ranks = range(1500), [1] * 1500
    result = paired_differences(per_query(names, shared + noise, ranks), per_query(names, shared, ranks), draws=20_000)[
        "mean_average_precision"
    ]
    half = NORMAL_QUANTILE * noise.std() / np.sqrt(1500)
    np.testing.assert_allclose(result.interval, (noise.mean() - half, noise.mean() + half), atol=0.07 * half)


def test_chance_alone_is_rarely_called_a_difference():
    """Of 200 pairs of runs that differ by chance, about 5 % have p <= 0.05: 4 standard errors are 6 %."""
    p_values = [
        paired_differences(*drawn_runs(seed=100 + seed, queries=40), draws=200)["mean_average_precision"].p_value
        for seed in range(200)
    ]
    assert np.mean(np.array(p_values) <= 0.05) < 0.11
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 200))


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_only_queries_that_both_have_scored_are_compared(nothing):
    """b is skipped here and d there; a and c remain: 0.5 and 0.9 here, 0.1 and 0.3 there."""
    here = per_query("abcd", [0.5, nothing, 0.9, 1.0], [1, 0, 2, 1])
    there = per_query("dcba", [nothing, 0.3, 1.0, 0.1], [0, 2, 1, 6])
    differences = paired_differences(here, there)
    found = differences["mean_average_precision"]
    assert (found.here, found.there, found.difference) == pytest.approx((0.7, 0.2, 0.5))
    assert (differences["top1"].here, differences["top1"].there) == (0.5, 0)
    assert (differences["top5"].here, differences["top5"].there) == (1, 0.5)


def test_seed_decides_the_numbers_of_a_comparison():
    runs = drawn_runs(seed=14, queries=40)
    assert paired_differences(*runs, seed=1) == paired_differences(*runs, seed=1)
    assert paired_differences(*runs, seed=1) != paired_differences(*runs, seed=2)


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        (["a", "x", "y"], ["a", "b"], "2 of 3 here are not there, the first is 'x', and 1 there are not here"),
        (["a"], ["a", "b", "c"], "0 of 1 here are not there, and 2 there are not here"),
        (["a", "b"], ["a"], "1 of 2 here are not there, the first is 'b', and 0 there are not here"),
    ],
)
def test_other_queries_are_refused_by_name(here, there, message):
    runs = (per_query(names, [0.5] * len(names), [1] * len(names)) for names in (here, there))
    with pytest.raises(ReidError, match=message):
        paired_differences(*runs)


@pytest.mark.parametrize("twice", [0, 1])
def test_query_that_occurs_twice_is_refused_by_name(twice):
    runs = [per_query("abc", [0.5] * 3, [1] * 3), per_query("abc", [0.4] * 3, [1] * 3)]
    runs[twice] = per_query("abcb", [0.5] * 4, [1] * 4)
    with pytest.raises(ReidError, match="query 'b' occurs twice"):
        paired_differences(*runs)


def test_no_query_in_common_is_refused():
    here, there = per_query("ab", [None, 0.5], [0, 1]), per_query("ab", [0.5, None], [1, 0])
    with pytest.raises(ReidError, match="no query is scored in both runs"):
        paired_differences(here, there)


@pytest.mark.parametrize("draws", [0, -1, 2.5])
def test_number_of_draws_is_positive(draws):
    with pytest.raises(ReidError, match=f"draws={draws}: expected an integer of at least 1"):
        confidence_intervals(drawn(seed=0, queries=5), draws=draws)
    with pytest.raises(ReidError, match=f"draws={draws}: expected an integer of at least 1"):
        paired_differences(*drawn_runs(seed=0, queries=5), draws=draws)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"average_precision": ["abc", 0.5]}, "query 'a' has the average precision 'abc'"),
        ({"first_match_rank": [None, 1]}, "query 'a' has .* and the rank None"),
        ({"first_match_rank": [1]}, "lists per query differ in length"),
        ({"average_precision": [None, 0.5]}, "query 'a' has the average precision None and the rank 1"),
        ({"query": [["a"], "b"]}, "query .'a'. has"),
        ({"person_id": [1, 3]}, "with other people"),
    ],
)
def test_a_damaged_run_is_named(change, text):
    run = {"query": ["a", "b"], "person_id": [1, 2], "average_precision": [0.5, 0.5], "first_match_rank": [1, 1]}
    with pytest.raises(ReidError, match=text):
        paired_differences(run, {**run, **change})
    with pytest.raises(ReidError, match="has no first_match_rank for each query"):
        paired_differences(run, {"query": ["a", "b"], "average_precision": [0.5, 0.5]})
