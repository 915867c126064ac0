"""Pairs of a query and a gallery image: genuine ones of one identity, impostor ones of two, with their distances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.counted import Matches, People
from keras_reid.evaluation.blocks import slices, squared_lengths
from keras_reid.evaluation.inputs import read_embeddings, read_people
from keras_reid.evaluation.products import center_of, unit_rows
from keras_reid.evaluation.ranking import find_matches

ROWS_AT_ONCE = 2048

Block = tuple[np.ndarray, np.ndarray, np.ndarray]  # queries and gallery images as rows, int64; their squared distances


def find_pairs(
    query_embeddings: Any, gallery_embeddings: Any, *, metric: str, ignore: str = "same_camera", **people: Any
) -> Pairs:
    """Returns the pairs that count; arguments and errors are those of `evaluate_retrieval`."""
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    of_query, of_gallery = read_people(len(query), len(gallery), ignore=ignore, **people)
    return Pairs(query, gallery, of_query, of_gallery, find_matches(of_query, of_gallery, ignore), metric)


class Pairs:
    """Walks over the pairs that count, block by block; images with id -1, which may show anyone, are in none.

    Squared distances are float64 and those of rows of length 1 under "cosine": twice the cosine distance.
    """

    def __init__(
        self,
        query: np.ndarray,
        gallery: np.ndarray,
        of_query: People,
        of_gallery: People,
        matches: Matches,
        metric: str,
    ):
        """Takes embeddings `[Q, D]` and `[G, D]`, who is on the images, and which gallery images count for whom."""
        self.query, self.gallery, self.of_query, self.of_gallery = query, gallery, of_query, of_gallery
        self.matches, self.metric = matches, metric
        self.counted = np.flatnonzero(of_query.counted & (of_query.person_ids != JUNK_ID))  # the queries in pairs
        self._offset = center_of(gallery)

    def largest_distance(self) -> float:
        """Returns a distance that no pair exceeds."""
        if self.metric == "cosine":
            return 2.0
        blocks = (self._prepare(side[part]) for side in (self.query, self.gallery) for part in _parts(side))
        return float(2 * np.sqrt(max(squared_lengths(rows).max() for rows in blocks)))  # |q - g| <= |q| + |g|

    def distances(self, squared: np.ndarray) -> np.ndarray:
        """Returns distances by the metric from the squared ones of all other methods."""
        return squared / 2 if self.metric == "cosine" else np.sqrt(squared)  # 1 - cos = |a - b|^2 / 2

    def squared(self, queries: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Returns the squared distances of queries and gallery images `[n]`, row by row, from explicit differences."""
        return squared_lengths(self._prepare(self.query[queries]) - self._prepare(self.gallery[images]))

    def genuine(self) -> Iterator[Block]:
        """Yields the genuine pairs: queries, gallery images and squared distances `[n]`, from explicit differences."""
        for part in _parts(self.matches.query):
            queries, images = self.matches.query[part], self.matches.order[self.matches.position[part]]
            yield queries, images, self.squared(queries, images)

    def impostor_parts(self) -> list[slice]:
        """Returns the parts of the gallery that `impostor` takes one by one, for a thread each."""
        return _parts(self.matches.order)

    def impostor(self, part: slice) -> Iterator[Block]:
        """Yields queries `[q]`, gallery images `[g]` and squared distances `[q, g]`, inf where it is no impostor pair.

        A distance within the rounding error of a float64 product is 0: rounding would put copies at as many distances
        as a product has ways to be summed.
        """
        rounding = 2 * (self.gallery.shape[1] + 6) * np.finfo(np.float64).eps
        found = self.matches.order[part]
        images = self._prepare(self.gallery[found])
        squares = squared_lengths(images)
        own = np.stack([self.matches.first, self.matches.last], axis=1)[self.counted]
        own = np.clip(own - part.start, 0, len(images))
        for rows in _parts(self.counted):
            anchors = self._prepare(self.query[self.counted[rows]])
            lengths = squares + squared_lengths(anchors)[:, None]
            squared = lengths - 2 * (anchors @ images.T)
            squared[squared <= rounding * lengths] = 0
            for distances, (begin, end) in zip(squared, own[rows]):
                distances[begin:end] = np.inf
            yield self.counted[rows], found, squared

    def _prepare(self, rows: np.ndarray) -> np.ndarray:
        return unit_rows(rows) if self.metric == "cosine" else rows - self._offset


def _parts(rows: np.ndarray) -> list[slice]:
    return slices(len(rows), ROWS_AT_ONCE)
