"""Reassignment: people whom overlapping cameras see at one time get their best partners all at once.

Merging the nearest first may give a track the partner that another one needed. The Hungarian method finds the
assignment of least total distance; everyone in a camera is one of the people there, or somebody else.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from keras_reid.tracks.constraints import Constraints
from keras_reid.tracks.pairs import Comparable


def reassign(
    groups: Iterable[list[int]],
    frame: pd.DataFrame,
    comparable: Comparable,
    constraints: Constraints,
    limit: float,
    overlapping: Collection[tuple[str, str]] | None,
    fixed: Collection[int] = (),
) -> list[list[int]]:
    """Returns the groups after an exchange of tracks that are seen at one time by overlapping cameras.

    Args:
        groups: tracks of each identity, all together each track once.
        frame: camera, start and end of the tracks.
        comparable: their embeddings.
        constraints: that each group keeps.
        limit: largest mean distance of a track to the rest of its group; one that was linked through others may stay.
        overlapping: pairs of cameras; None: those in which a group has tracks that overlap in time.
        fixed: tracks that stay where they are.
    """
    moments = _Moments(frame, [list(group) for group in groups], comparable, constraints, limit)
    pairs = moments.overlapping() if overlapping is None else {frozenset(pair) for pair in overlapping}
    for camera in sorted({camera for pair in pairs for camera in pair}):
        others = {one for pair in pairs if camera in pair for one in pair} - {camera}
        for here, there in moments.of(camera, others):
            moments.assign([track for track in here if track not in fixed], there)
    return [group for group in moments.groups.values() if group]


class _Moments:
    """Groups of tracks, and who is seen at which time."""

    def __init__(
        self,
        frame: pd.DataFrame,
        groups: list[list[int]],
        comparable: Comparable,
        constraints: Constraints,
        limit: float,
    ):
        self.groups = dict(enumerate(groups))
        self._comparable, self._constraints, self._limit = comparable, constraints, limit
        self._highest = comparable.squared(limit) * (1 + 1e-6) + 1e-9  # squared, with room for rounding
        self._numbers = itertools.count(len(groups))
        self._camera = frame.camera.to_numpy()
        self._start, self._end = (frame[name].to_numpy(float) for name in ("start", "end"))
        self._group = {track: number for number, group in enumerate(groups) for track in group}
        self._sums = {number: comparable.rows[group].sum(axis=0) for number, group in self.groups.items()}

    def overlapping(self) -> set[frozenset]:
        """Returns the pairs of cameras in which a group has tracks that overlap in time."""
        found = set()
        for group in self.groups.values():
            ordered = sorted(group, key=self._start.__getitem__)
            for place, one in enumerate(ordered):
                for other in ordered[place + 1 :]:
                    if self._start[other] >= self._end[one]:
                        break
                    if self._camera[one] != self._camera[other]:
                        found.add(frozenset((self._camera[one], self._camera[other])))
        return found

    def of(self, camera: str, others: Collection[str]) -> Iterable[tuple[list[int], list[int]]]:
        """Yields the tracks that are seen at each moment at which one begins, in the camera and in the others."""
        tracks = np.flatnonzero(np.isin(self._camera, [camera, *others]))
        tracks = tracks[np.argsort(self._start[tracks], kind="stable")]
        moments, first = np.unique(self._start[tracks], return_index=True)
        active: list[int] = []
        for moment, begun in zip(moments, np.split(tracks, first[1:])):
            active = [track for track in active if self._end[track] > moment] + begun.tolist()
            here = [track for track in active if self._camera[track] == camera]
            if here and len(here) < len(active):
                yield here, [track for track in active if self._camera[track] != camera]

    def assign(self, here: list[int], there: list[int]) -> None:
        """Gives the tracks in one camera the groups, their own or those seen in other cameras, that fit best."""
        numbers = sorted({self._group[track] for track in [*here, *there]})
        if not here or not self._is_any_near(here, numbers):
            return
        rests = {number: [track for track in self.groups[number] if track not in here] for number in numbers}
        numbers = [number for number in numbers if rests[number]]
        if not numbers:
            return
        alone = np.full((len(here), len(here)), self._limit)
        costs = np.concatenate([self._costs(here, numbers, [rests[number] for number in numbers]), alone], axis=1)
        rows, columns = linear_sum_assignment(costs)
        own = [numbers.index(group) if (group := self._group[track]) in numbers else -1 for track in here]
        before = costs[rows, own].sum()  # the last column is one for nobody else
        if costs[rows, columns].sum() < before - 1e-9 * before:
            self._move(here, [numbers[column] if column < len(numbers) else None for column in columns])

    def _is_any_near(self, here: list[int], numbers: list[int]) -> bool:
        """Returns whether a track may be within the limit of another group, without the tracks here.

        No mean distance to a group is below the distance to its mean: this alone settles most moments.
        """
        own = np.array([numbers.index(self._group[track]) for track in here])
        rows, sums = self._comparable.rows[here], np.array([self._sums[number] for number in numbers])
        counts = np.array([len(self.groups[number]) for number in numbers])
        np.subtract.at(sums, own, rows)
        np.subtract.at(counts, own, 1)
        squared = cdist(rows, sums / np.maximum(counts, 1)[:, None], "sqeuclidean")
        squared[np.arange(len(here)), own] = np.inf
        return bool((squared[:, counts > 0] <= self._highest).any())

    def _costs(self, here: list[int], numbers: list[int], rests: list[list[int]]) -> np.ndarray:
        """Returns the mean distance of each track to each group without the tracks here, `[here, groups]`."""
        sizes = [len(rest) for rest in rests]
        block = self._comparable.between(here, [track for rest in rests for track in rest])
        costs = np.add.reduceat(block, np.cumsum([0, *sizes[:-1]]), axis=1) / sizes
        never = 10 * (1 + self._limit) * (1 + len(here))
        for row, track in enumerate(here):
            for column in range(len(rests)):
                if self._group[track] == numbers[column]:
                    costs[row, column] = min(costs[row, column], self._limit)  # nobody leaves but for a better place
                elif costs[row, column] > self._limit or not self._constraints.allow([track], rests[column]):
                    costs[row, column] = never
        return costs

    def _move(self, here: list[int], numbers: list[int | None]) -> None:
        """Moves tracks into groups, None for a new one; nothing happens where a group would break a constraint."""
        changed = {self._group[track] for track in here} | {number for number in numbers if number is not None}
        groups = {number: [track for track in self.groups[number] if track not in here] for number in changed}
        for track, number in zip(here, numbers):
            groups.setdefault(next(self._numbers) if number is None else number, []).append(track)
        if all(self._constraints.allow(group, ()) for group in groups.values()):
            self.groups.update(groups)
            self._sums.update({number: self._comparable.rows[group].sum(axis=0) for number, group in groups.items()})
            self._group.update({track: number for number, group in groups.items() for track in group})
