"""Single-gallery-shot protocol: one gallery image of each identity, drawn again and again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_reid.data.counted import Matches
from keras_reid.evaluation.blocks import slices, squared_lengths
from keras_reid.evaluation.inputs import check_positive, read_embeddings, read_people
from keras_reid.evaluation.products import preparation
from keras_reid.evaluation.ranking import find_matches

_BLOCK_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class SingleShotResult:
    """Scores over all queries and draws, as fractions.

    Attributes:
      mean_average_precision: mean of 1 / rank, the average precision where one gallery image shows the identity.
      top1: share of queries and draws whose nearest gallery image shows the identity.
      top5: the same among the first 5.
      top10: the same among the first 10.
      draws: how often a gallery was drawn.
      seed: of the draws.
      queries: number of queries, skipped ones included.
      metric: how embeddings were compared.
      ignore: which images are not drawn from.
      cmc: float64 `[ranks]`; `cmc[k - 1]` is the share with the identity among the first k.
      skipped_queries: int64, indices of the queries without an image to draw.
    """

    mean_average_precision: float
    top1: float
    top5: float
    top10: float
    draws: int
    seed: int
    queries: int
    metric: str
    ignore: str
    cmc: np.ndarray = dataclasses.field(repr=False)
    skipped_queries: np.ndarray = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores in plain Python types that `json.dump` accepts."""
        return {
            **dataclasses.asdict(self),
            "cmc": self.cmc.tolist(),
            "skipped_queries": len(self.skipped_queries),
            "protocol": "single_gallery_shot",
        }


def evaluate_single_gallery_shot(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    draws: int = 100,
    seed: int = 0,
    metric: str = "euclidean",
    ignore: str = "same_camera",
    ranks: int = 50,
    **people: Any,
) -> SingleShotResult:
    """Scores a gallery of one image of each identity, drawn at random for each query and draw: CUHK03's first protocol.

    Li et al., "DeepReID", CVPR 2014. An image that `evaluate_retrieval` ignores for a query is not drawn for it, so
    that under "same_camera" the identity is always seen by another camera. Gallery images with id -1 are never drawn;
    those with id 0 count as one identity. At equal distances the wrong image comes first.

    Args:
      query_embeddings: `[Q, D]`, as in `evaluate_retrieval`.
      gallery_embeddings: `[G, D]`.
      draws: galleries for each query; the field takes 100.
      seed: the same seed gives the same scores.
      metric: "euclidean" or "cosine".
      ignore: as in `evaluate_retrieval`.
      ranks: length of the CMC curve.
      **people: ids of query and gallery and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
      A `SingleShotResult`.

    Raises:
      ReidError: as `evaluate_retrieval`.
    """
    check_positive("draws", draws)
    check_positive("ranks", ranks)
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    of_query, of_gallery = read_people(len(query), len(gallery), ignore=ignore, **people)
    matches = find_matches(of_query, of_gallery, ignore)
    person_ids = of_gallery.person_ids[matches.order]
    # Where the images of each identity start in the order of the gallery, and its end.
    starts = np.append(np.flatnonzero(np.diff(person_ids, prepend=person_ids[0] - 1)), len(person_ids))
    found_at = _ranks_of_draws(query, gallery, matches, starts, metric, draws, seed)
    cmc = [(found_at <= rank).mean() for rank in range(1, max(ranks, 10) + 1)]
    return SingleShotResult(
        mean_average_precision=float((1 / found_at).mean()),
        top1=float(cmc[0]),
        top5=float(cmc[4]),
        top10=float(cmc[9]),
        draws=draws,
        seed=seed,
        queries=len(query),
        metric=metric,
        ignore=ignore,
        cmc=np.array(cmc[:ranks]),
        skipped_queries=np.setdiff1d(np.arange(len(query)), matches.query),
    )


def _ranks_of_draws(
    query: np.ndarray, gallery: np.ndarray, matches: Matches, starts: np.ndarray, metric: str, draws: int, seed: int
) -> np.ndarray:
    """Returns the rank of the identity in each draw, int64 `[scored queries, draws]`, 1 is best."""
    prepare = preparation(query, gallery, metric)
    slack = 4 * (gallery.shape[1] + 6) * np.finfo(np.float64).eps  # what a float64 product rounds, on both sides
    random = np.random.default_rng(seed)
    scored, first_match = np.unique(matches.query, return_index=True)
    ends = np.append(first_match[1:], len(matches.query))
    found_at = np.empty((len(scored), draws), np.int64)
    images = prepare(gallery[matches.order])
    squares = squared_lengths(images)
    for part in slices(len(scored), _BLOCK_BYTES // (8 * len(images))):
        anchors = prepare(query[scored[part]])
        scores = squares - 2 * (anchors @ images.T)
        for row, row_scores, length in zip(range(part.start, part.stop), scores, squared_lengths(anchors)):
            own = starts[:-1] == matches.first[scored[row]]
            first, count = starts[:-1][~own], np.diff(starts)[~own]
            drawn = first + (random.random((draws, len(first))) * count).astype(np.int64)  # one of each identity
            true = random.choice(matches.position[first_match[row] : ends[row]], draws)
            limits = row_scores[true] + slack * (squares[true] + length)
            found_at[row] = 1 + (row_scores[drawn] <= limits[:, None]).sum(axis=1)
    return found_at
