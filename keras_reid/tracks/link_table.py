"""Table of links: each linked track with the nearest track of its identity, and the next best alternative."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from keras_reid.evaluation.blocks import slices
from keras_reid.evaluation.neighbors import squared_distances
from keras_reid.tracks.constraints import Constraints
from keras_reid.tracks.pairs import BLOCK_BYTES, Comparable, products
from keras_reid.tracks.tracks_file import Tracks

_OWN = ("camera", "track", "start", "end")
COLUMNS = ("identity", *_OWN, "other_camera", "other_track", "distance", "next_camera", "next_track", "next_distance")


def link_table(
    tracks: Tracks,
    identities: np.ndarray,
    constraints: Constraints | None = None,
    *,
    tick: Callable[[int], object] = lambda count: None,
) -> pd.DataFrame:
    """Returns `Links.links` of tracks with these identities.

    Args:
        tracks: T tracks.
        identities: int64 `[T]`.
        constraints: of the tracks, which alternatives keep; by default that nobody is twice in one camera.
        tick: called with the number of tracks that are done.
    """
    counts = np.bincount(identities) if len(identities) else np.zeros(1, int)
    linked = np.flatnonzero(counts[identities] > 1)
    tick(len(identities) - len(linked))
    if not len(linked):
        return as_table(tracks.frame, identities)
    comparable, constraints = Comparable.of(tracks), constraints or Constraints(tracks.frame)
    nearest, distances = _nearest_within(comparable, identities, linked)
    others, next_distances = _nearest_outside(comparable, constraints, identities, linked, tick)
    return as_table(tracks.frame, identities, linked, nearest, distances, others, next_distances)


def as_table(
    frame: pd.DataFrame,
    identities: np.ndarray,
    linked: Sequence[int] = (),
    nearest: Sequence[int] = (),
    distances: Sequence[float] = (),
    others: Sequence[int] = (),
    next_distances: Sequence[float] = (),
) -> pd.DataFrame:
    """Returns the table from rows of a frame: the linked ones, those nearest to them, the alternatives or -1."""
    linked, nearest, others = (np.asarray(rows, np.int64) for rows in (linked, nearest, others))
    table = frame.iloc[linked][list(_OWN)].reset_index(drop=True).assign(identity=identities[linked])
    table["distance"], table["next_distance"] = np.asarray(distances, float), np.asarray(next_distances, float)
    for name, rows in (("other", nearest), ("next", others)):
        for column in ("camera", "track"):
            values = frame[column].to_numpy(object)
            table[f"{name}_{column}"] = pd.Series([values[row] if row >= 0 else None for row in rows], dtype=object)
    return table[list(COLUMNS)].sort_values(["identity", "start"], kind="stable", ignore_index=True)


def _nearest_within(
    comparable: Comparable, identities: np.ndarray, linked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest track of the same identity, and its distance, of each linked one."""
    nearest, distances = np.zeros(len(identities), int), np.zeros(len(identities))
    for members in pd.Series(linked).groupby(identities[linked]).indices.values():
        members = linked[members]
        for part in slices(len(members), BLOCK_BYTES // (8 * len(members))):
            block = comparable.between(members[part], members)
            block[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf
            nearest[members[part]], distances[members[part]] = members[block.argmin(axis=1)], block.min(axis=1)
    return nearest[linked], distances[linked]


def _nearest_outside(
    comparable: Comparable,
    constraints: Constraints,
    identities: np.ndarray,
    linked: np.ndarray,
    tick: Callable[[int], object],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest track of another identity that each linked one could be, -1 where there is none."""
    rows, everyone = comparable.rows, np.arange(len(identities))
    asked, columns, _ = products(comparable)
    members = pd.Series(everyone).groupby(identities).indices
    found = np.full(len(linked), -1)
    for part in slices(len(linked), BLOCK_BYTES // (4 * len(rows))):
        tracks = linked[part]
        scores = asked[tracks] @ columns.T
        for row, identity in enumerate(identities[tracks]):
            scores[row, members[identity]] = np.inf
        best = scores.argmin(axis=1)
        for row in np.flatnonzero(~constraints.possible(tracks, best)):
            scores[row, ~constraints.possible(tracks[row], everyone)] = np.inf
            best[row] = scores[row].argmin()
        is_any = np.isfinite(scores[np.arange(len(tracks)), best])
        found[part] = np.where(is_any, best, -1)
        tick(len(tracks))
    distances = comparable.as_distances(squared_distances(rows, linked, rows, np.maximum(found, 0)))
    return found, np.where(found >= 0, distances, np.nan)
