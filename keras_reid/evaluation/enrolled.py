"""Enrolled galleries: how far each query is from its own identity, and from the nearest other one, in drawn galleries.

No [Q, G] matrix is stored: of the images of one identity only the nearest counts. The rounding error of a float64
product is on the side of the wrong image, as in `counting`: an exact tie is never taken for a success.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_reid.data.counted import Matches
from keras_reid.evaluation.blocks import slices, squared_lengths
from keras_reid.evaluation.products import Preparation, distances_from_squares, preparation, products_with, with_squares

_BLOCK_BYTES = 32 << 20
_IMAGES_AT_ONCE = 1 << 13
_ROWS_AT_ONCE = 2048


class Distances(NamedTuple):
    """Distances over all drawn galleries: of Q queries, and of P finds of strangers."""

    own: np.ndarray  # float64 [Q], to the nearest image of the query's identity that counts for it; inf where none does
    enrolled: np.ndarray  # int64 [Q], in how many galleries such an image stands
    first: np.ndarray  # int64 [Q], in how many of them no image of another identity is as near
    at: np.ndarray  # float64 [P], ascending: from a stranger's query to the nearest image in a gallery
    query: np.ndarray  # int64 [P], which query
    draws: np.ndarray  # int64 [P], in how many galleries that is the distance of the nearest


def distances_to_enrolled(
    query: np.ndarray, gallery: np.ndarray, matches: Matches, numbers: tuple, drawn: np.ndarray, metric: str
) -> Distances:
    """Returns the distances of queries `[Q, D]` to galleries drawn from `[G, D]`.

    Args:
      query: embeddings.
      gallery: embeddings.
      matches: of them.
      numbers: of each query, int64 `[Q]`, the number of its identity among those that may be enrolled, -1 for another
        person, -2 where it does not count; and of each gallery image, int64 `[G]`, the same, -1 for an image that is
        never enrolled.
      drawn: int64 `[draws, N]`, the numbers that are enrolled in each gallery.
      metric: "euclidean" or "cosine".
    """
    prepare = preparation(query, gallery, metric)
    slack = 2 * (gallery.shape[1] + 6) * np.finfo(np.float64).eps
    own = _to_own(query, gallery, matches, prepare, slack)
    to_identities = _to_identities(query, gallery, numbers[1], prepare, slack)
    enrolled, first, finds = _in_galleries(own, to_identities, numbers[0], drawn)
    finds = finds.sort_values("at", kind="stable")
    own, at = (distances_from_squares(squared, prepare, metric) for squared in (own, finds["at"].to_numpy()))
    return Distances(own, enrolled, first, at, finds["query"].to_numpy(), finds["draws"].to_numpy())


def _to_own(query: np.ndarray, gallery: np.ndarray, matches: Matches, prepare: Preparation, slack: float) -> np.ndarray:
    """Returns the squared distance to the nearest true match, at most, by explicit differences, float64 `[Q]`."""
    own = np.full(len(query), np.inf)
    for part in slices(len(matches.query), _ROWS_AT_ONCE):
        rows = matches.query[part]
        anchors, images = prepare(query[rows]), prepare(gallery[matches.order[matches.position[part]]])
        rounding = slack * (squared_lengths(anchors) + squared_lengths(images))
        np.minimum.at(own, rows, squared_lengths(anchors - images) + rounding)
    return own


def _to_identities(
    query: np.ndarray, gallery: np.ndarray, numbers: np.ndarray, prepare: Preparation, slack: float
) -> np.ndarray:
    """Returns the squared distance to the nearest image of each identity, at least, float64 `[identities, Q]`."""
    order = np.argsort(numbers, kind="stable")
    order = order[numbers[order] >= 0]
    nearest = np.full((numbers.max() + 1, len(query)), np.inf)
    for images_at in slices(len(order), _IMAGES_AT_ONCE):
        images = with_squares(prepare, gallery[order[images_at]])
        images[:, -1] *= 1 - slack
        of_images = numbers[order[images_at]]
        starts = np.flatnonzero(np.diff(of_images, prepend=-1))
        for queries_at in slices(len(query), _BLOCK_BYTES // (8 * len(images))):
            anchors = query[queries_at]
            scores = np.empty((len(anchors), len(images)))
            lengths = products_with(images, prepare, anchors, out=scores)
            squared = np.minimum.reduceat(scores, starts, axis=1).T + (1 - slack) * lengths
            block = nearest[:, queries_at]
            block[of_images[starts]] = np.minimum(block[of_images[starts]], squared)
    return np.maximum(nearest, 0, out=nearest)


def _in_galleries(
    own: np.ndarray, to_identities: np.ndarray, numbers: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Returns `enrolled` and `first` of `Distances`, and the finds of strangers as the columns query, at and draws."""
    is_drawn = np.zeros((len(drawn), len(to_identities)), bool)
    np.put_along_axis(is_drawn, drawn, True, axis=1)
    enrolled, first, finds = np.zeros(len(own), np.int64), np.zeros(len(own), np.int64), []
    for part in slices(len(own), _BLOCK_BYTES // (8 * max(len(to_identities), len(drawn)))):
        others, of_queries = to_identities[:, part].copy(), numbers[part]
        rows = np.flatnonzero(of_queries >= 0)
        others[of_queries[rows], rows] = np.inf
        nearest = np.stack([others[one].min(axis=0) for one in drawn])
        own_drawn = np.zeros(nearest.shape, bool)
        own_drawn[:, rows] = is_drawn[:, of_queries[rows]]
        scored = own_drawn & np.isfinite(own[part])
        enrolled[part], first[part] = scored.sum(axis=0), (scored & (own[part] < nearest)).sum(axis=0)
        draw, row = np.nonzero(~own_drawn & (of_queries > -2))
        finds.append(pd.DataFrame({"query": row + part.start, "at": nearest[draw, row]}).value_counts(sort=False))
    return enrolled, first, pd.concat(finds).rename("draws").reset_index()
