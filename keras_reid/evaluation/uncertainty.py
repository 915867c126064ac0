"""Uncertainty of scores: 95 % intervals by bootstrap over queries, and a paired test of whether two runs differ."""

from __future__ import annotations

import dataclasses
import numbers
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.results import RetrievalResult

DRAWS = 2000
_LEVEL = 0.95
_WEIGHTS_AT_ONCE = 1 << 22
_DRAWS_AT_ONCE = 250


def confidence_intervals(result: RetrievalResult, *, draws: int = DRAWS, seed: int = 0) -> dict[str, tuple]:
    """Returns the 95 % interval of each mean score: the scored queries are drawn again, with replacement.

    It tells how much the scores would move with other queries of the same kind; queries of one identity are taken as
    independent, so that it is rather too narrow than too wide (percentile bootstrap; Efron 1979).

    Args:
      result: of an evaluation.
      draws: number of resampled sets of queries.
      seed: the same seed gives the same intervals.

    Returns:
      Name of a score in `RetrievalResult.to_dict()` -> (low, high), as fractions.

    Raises:
      ReidError: `draws` is not an integer of at least 1.
    """
    check_positive("draws", draws)
    values = _per_query(result.average_precision, result.first_match_rank)
    values["mean_average_precision_trapezoid"] = result.average_precision_trapezoid
    values["mean_inverse_negative_penalty"] = result.inverse_negative_penalty
    scored = result.first_match_rank > 0
    table = np.stack([column[scored] for column in values.values()], axis=1)
    return dict(zip(values, _intervals(table, draws, seed)))


def cmc_intervals(result: RetrievalResult) -> np.ndarray:
    """Returns the 95 % interval of each rank of the CMC as fractions, `[2, ranks]`: low and high.

    It is that of `confidence_intervals` for endless draws: resampled queries with a match are binomial in number.
    """
    from scipy.stats import binom  # takes a second to import, for pictures alone

    scored = np.count_nonzero(result.first_match_rank)
    ends = binom.ppf([[(1 - _LEVEL) / 2], [(1 + _LEVEL) / 2]], scored, result.cmc)
    return np.clip(ends / scored, 0, 1)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How one score of this run differs from the other run's, over the queries that both have scored.

    Attributes:
      here: the score of this run.
      there: the score of the other.
      difference: here - there.
      interval: its 95 % interval, by bootstrap over queries, each with both of its scores.
      p_value: two-sided, of a permutation test: how often a difference at least as large comes about when, for each
        query, it is left to chance which of its two scores belongs to which run.
    """

    here: float
    there: float
    difference: float
    interval: tuple[float, float]
    p_value: float


def paired_differences(
    here: Mapping[str, Any], there: Mapping[str, Any], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Difference]:
    """Compares two runs query by query.

    Args:
      here: what `per_query` of an evaluation's JSON file holds: lists of equal length `query` (what names a query),
        `average_precision` (None or NaN if skipped) and `first_match_rank` (0 if skipped).
      there: the same of the other run; the queries may come in another order.
      draws: resampled sets of queries, and permutations.
      seed: the same seed gives the same numbers.

    Returns:
      "mean_average_precision", "top1", "top5" and "top10" -> `Difference`.

    Raises:
      ReidError: the runs have other queries, a query twice, or none that both have scored; or `draws` is not an
        integer of at least 1.
    """
    check_positive("draws", draws)
    scores = []
    for run, rows in ((here, slice(None)), (there, _same_queries(here, there))):
        precision, ranks = (np.array(run[name], float)[rows] for name in ("average_precision", "first_match_rank"))
        scores.append(pd.DataFrame(_per_query(precision, ranks)))
    both = scores[0].mean_average_precision.notna() & scores[1].mean_average_precision.notna()
    if not both.any():
        raise ReidError("no query is scored in both runs: nothing to compare. Check that both have the same rules.")
    left, right = (frame[both] for frame in scores)
    differences = (left - right).to_numpy()
    intervals, p_values = _intervals(differences, draws, seed), _p_values(differences, draws, seed)
    return {
        name: Difference(*(float(value) for value in (a, b, a - b)), interval, p_value)
        for name, a, b, interval, p_value in zip(left, left.mean(), right.mean(), intervals, p_values)
    }


def _per_query(average_precision: np.ndarray, first_match_rank: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"top{rank}": (first_match_rank <= rank).astype(float) for rank in (1, 5, 10)}
    return {"mean_average_precision": average_precision, **found}


def _same_queries(here: Mapping[str, Any], there: Mapping[str, Any]) -> np.ndarray:
    """Returns where each query of this run stands in the other; ReidError where one of them is no list of scores."""
    for run in (here, there):
        check_run(run)
        if len(set(run["query"])) < len(run["query"]):
            name = Counter(run["query"]).most_common(1)[0][0]
            raise ReidError(f"query {name!r} occurs twice: runs are compared query by query. Give each its own name.")
    positions = {name: index for index, name in enumerate(there["query"])}
    missing = [name for name in here["query"] if name not in positions]
    surplus = len(positions) - (len(here["query"]) - len(missing))
    if missing or surplus:
        raise ReidError(
            f"the runs have other queries: {len(missing)} of {len(here['query'])} here are not there"
            f"{f', the first is {missing[0]!r}' if missing else ''}, and {surplus} there are not here. "
            "Evaluate both on the same dataset."
        )
    order = [positions[name] for name in here["query"]]
    if "person_id" in here and "person_id" in there and here["person_id"] != [there["person_id"][i] for i in order]:
        raise ReidError("the runs name their queries alike, but with other people: evaluate both on the same data.")
    return np.array(order)


def check_run(run: Mapping[str, Any]) -> None:
    """Raises ReidError when the lists of a run's scores per query are not what `paired_differences` compares."""
    columns = ("query", "average_precision", "first_match_rank")
    missing = [name for name in columns if name not in run]
    if missing:
        raise ReidError(f"a run has no {missing[0]} for each query: expected what evaluate --json writes per query.")
    if len({len(run[name]) for name in run}) > 1:
        raise ReidError("a run's lists per query differ in length: it is damaged. Evaluate it again.")
    for name, precision, rank in zip(*(run[name] for name in columns)):
        scored = isinstance(precision, numbers.Real) and precision == precision  # None or NaN: skipped
        fits = isinstance(rank, numbers.Integral) and rank >= 0 and scored == (rank > 0)
        if not isinstance(name, (str, numbers.Integral)) or not fits:
            raise ReidError(
                f"a run's query {name!r} has the average precision {precision!r} and the rank {rank!r}: expected a "
                "number and a rank from 1, or none and 0. It is damaged; evaluate it again."
            )


def _intervals(values: np.ndarray, draws: int, seed: int) -> list[tuple[float, float]]:
    """Returns for each column of `values` `[N, C]` the interval in which 95 % of the resampled means lie."""
    random, count = np.random.default_rng(seed), len(values)
    means = []
    for part in slices(draws, _WEIGHTS_AT_ONCE // count):
        size = part.stop - part.start
        drawn = random.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        means.append(weights @ values / count)
    return percentile_intervals(np.concatenate(means))


def resampled(count: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each of `count` is drawn, int64 `[some, count]`: `draws` draws of all with replacement."""
    random = np.random.default_rng(seed)
    for part in slices(draws if count else 0, _DRAWS_AT_ONCE):
        yield random.multinomial(count, np.full(count, 1 / count), part.stop - part.start)


def percentile_intervals(values: np.ndarray) -> list[tuple[float, float]]:
    """Returns for each column of `values` `[N, C]` the interval in which 95 % of them lie."""
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist()))


def _p_values(differences: np.ndarray, draws: int, seed: int) -> list[float]:
    random, count = np.random.default_rng(seed), len(differences)
    observed = abs(differences.mean(axis=0))
    larger = np.zeros(differences.shape[1])
    for part in slices(draws, _WEIGHTS_AT_ONCE // count):
        signs = random.integers(2, size=(part.stop - part.start, count)) * 2.0 - 1.0
        # Equal up to rounding is as large: without a difference anywhere, every permutation is.
        larger += (abs(signs @ differences / count) >= observed * (1 - 1e-12) - 1e-15).sum(axis=0)
    return ((1 + larger) / (1 + draws)).tolist()
