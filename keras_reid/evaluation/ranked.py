"""Ranked lists: the gallery images nearest to a query, each of them right, wrong or ignored, as the scores count it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_reid.data.counted import Matches
from keras_reid.evaluation.blocks import squared_lengths
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.products import distances_from_squares, preparation
from keras_reid.evaluation.results import RetrievalResult

RIGHT, WRONG, IGNORED = "right", "wrong", "ignored"


class Hit(NamedTuple):
    """A gallery image on a query's list."""

    image: int  # row of `Embedded.gallery`
    distance: float  # by the metric of the embeddings
    outcome: str  # RIGHT, WRONG, or IGNORED: of the query's identity, but not counted, as from the same camera
    rank: int | None  # from 1, among the images that count; None for an ignored one


class RankedList(NamedTuple):
    """The nearest gallery images of one query."""

    query: int  # row of `Embedded.query`
    hits: tuple[Hit, ...]  # the nearest first; as many that count as were asked for, with the ignored ones between
    first_right: Hit | None  # the nearest true match, on the list or not; None where the query has none

    @property
    def first_right_is_shown(self) -> bool:
        return self.first_right in self.hits


def ranked_lists(
    embedded: Embedded,
    queries: Sequence[int],
    *,
    depth: int = 10,
    ignore: str = "same_camera",
    missing_cameras: str = "refuse",
) -> list[RankedList]:
    """Ranks the gallery for some queries: ranks are those that `evaluate_retrieval` counts with the same rules.

    Args:
        embedded: query and gallery.
        queries: rows of `embedded.query`.
        depth: how many images that count a list shows; fewer where the gallery has fewer.
        ignore: as in `evaluate_retrieval`.
        missing_cameras: as in `evaluate_retrieval`.

    Returns:
        A list for each of `queries`, in their order. Distances are float64, from differences; at equal distances wrong
        images stand before right ones. Junk (id -1) and, under "leave_out", images without a camera are on no list.

    Raises:
        ReidError: as `evaluate_retrieval`.
    """
    check_positive("depth", depth)
    matches = embedded.pairs(ignore=ignore, missing_cameras=missing_cameras).matches
    prepare = preparation(embedded.query_embeddings, embedded.gallery_embeddings, embedded.metric)
    images = prepare(embedded.gallery_embeddings[matches.order])
    lists = []
    for query in queries:
        squared = squared_lengths(images - prepare(embedded.query_embeddings[[query]]))
        lists.append(_ranked(int(query), distances_from_squares(squared, prepare, embedded.metric), matches, depth))
    return lists


def choose_queries(result: RetrievalResult, how: str, count: int, *, seed: int = 0) -> np.ndarray:
    """Returns the rows of at most `count` queries, int64.

    Args:
        result: of an evaluation.
        how: "random", of all queries; "worst" or "best" by average precision, of the scored ones, that one first.
        count: how many.
        seed: of the random queries, and of the order among queries that are equally good.
    """
    drawn = np.random.default_rng(seed).permutation(result.queries)
    if how == "random":
        return drawn[:count]
    scored = drawn[result.first_match_rank[drawn] > 0]
    ranked = scored[np.argsort(result.average_precision[scored], kind="stable")]
    return {"worst": ranked, "best": ranked[::-1]}[how][:count]


def _ranked(query: int, distances: np.ndarray, matches: Matches, depth: int) -> RankedList:
    """Returns the list of one query from the distances of the gallery images in `matches.order`."""
    is_right, is_own = np.zeros(len(distances), bool), np.zeros(len(distances), bool)
    is_right[matches.position[slice(*np.searchsorted(matches.query, [query, query + 1]))]] = True
    is_own[matches.first[query] : matches.last[query]] = True
    is_ignored = is_own & ~is_right
    order = np.lexsort((is_right, distances))  # at equal distances wrong before right
    ranks = np.cumsum(~is_ignored[order])

    def hit(place: int) -> Hit:
        position = order[place]
        outcome = RIGHT if is_right[position] else IGNORED if is_ignored[position] else WRONG
        rank = None if outcome == IGNORED else int(ranks[place])
        return Hit(int(matches.order[position]), float(distances[position]), outcome, rank)

    shown = np.searchsorted(ranks, min(depth, ranks[-1])) + 1 if len(ranks) and ranks[-1] else 0
    right = np.flatnonzero(is_right[order])
    return RankedList(query, tuple(map(hit, range(shown))), hit(right[0]) if len(right) else None)
