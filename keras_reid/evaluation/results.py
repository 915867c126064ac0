"""Retrieval result: scores from the ranks of the true matches, per query and in the mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_reid.data.counted import Matches


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalResult:
    """The scores of one evaluation, as fractions; the arrays hold one entry per query, in the order of the queries.

    Attributes:
      mean_average_precision: mean of `average_precision`, the number that most code bases print as mAP.
      mean_average_precision_trapezoid: mean of `average_precision_trapezoid`, the rule of the official
        Market-1501 script, 0.5 to 1 point lower.
      mean_inverse_negative_penalty: mean of `inverse_negative_penalty`, mINP.
      queries: number of queries, skipped ones included.
      gallery: number of counted gallery images: those with id -1 or left out for want of a camera id do not count.
      metric: how embeddings were compared.
      ignore: which images were ignored.
      cmc: float64 `[ranks]`; `cmc[k - 1]` is the share of scored queries with a true match among the first k.
      average_precision: float64 `[Q]`, rectangle rule: mean over true matches of the precision there; NaN if skipped.
      average_precision_trapezoid: float64 `[Q]`, mean over true matches of (precision there + precision one rank
        before) / 2, where the precision before rank 1 is 1; NaN if skipped.
      first_match_rank: int64 `[Q]`, 1 is best; 0 if skipped.
      inverse_negative_penalty: float64 `[Q]`, true matches / rank of the last one; NaN if skipped.
      skipped_queries: int64, indices of the queries without a valid match; no mean contains them.
    """

    mean_average_precision: float
    mean_average_precision_trapezoid: float
    mean_inverse_negative_penalty: float
    queries: int
    gallery: int
    metric: str
    ignore: str
    cmc: np.ndarray = dataclasses.field(repr=False)
    average_precision: np.ndarray = dataclasses.field(repr=False)
    average_precision_trapezoid: np.ndarray = dataclasses.field(repr=False)
    first_match_rank: np.ndarray = dataclasses.field(repr=False)
    inverse_negative_penalty: np.ndarray = dataclasses.field(repr=False)
    skipped_queries: np.ndarray = dataclasses.field(repr=False)

    def __repr__(self) -> str:
        """Returns one line: the scores in percent, and what they are of."""
        scores = {"mAP": self.mean_average_precision, "top-1": self.top1, "top-5": self.top5, "top-10": self.top10}
        scores["mINP"] = self.mean_inverse_negative_penalty
        skipped = f" ({len(self.skipped_queries)} skipped)" if len(self.skipped_queries) else ""
        of = f"{self.queries} queries{skipped}, {self.gallery} gallery images, {self.metric}, ignore={self.ignore}"
        return f"RetrievalResult({', '.join(f'{name} {100 * one:.2f} %' for name, one in scores.items())}; {of})"

    @property
    def top1(self) -> float:
        """Share of scored queries whose nearest counted image is a true match."""
        return _share_found(self.first_match_rank, 1)

    @property
    def top5(self) -> float:
        """Share of scored queries with a true match among the first 5, also where `cmc` is shorter than that."""
        return _share_found(self.first_match_rank, 5)

    @property
    def top10(self) -> float:
        """Share of scored queries with a true match among the first 10, also where `cmc` is shorter than that."""
        return _share_found(self.first_match_rank, 10)

    def to_dict(self) -> dict[str, Any]:
        """Returns the summary, without the per-query arrays, in plain Python types that `json.dump` accepts."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "mean_average_precision_trapezoid": self.mean_average_precision_trapezoid,
            "mean_inverse_negative_penalty": self.mean_inverse_negative_penalty,
            "top1": self.top1,
            "top5": self.top5,
            "top10": self.top10,
            "cmc": self.cmc.tolist(),
            "queries": self.queries,
            "skipped_queries": len(self.skipped_queries),
            "gallery": self.gallery,
            "metric": self.metric,
            "ignore": self.ignore,
        }


def score_ranks(matches: Matches, match_ranks: np.ndarray, *, metric: str, ignore: str, ranks: int) -> RetrievalResult:
    """Returns the scores of the ranks of the true matches, int64 `[M]`, 1 is best, ascending within each query."""
    queries, starts = len(matches.first), np.flatnonzero(np.diff(matches.query, prepend=-1))
    scored, counts = matches.query[starts], np.diff(starts, append=len(matches.query))
    found = np.arange(len(matches.query)) - np.repeat(starts, counts) + 1
    precision = found / match_ranks
    # Before rank 1 the official script takes the precision to be 1.
    precision_before = np.where(match_ranks > 1, (found - 1) / np.maximum(match_ranks - 1, 1), 1.0)
    first_match_rank = np.zeros(queries, np.int64)
    average_precision, trapezoid, penalty = (np.full(queries, np.nan) for _ in range(3))
    first_match_rank[scored] = match_ranks[starts]
    average_precision[scored] = np.add.reduceat(precision, starts) / counts
    trapezoid[scored] = np.add.reduceat((precision + precision_before) / 2, starts) / counts
    penalty[scored] = precision[starts + counts - 1]
    return RetrievalResult(
        mean_average_precision=float(average_precision[scored].mean()),
        mean_average_precision_trapezoid=float(trapezoid[scored].mean()),
        mean_inverse_negative_penalty=float(penalty[scored].mean()),
        queries=queries,
        gallery=len(matches.order),
        metric=metric,
        ignore=ignore,
        cmc=np.array([_share_found(first_match_rank, rank) for rank in range(1, ranks + 1)]),
        average_precision=average_precision,
        average_precision_trapezoid=trapezoid,
        first_match_rank=first_match_rank,
        inverse_negative_penalty=penalty,
        skipped_queries=np.flatnonzero(first_match_rank == 0),
    )


def _share_found(first_match_rank: np.ndarray, rank: int) -> float:
    return float((first_match_rank[first_match_rank > 0] <= rank).mean())
