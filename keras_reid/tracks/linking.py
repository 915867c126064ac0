"""Linking: tracks of one person get one global id, across cameras and gaps.

Average linkage, cut at the artifact's calibrated threshold: the two groups of tracks whose mean distance is smallest
become one, as long as it is at most the threshold and `Constraints` allow it. Where cameras see one place at the same
time, the Hungarian method then gives the people in each of them their best partners, all at once.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.evaluation.neighbors import progress_bar
from keras_reid.tracks.constraints import Constraints
from keras_reid.tracks.link_table import link_table
from keras_reid.tracks.pairs import Comparable, near_earlier
from keras_reid.tracks.reassignment import reassign
from keras_reid.tracks.tracks_file import Tracks
from keras_reid.tracks.travel_times import TravelTimes, known_threshold

Pairs = Collection[tuple[int, int]]


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """Who is who among tracks.

    Attributes:
        identities: int64 `[T]`, the global id of each track, from 1 in the order of their first appearance; a track
            that is linked with no other has one of its own.
        links: a row for each track that shares its identity: identity, camera, track, start, end; other_camera,
            other_track and distance of the nearest track of that identity; next_camera, next_track and next_distance of
            the nearest one of another identity that it could be, missing where there is none. Sorted by identity and
            start.
        threshold: the largest mean distance of groups of tracks that were linked.
        travel_times: that the links respect; None where there were none.
    """

    identities: np.ndarray
    links: pd.DataFrame
    threshold: float
    travel_times: TravelTimes | None = None

    def where(self, tracks: Tracks) -> pd.DataFrame:
        """Returns a row for each identity and camera: identity, camera, first, last, seconds, tracks.

        first and last are times of its first and last box there; seconds are those of its tracks, without the gaps.
        """
        frame = tracks.frame[["camera", "start", "end"]].assign(identity=self.identities)
        frame["seconds"] = frame.end - frame.start
        groups = frame.groupby(["identity", "camera"], sort=True, as_index=False)
        table = groups.agg(
            first=("start", "min"), last=("end", "max"), seconds=("seconds", "sum"), tracks=("end", "size")
        )
        return table.sort_values(["identity", "first"], kind="stable", ignore_index=True)


def link(
    tracks: Tracks,
    *,
    threshold: float | None = None,
    travel_times: TravelTimes | None = None,
    overlapping: Pairs | None = None,
    same: Pairs = (),
    different: Pairs = (),
    cannot_link: bool = True,
    description: str | None = None,
) -> Links:
    """Links tracks.

    Precision comes first: a wrong link invents a person. Memory grows with the pairs of tracks up to the threshold, of
    which the 4 million nearest are kept (all of them below 2,000 tracks), never with the square of the tracks; the mean
    distances of groups are exact all the same.

    Args:
        tracks: T tracks.
        threshold: largest mean distance of two groups of tracks of one person; the artifact's by default.
        travel_times: windows that a person keeps between cameras.
        overlapping: pairs of cameras that see one place; in no others is anybody seen at one time. By default it is not
            known: tracks of two cameras may overlap in time, and where linked ones do, the cameras are such a pair.
        same: pairs of rows that somebody said are one person: linked whatever they look like.
        different: pairs that are not: never linked, nor through others.
        cannot_link: whether tracks that overlap in time, in one camera or in two that see no place in common, are two
            people.
        description: of the progress bar; without it there is none.

    Returns:
        `Links`.

    Raises:
        ReidError: no threshold is known, an embedding is no good, or what was said contradicts itself or the times.
    """
    limit = known_threshold(tracks, threshold)
    if not len(tracks):
        return Links(np.zeros(0, np.int64), link_table(tracks, np.zeros(0, np.int64)), limit, travel_times)
    order = by_end(tracks)
    ended = take(tracks, order)
    place = np.argsort(order)
    same, different = ([(int(place[a]), int(place[b])) for a, b in pairs] for pairs in (same, different))
    comparable, overlap = Comparable.of(ended), overlapping if cannot_link else None
    constraints = Constraints(ended.frame, travel_times, different, overlap, in_one_camera=cannot_link)
    with progress_bar(2 * len(tracks), description, unit="track") as bar:
        groups = _Groups(ended.frame, comparable, constraints, limit)
        for block, later, earlier, distances in near_earlier(comparable, limit):
            possible = constraints.possible(later, earlier)
            groups.add_pairs(later[possible], earlier[possible], distances[possible])
            bar.update(block.stop - block.start)
        for pair in same:
            groups.join(*pair, Constraints(ended.frame, None, different, in_one_camera=cannot_link))
        groups.merge_nearest()
        fixed = {track for pair in same for track in pair}
        members = reassign(groups.members.values(), ended.frame, comparable, constraints, limit, overlapping, fixed)
        identities = numbered(members, tracks, order)
        table = link_table(ended, identities[order], constraints, tick=bar.update)
        return Links(identities, table, limit, travel_times)


def by_end(tracks: Tracks) -> np.ndarray:
    """Returns the rows of tracks in the order in which they end."""
    return np.lexsort((tracks.frame.start, tracks.frame.end))


def take(tracks: Tracks, rows: np.ndarray) -> Tracks:
    """Returns some rows of tracks, in that order."""
    frame = tracks.frame.iloc[rows].reset_index(drop=True)
    return dataclasses.replace(tracks, frame=frame, embeddings=np.asarray(tracks.embeddings)[rows])


def numbered(groups: Iterable[Sequence[int]], tracks: Tracks, order: np.ndarray) -> np.ndarray:
    """Returns the identity of each track, int64 `[T]`, from groups of places in an order of the tracks."""
    start = tracks.frame.start.to_numpy(float)
    rows = [order[list(group)] for group in groups]
    rows.sort(key=lambda group: min((start[row], row) for row in group.tolist()))
    identities = np.zeros(len(tracks), np.int64)
    for number, group in enumerate(rows, 1):
        identities[group] = number
    return identities


class _Groups:
    """Groups of tracks that merge, the nearest first.

    Two groups are near if a pair of their tracks was kept; no others can have a mean distance up to the threshold,
    where all such pairs were kept. Their mean distances follow by Lance and Williams, "A General Theory of
    Classificatory Sorting Strategies", 1967; one that is missing is counted from the embeddings.
    """

    def __init__(self, frame: pd.DataFrame, comparable: Comparable, constraints: Constraints, limit: float):
        count, self._frame = len(frame), frame
        self.members: dict[int, list[int]] = {track: [track] for track in range(count)}
        self._near: dict[int, dict[int, float]] = {track: {} for track in range(count)}  # group -> group -> distance
        self._comparable, self._constraints, self._limit = comparable, constraints, limit
        self._heap: list[tuple[float, int, int]] = []  # pairs of groups up to the limit, some of which are gone
        self._numbers = itertools.count(count)

    def add_pairs(self, first: np.ndarray, second: np.ndarray, distances: np.ndarray) -> None:
        """Takes pairs of tracks, each once, up to the limit; before any groups merge."""
        pairs = list(zip(distances.tolist(), first.tolist(), second.tolist()))
        self._heap.extend(pairs)
        for distance, one, other in pairs:
            self._near[one][other] = self._near[other][one] = distance

    def join(self, one: int, other: int, constraints: Constraints) -> None:
        """Makes the groups of two tracks one, whatever their distance; ReidError where that breaks a constraint."""
        holders = [next(group for group, tracks in self.members.items() if track in tracks) for track in (one, other)]
        if not constraints.allow(*(self.members[holder] for holder in holders)):
            rows = self._frame.iloc[[one, other]].itertuples()
            first, second = (f"track {row.track!r} of camera {row.camera!r}" for row in rows)
            raise ReidError(
                f"{first} and {second} are said to be the same person, but they, or others that are the same, are seen "
                "at one time in one camera, or are said not to be the same. Correct one of these lines."
            )
        if holders[0] != holders[1]:
            self._merge(*holders)

    def merge_nearest(self) -> None:
        """Merges the two nearest groups that may be one person until none are left up to the limit."""
        heapq.heapify(self._heap)
        while self._heap:
            _, one, other = heapq.heappop(self._heap)
            there = one in self.members and other in self.members
            if there and self._constraints.allow(self.members[one], self.members[other]):
                self._merge(one, other)

    def _merge(self, one: int, other: int) -> None:
        first, second = self.members.pop(one), self.members.pop(other)
        near_first, near_second = self._near.pop(one), self._near.pop(other)
        merged, near = next(self._numbers), {}
        for group in {**near_first, **near_second}:
            if group in (one, other):
                continue
            total = 0.0
            for members, known in ((first, near_first), (second, near_second)):
                distance = known.get(group)
                total += len(members) * (self._mean(members, group) if distance is None else distance)
            near[group] = mean = total / (len(first) + len(second))
            others = self._near[group]
            others.pop(one, None)
            others.pop(other, None)
            others[merged] = mean
            if mean <= self._limit:
                heapq.heappush(self._heap, (mean, merged, group))
        self.members[merged], self._near[merged] = first + second, near

    def _mean(self, members: list[int], group: int) -> float:
        return self._comparable.mean(members, self.members[group])
