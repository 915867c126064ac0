"""Ranked lists of a page: a sample of the queries in three blocks, random, worst and best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.ranked import Hit, RankedList, choose_queries, ranked_lists
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.reports.photos import GALLERY, QUERY, Photo, Photos, as_text

QUERIES, DEPTH = 20, 10  # in a block; on a list, ignored images apart


@dataclasses.dataclass(frozen=True)
class ShownHit:
    """A gallery image on a list."""

    photo: Photo
    place: tuple[int, int]  # rows of query and gallery
    outcome: str  # right, wrong or ignored
    rank: int | None
    distance: float


@dataclasses.dataclass(frozen=True)
class ShownQuery:
    """A query and its list; `further` is its first right image where that is not among the hits."""

    name: str
    photo: Photo
    average_precision: float | None
    first_rank: int  # of a right image; 0 where the gallery has none
    hits: tuple[ShownHit, ...]
    further: ShownHit | None

    @property
    def outcome(self) -> str:
        return "skipped" if not self.first_rank else "first" if self.first_rank == 1 else "later"


@dataclasses.dataclass(frozen=True)
class Block:
    """Some queries and how they were chosen."""

    name: str
    how: str
    queries: tuple[ShownQuery, ...]

    @property
    def title(self) -> str:
        return f"{self.name.capitalize()} queries"

    def cut(self, count: int) -> Block:
        """Returns the block with its first queries alone."""
        return dataclasses.replace(self, queries=self.queries[:count])


def blocks(
    embedded: Embedded, result: RetrievalResult, names: Sequence[str], photos: Photos, *, seed: int, **rules: str
) -> tuple[Block, ...]:
    """Returns three blocks of at most `QUERIES` queries; of a few queries, at most a third of them each.

    Args:
        embedded: query and gallery.
        result: of these embeddings by these rules.
        names: `[Q]`, what names each query.
        photos: of `embedded`.
        seed: of the random queries, and of the choice among queries that are equally good.
        **rules: `ignore` and `missing_cameras`, as in `evaluate_retrieval`.
    """
    count = min(QUERIES, -(-result.queries // 3))
    chosen = {name: choose_queries(result, name, count, seed=seed).tolist() for name in ("random", "worst", "best")}
    rows = np.unique(np.concatenate(list(chosen.values())))
    lists = {one.query: one for one in ranked_lists(embedded, rows, depth=DEPTH, **rules)}
    places = [(QUERY, row) for row in lists]
    places += [(GALLERY, hit.image) for one in lists.values() for hit in (*one.hits, *filter(None, [one.first_right]))]
    found = photos.of(places)
    shown = {row: _shown(one, names[row], result, found) for row, one in lists.items()}
    scored = f"{result.queries - len(result.skipped_queries):,} scored queries"
    how = {
        "random": f"of {result.queries:,} queries, drawn at random (seed {seed}): what to expect",
        "worst": f"of {scored}, those with the lowest average precision; equal ones drawn at random (seed {seed})",
        "best": f"of {scored}, those with the highest average precision; equal ones drawn at random (seed {seed})",
    }
    return tuple(Block(name, how[name], tuple(shown[row] for row in chosen[name])) for name in chosen)


def _shown(one: RankedList, name: str, result: RetrievalResult, found: dict) -> ShownQuery:
    def hit(given: Hit) -> ShownHit:
        place = (one.query, given.image)
        return ShownHit(found[GALLERY, given.image], place, given.outcome, given.rank, given.distance)

    precision = result.average_precision[one.query]
    return ShownQuery(
        as_text(name),
        found[QUERY, one.query],
        None if np.isnan(precision) else float(precision),
        int(result.first_match_rank[one.query]),
        tuple(map(hit, one.hits)),
        hit(one.first_right) if one.first_right and not one.first_right_is_shown else None,
    )
