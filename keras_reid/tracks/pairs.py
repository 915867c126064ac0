"""Pairs of tracks: how far apart, by an artifact's metric and in time, and which of them are near, block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices, squared_lengths
from keras_reid.evaluation.inputs import read_embeddings
from keras_reid.evaluation.neighbors import squared_distances
from keras_reid.evaluation.products import Preparation, distances_from_squares, preparation
from keras_reid.tracks.tracks_file import Tracks

BLOCK_BYTES = 64 << 20
MOST_PAIRS = 4_000_000  # kept of all tracks together; what bounds the memory
_FEWEST = 32  # earlier tracks that each track is compared with, however many tracks there are


@dataclasses.dataclass(frozen=True, eq=False)
class Comparable:
    """Embeddings of tracks, prepared so that squared differences give the metric's distances.

    Attributes:
        rows: float64 `[T, D]`, of length 1 at most.
        prepare: the map that made them.
        metric: "euclidean" or "cosine".
    """

    rows: np.ndarray
    prepare: Preparation
    metric: str

    @classmethod
    def of(cls, tracks: Tracks) -> Comparable:
        """Returns the tracks' embeddings; ReidError where they are no good."""
        embeddings = np.asarray(tracks.embeddings)
        bad = ~np.isfinite(embeddings).all(axis=1) | ((tracks.metric == "cosine") & ~embeddings.any(axis=1))
        if bad.any():
            first = tracks.frame.iloc[bad.argmax()]
            raise ReidError(
                f"{bad.sum()} tracks have an embedding that holds NaN or infinity, or nothing but 0, the first is "
                f"track {first.track!r} of camera {first.camera!r}: look at its crops and at the network."
            )
        embeddings, _ = read_embeddings(embeddings, embeddings[:1], tracks.metric)
        prepare = preparation(embeddings, embeddings, tracks.metric)
        return cls(prepare(embeddings), prepare, tracks.metric)

    def as_distances(self, squared: np.ndarray) -> np.ndarray:
        """Returns distances by the metric from squared differences of rows."""
        return distances_from_squares(squared, self.prepare, self.metric)

    def between(self, first: np.ndarray | list[int], second: np.ndarray | list[int]) -> np.ndarray:
        """Returns the distances of tracks, float64 `[first, second]`."""
        return self.as_distances(cdist(self.rows[first], self.rows[second], "sqeuclidean"))

    def mean(self, first: list[int], second: list[int]) -> float:
        """Returns the mean distance of two groups of tracks."""
        return float(self.between(first, second).mean())

    def squared(self, distance: float) -> float:
        """Returns what `as_distances` gives a distance for."""
        if self.metric == "cosine":
            return 2 * distance
        with np.errstate(over="ignore"):  # where all embeddings are one point, the scale is a huge number
            return np.square(np.float64(distance) * self.prepare.scale)


def gaps(frame: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the seconds between the tracks of pairs, negative where both are seen, and whether `first` ends first."""
    start, end = (frame[name].to_numpy(float) for name in ("start", "end"))
    forward = (end[first] < end[second]) | ((end[first] == end[second]) & (start[first] <= start[second]))
    return np.maximum(start[first], start[second]) - np.minimum(end[first], end[second]), forward


def products(comparable: Comparable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `a` and `b` for which `a @ b.T` is |row - other|^2 - |row|^2, float32 `[T, D + 1]`, and |row|^2 `[T]`."""
    lengths = squared_lengths(comparable.rows)
    ones = np.ones_like(lengths)
    sides = ((-2 * comparable.rows, ones), (comparable.rows, lengths))
    return (*(np.column_stack(side).astype(np.float32) for side in sides), lengths)


def near_earlier(
    comparable: Comparable,
    limit: float,
    *,
    block_bytes: int = BLOCK_BYTES,
    most: int | None = None,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields pairs of a track and one before it whose distance is at most `limit`, a block of tracks at a time.

    Of each track no more than the `most` nearest earlier ones are kept: all of them below 2,000 tracks, 40 of 100,000.
    No `[T, T]` matrix is stored; float32 products find the pairs, and explicit differences measure them.

    Args:
        comparable: T tracks, in their order.
        limit: largest distance; infinity keeps all that `most` does.
        block_bytes: of one block of products.
        most: earlier tracks that are kept of each.

    Yields:
        The tracks of the block; track and earlier track, int64 `[N]`, and their distance, float64 `[N]`, by track, then
        by earlier track.
    """
    rows = comparable.rows
    count, width = rows.shape
    most = max(_FEWEST, MOST_PAIRS // max(1, count)) if most is None else most
    asked, columns, lengths = products(comparable)
    # Rows have length 1 at most: a float32 product of them is off by no more than this.
    highest = comparable.squared(limit) * (1 + 1e-6) + 8 * (width + 10) * np.finfo(np.float32).eps
    for block in slices(count, block_bytes // (4 * max(1, count))):
        scores = asked[block] @ columns[: block.stop].T
        scores[:, block.start :][np.triu(np.ones((len(scores), len(scores)), bool))] = np.inf
        within = scores <= np.minimum(highest - lengths[block, None], 8).astype(np.float32)  # all are below 8
        for row in np.flatnonzero(np.count_nonzero(within, axis=1) > most):
            within[row] = False
            within[row, np.argpartition(scores[row], most - 1)[:most]] = True
        later, earlier = np.nonzero(within)
        later += block.start
        distances = comparable.as_distances(squared_distances(rows, later, rows, earlier))
        near = distances <= limit
        yield block, later[near], earlier[near], distances[near]
