"""Decides what a retrieval scores: which gallery images count for a query, at which rank, and mAP, CMC, mINP of that.

A score needs the ranks of the true matches alone, and the rank of a match is one plus the number of counted images
before it. So nothing is sorted and no [Q, G] matrix is stored: blocks of float64 distances are counted and forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_reid.data.catalog import JUNK_ID
from keras_reid.errors import ReidError
from keras_reid.evaluation.inputs import Side, check_embeddings, check_option, check_positive, read_side

METRICS = ("euclidean", "cosine")
IGNORE_RULES = ("same_camera", "nothing")
BLOCK_BYTES = 64 << 20  # A block that leaves the cache costs little; a smaller one makes the matrix product slower.
SORT_FROM_MATCHES = 128  # Measured: above this, sorting the distances once beats one pass for each true match.


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalResult:
    """The scores of one evaluation, as fractions; the arrays hold one entry per query, in the order of the queries.

    Attributes:
      mean_average_precision: mean of `average_precision`, the number that most code bases print as mAP.
      mean_average_precision_trapezoid: mean of `average_precision_trapezoid`, the rule of the official
        Market-1501 script, 0.5 to 1 point lower.
      mean_inverse_negative_penalty: mean of `inverse_negative_penalty`, mINP.
      queries: number of queries, skipped ones included.
      gallery: number of counted gallery images, those with id -1 left out.
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


def evaluate_retrieval(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    query_person_ids: Any,
    gallery_person_ids: Any,
    query_camera_ids: Any,
    gallery_camera_ids: Any,
    metric: str = "euclidean",
    ignore: str = "same_camera",
    ranks: int = 50,
    block_bytes: int = BLOCK_BYTES,
) -> RetrievalResult:
    """Ranks the gallery for each query and scores where the images of the same person stand: mAP, CMC and mINP.

    Market-1501's rules (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015): a gallery image
    with the query's person *and* camera is ignored; id -1 is junk and never counted; id 0 (Market's distractors) is an
    id like any other, so it is a wrong image for every query of another id. mINP is from Ye et al., "Deep Learning for
    Person Re-identification: A Survey and Outlook", arXiv 2001.04193.

    Ties: a wrong image at the same distance as a true match counts as closer, so that a collapsed network, which puts
    everything at one distance, gets the worst score and not a lucky one. True matches at equal distances take
    consecutive ranks. Two distances are equal when they differ by no more than the rounding error of a float64
    product, about 1e-13 of the squared lengths: an exact tie is never missed, whatever the block size.

    Args:
      query_embeddings: `[Q, D]`, an array or list of float16, float32, float64 or integers.
      gallery_embeddings: `[G, D]`, the same.
      query_person_ids: integers `[Q]`.
      gallery_person_ids: integers `[G]`.
      query_camera_ids: integers `[Q]`; with `ignore="nothing"` they are not read and may be None.
      gallery_camera_ids: integers `[G]`, the same.
      metric: "euclidean" or "cosine".
      ignore: "same_camera", the rule above, or "nothing": every image of the same person is a true match, the query's
        own file too if the gallery holds it.
      ranks: length of the CMC curve.
      block_bytes: size of one working block of float64; about four of them are alive at a time.

    Returns:
      A `RetrievalResult`; a query without a valid match is in no mean and is listed in `skipped_queries`.

    Raises:
      ReidError: if inputs are empty, of different lengths or widths, NaN, infinite, or of zero length under "cosine";
        if an id is not an integer; if an option is unknown; or if no query has a valid match.
    """
    check_option("metric", metric, METRICS)
    check_option("ignore", ignore, IGNORE_RULES)
    check_positive("ranks", ranks)
    check_positive("block_bytes", block_bytes)
    reads_cameras = ignore == "same_camera"
    query = read_side("query", query_embeddings, query_person_ids, query_camera_ids, reads_cameras)
    gallery = read_side("gallery", gallery_embeddings, gallery_person_ids, gallery_camera_ids, reads_cameras)
    check_embeddings(query, gallery, metric, block_bytes)

    pairing = _pair(query, gallery, reads_cameras)
    scored = np.flatnonzero([len(positions) > 0 for positions in pairing.matches])
    if not len(scored):
        raise ReidError(_why_all_skipped(query, gallery, pairing, ignore))
    match_ranks = _rank_true_matches(query, gallery, pairing, scored, metric, block_bytes)
    return _score(match_ranks, scored, len(query.embeddings), len(pairing.order), metric, ignore, ranks)


# --- Which images count ---


class _Pairing(NamedTuple):
    order: np.ndarray  # indices of the counted gallery images, sorted by person; "position" below: index into this
    first: np.ndarray  # [Q] positions [first, last) hold the query's own person: true matches and ignored images,
    last: np.ndarray  # [Q] so never wrong ones
    matches: list[np.ndarray]  # for each query the positions of its true matches


def _pair(query: Side, gallery: Side, reads_cameras: bool) -> _Pairing:
    order = np.argsort(gallery.person_ids, kind="stable")
    order = order[gallery.person_ids[order] != JUNK_ID]
    person_ids = gallery.person_ids[order]
    first = np.searchsorted(person_ids, query.person_ids, side="left")
    last = np.searchsorted(person_ids, query.person_ids, side="right")
    matches = [np.arange(start, stop) for start, stop in zip(first, last)]
    if reads_cameras:
        cameras = gallery.camera_ids[order]
        matches = [own[cameras[own] != camera] for own, camera in zip(matches, query.camera_ids)]
    return _Pairing(order, first, last, matches)


def _why_all_skipped(query: Side, gallery: Side, pairing: _Pairing, ignore: str) -> str:
    start = f"none of the {len(query.embeddings)} queries has a true match in the gallery (ignore={ignore!r}): "
    if not len(pairing.order):
        return start + f"all {len(gallery.embeddings)} gallery images have id -1, junk. Check gallery_person_ids"
    if (pairing.first == pairing.last).all():
        return start + (
            f"query ids {_examples(query.person_ids)} and gallery ids {_examples(gallery.person_ids)} share no person. "
            "Check that both come from the same split and the same coding of names to ids"
        )
    return start + (
        "every gallery image of a query's person has the query's camera id too, and such images are ignored. The usual "
        f"cause is one camera id for everything (query cameras {_examples(query.camera_ids)}, gallery cameras "
        f'{_examples(gallery.camera_ids)}). Give the real camera ids, or use --ignore=nothing (ignore="nothing")'
    )


def _examples(ids: np.ndarray) -> str:
    distinct = np.unique(ids)
    return ", ".join(str(value) for value in distinct[:5]) + (", ..." if len(distinct) > 5 else "")


# --- At which rank ---


def _rank_true_matches(
    query: Side, gallery: Side, pairing: _Pairing, scored: np.ndarray, metric: str, block_bytes: int
) -> list[np.ndarray]:
    """Returns for each scored query the ascending ranks of its true matches, int64, 1 is best.

    Squared distances are compared, without the term |q|^2 that all images of a query share. Rounding moves each by at
    most `slack` * (|q|^2 + |g|^2) (centring or scaling, then a product of D terms summed in any order); lowering the
    wrong images and raising the true matches by that much makes every exact tie count against the query.
    """
    prepare = _preparation(gallery.embeddings, metric)
    width = gallery.embeddings.shape[1]
    slack = 2 * (width + 6) * np.finfo(np.float64).eps
    limits = []
    for index in scored:
        matches = gallery.embeddings[pairing.order[pairing.matches[index]]]
        limits.append(_limits(prepare(query.embeddings[[index]]), prepare(matches), slack))
    closer = [np.zeros(len(limit), np.int64) for limit in limits]
    gallery_rows, query_rows = _block_shape(len(pairing.order), width, block_bytes)
    for start in range(0, len(pairing.order), gallery_rows):
        columns = prepare(gallery.embeddings[pairing.order[start : start + gallery_rows]])
        lowered = (1 - slack) * np.einsum("gd,gd->g", columns, columns)
        for block in range(0, len(scored), query_rows):
            indices = scored[block : block + query_rows]
            scores = (-2 * prepare(query.embeddings[indices])) @ columns.T
            scores += lowered
            for row, index in enumerate(indices):
                scores[row, max(pairing.first[index] - start, 0) : max(pairing.last[index] - start, 0)] = np.inf
                closer[block + row] += _count_up_to(limits[block + row], scores[row])
    return [counts + np.arange(1, len(counts) + 1) for counts in closer]


def _preparation(gallery: np.ndarray, metric: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the map of embeddings to the float64 rows whose Euclidean distance gives the metric's order."""
    if metric == "cosine":  # |a - b|^2 = 2 - 2 cos for unit vectors.
        return _to_unit_length
    # An offset that all embeddings share says nothing about distances but eats digits of a product. Rounded to float32,
    # so that subtracting it from float32 embeddings is exact or nearly so.
    offset = gallery.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    return lambda embeddings: embeddings - offset


def _to_unit_length(embeddings: np.ndarray) -> np.ndarray:
    embeddings = embeddings.astype(np.float64)
    return embeddings / np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))[:, None]


def _limits(query: np.ndarray, matches: np.ndarray, slack: float) -> np.ndarray:
    """Returns, ascending, the scores up to which a wrong image counts as closer than each true match, float64 [M]."""
    distances = ((matches - query) ** 2).sum(axis=1)
    return np.sort(distances + slack * (matches**2).sum(axis=1) - (1 - 2 * slack) * (query**2).sum())


def _count_up_to(limits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns for each of the ascending limits how many scores are at most that, int64 [M]."""
    scores = scores[scores <= limits[-1]]  # Of a good model, few are left.
    if len(limits) > SORT_FROM_MATCHES:
        return np.searchsorted(np.sort(scores), limits, side="right")
    return np.array([np.count_nonzero(scores <= limit) for limit in limits])


def _block_shape(gallery_size: int, width: int, block_bytes: int) -> tuple[int, int]:
    """Returns how many gallery and query rows to take at a time: neither they nor their product exceed the limit."""
    numbers_in_block = block_bytes // 8
    most_rows = max(1, numbers_in_block // width)
    gallery_rows = min(gallery_size, most_rows)
    return gallery_rows, min(most_rows, max(1, numbers_in_block // gallery_rows))


# --- What that scores ---


def _score(
    match_ranks: list[np.ndarray], scored: np.ndarray, queries: int, gallery: int, metric: str, ignore: str, ranks: int
) -> RetrievalResult:
    first_match_rank = np.zeros(queries, np.int64)
    average_precision, trapezoid, penalty = (np.full(queries, np.nan) for _ in range(3))
    for index, found_at in zip(scored, match_ranks):
        found = np.arange(1, len(found_at) + 1)
        precision = found / found_at
        # Before rank 1 the official script takes the precision to be 1.
        precision_before = np.where(found_at > 1, (found - 1) / np.maximum(found_at - 1, 1), 1.0)
        first_match_rank[index] = found_at[0]
        average_precision[index] = precision.mean()
        trapezoid[index] = ((precision + precision_before) / 2).mean()
        penalty[index] = precision[-1]
    return RetrievalResult(
        mean_average_precision=float(average_precision[scored].mean()),
        mean_average_precision_trapezoid=float(trapezoid[scored].mean()),
        mean_inverse_negative_penalty=float(penalty[scored].mean()),
        queries=queries,
        gallery=gallery,
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
