"""Online linking: each track is given its identity when it ends, by what ended before it or is enrolled."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.evaluation.neighbors import progress_bar
from keras_reid.tracks.constraints import Constraints
from keras_reid.tracks.link_table import as_table
from keras_reid.tracks.linking import Links, Pairs, by_end, take
from keras_reid.tracks.pairs import Comparable, near_earlier
from keras_reid.tracks.tracks_file import Tracks
from keras_reid.tracks.travel_times import TravelTimes, known_threshold

ENROLLED = "enrolled"  # camera of those who were known before, in the table of links


@dataclasses.dataclass(frozen=True, eq=False)
class Enrolled:
    """People who are known before the first track ends.

    Attributes:
        identities: int64 `[N]`, from 1; one may have several embeddings.
        embeddings: float `[N, D]`, by the network of the tracks.
    """

    identities: np.ndarray
    embeddings: np.ndarray


def link_online(
    tracks: Tracks,
    *,
    threshold: float | None = None,
    travel_times: TravelTimes | None = None,
    overlapping: Pairs | None = None,
    enrolled: Enrolled | None = None,
    description: str | None = None,
) -> Links:
    """Links tracks as `link` does, but with only the past: nothing that is decided changes later.

    A track gets the identity whose tracks so far have the smallest mean distance to it, up to the threshold, if
    `Constraints` allow it; else a new one. Of the tracks before it the nearest are asked: all below 2,000 tracks.

    Args:
        tracks: T tracks.
        threshold: as of `link`.
        travel_times: as of `link`; what was learned from all tracks knows the future.
        overlapping: pairs of cameras that see one place; in no others is anybody seen at one time. None: not known.
        enrolled: people who have an identity already; new ones count on from the largest.
        description: of the progress bar; without it there is none.

    Returns:
        `Links`; in `links` a row for each track that was given an identity that was there: other and next are what was
        nearest when it ended, and "enrolled" and the identity where that is no track.

    Raises:
        ReidError: no threshold is known, an embedding is no good, or the enrolled have another width.
    """
    limit = known_threshold(tracks, threshold)
    enrolled = enrolled or Enrolled(np.zeros(0, np.int64), np.zeros((0, np.shape(tracks.embeddings)[1]), np.float32))
    _check(enrolled, tracks)
    order = by_end(tracks)
    ended = take(tracks, order)
    names = pd.DataFrame({"track": enrolled.identities.astype(str), "start": -np.inf, "end": -np.inf})
    names["camera"] = ENROLLED
    frame = pd.concat([names, ended.frame], ignore_index=True)
    embeddings = np.concatenate([enrolled.embeddings, ended.embeddings])
    everyone = dataclasses.replace(ended, frame=frame, embeddings=embeddings)
    known, total = len(enrolled.identities), len(everyone.embeddings)
    if not len(tracks):
        return Links(np.zeros(0, np.int64), as_table(tracks.frame, np.zeros(0, np.int64)), limit, travel_times)
    comparable = Comparable.of(everyone)
    people = _People(comparable, Constraints(ended.frame, travel_times, overlapping=overlapping), enrolled, limit)
    links = []
    with progress_bar(total, description, unit="track") as bar:
        for block, later, earlier, distances in near_earlier(comparable, np.inf):
            for track in range(max(known, block.start), block.stop):
                near = slice(*np.searchsorted(later, [track, track + 1]))
                links.append(people.decide(track, earlier[near], distances[near]))
            bar.update(block.stop - block.start)
    columns = zip(*(one for one in links if one))
    table = as_table(frame, people.identity, *columns)
    identities = np.zeros(len(tracks), np.int64)
    identities[order] = people.identity[known:]
    return Links(identities, table, limit, travel_times)


class _People:
    """Identities so far. Those who are enrolled come before the tracks: track t is number `known` + t."""

    def __init__(self, comparable: Comparable, constraints: Constraints, enrolled: Enrolled, limit: float):
        self.known = len(enrolled.identities)
        self.identity = np.zeros(len(comparable.rows), np.int64)
        self.identity[: self.known] = enrolled.identities
        self._members: dict[int, list[int]] = collections.defaultdict(list)
        for number, identity in enumerate(self.identity[: self.known].tolist()):
            self._members[identity].append(number)
        self._next = int(self.identity.max()) + 1
        self._comparable, self._constraints, self._limit = comparable, constraints, limit

    def decide(self, one: int, near: np.ndarray, distances: np.ndarray) -> tuple | None:
        """Gives a track its identity.

        Args:
            one: its number.
            near: numbers of those before it, the nearest of them at least.
            distances: to them.

        Returns:
            Its number, that of the nearest one of its identity and its distance, and both of the nearest one of another
            identity that it could be, -1 and NaN where there is none; None for somebody new.
        """
        ordered = np.lexsort((near, distances))
        near, distances = near[ordered], distances[ordered]
        candidates = dict.fromkeys(self.identity[near[distances <= self._limit]].tolist())
        means = sorted((self._comparable.mean([one], self._members[identity]), identity) for identity in candidates)
        for mean, identity in means:
            if mean <= self._limit and self._allow(one, self._members[identity]):
                break
        else:
            self._take(one, self._next)
            self._next += 1
            return None
        self._take(one, identity)
        own = np.flatnonzero(self.identity[near] == identity)[0]
        others = np.flatnonzero(self.identity[near] != identity).tolist()
        other = next((place for place in others if self._allow(one, [near[place]])), None)
        alternative = (-1, np.nan) if other is None else (int(near[other]), float(distances[other]))
        return (one, int(near[own]), float(distances[own]), *alternative)

    def _take(self, one: int, identity: int) -> None:
        self.identity[one] = identity
        self._members[identity].append(one)

    def _allow(self, one: int, members: Sequence[int]) -> bool:
        seen = [other - self.known for other in members if other >= self.known]
        return self._constraints.allow([one - self.known], seen)


def _check(enrolled: Enrolled, tracks: Tracks) -> None:
    """Raises ReidError where the enrolled cannot be compared with the tracks."""
    shapes, width = (np.shape(enrolled.identities), np.shape(enrolled.embeddings)), np.shape(tracks.embeddings)[1]
    if shapes[1] != (*shapes[0], width) or (len(enrolled.identities) and np.min(enrolled.identities) < 1):
        raise ReidError(
            f"enrolled have identities {list(shapes[0])} and embeddings {list(shapes[1])}: expected an identity, 1 or "
            f"more, and an embedding of {width} numbers each, as the tracks have."
        )
