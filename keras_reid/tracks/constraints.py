"""Constraints of linking: which tracks cannot be one person, whatever they look like."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from keras_reid.tracks.pairs import gaps
from keras_reid.tracks.travel_times import TravelTimes

_ROUNDING = 1e-5  # seconds: float64 keeps 2e-7 of a time since 1970


class Constraints:
    """What T tracks, sorted by their end, allow: nobody is twice in one camera, nor faster elsewhere than possible.

    Two tracks of one camera may share a frame at their ends and no more; two that begin in one frame are two people.
    The least time between two cameras holds for any two tracks of a person, the most for one and the next after it:
    someone who was seen in between may have come a long way. Nobody is in two cameras at one time that see no place in
    common.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        travel_times: TravelTimes | None = None,
        different: Iterable[tuple[int, int]] = (),
        overlapping: Collection[tuple[str, str]] | None = None,
        *,
        in_one_camera: bool = True,
    ):
        """Makes the constraints of tracks.

        Args:
            frame: camera, start and end of the tracks, sorted by end.
            travel_times: between cameras.
            different: pairs of rows of which somebody said that they are not the same person.
            overlapping: pairs of cameras that see one place; nobody is in two others at one time. None: not known.
            in_one_camera: whether tracks of one camera that overlap in time are two people.
        """
        codes, names = pd.factorize(frame.camera)
        least, most = (travel_times or TravelTimes({})).matrices(list(names))
        if overlapping is not None:
            pairs = {frozenset(pair) for pair in overlapping}
            apart = [[frozenset((one, other)) not in pairs for other in names] for one in names]
            least[np.array(apart, bool).reshape(least.shape) & np.isneginf(least)] = 0
        self._frame, self._codes, self._in_one_camera = frame, codes, in_one_camera
        self._least, self._windows = least - _ROUNDING, travel_times is not None or overlapping is not None
        # Lists: asked for one number at a time, they are several times faster than arrays.
        self._camera, self._shortest, self._longest = codes.tolist(), self._least.tolist(), (most + _ROUNDING).tolist()
        self._start, self._end = (frame[name].tolist() for name in ("start", "end"))
        self._different: dict[int, set[int]] = collections.defaultdict(set)
        for one, other in different:
            self._different[one].add(other)
            self._different[other].add(one)

    def allow(self, first: Iterable[int], second: Iterable[int]) -> bool:
        """Returns whether two groups of tracks may be one person; each group alone may be."""
        first, second = set(first), set(second)
        if self._different and any(self._different[one] & second for one in first if one in self._different):
            return False
        seen: dict[int, int] = {}  # camera -> the last track so far
        before = None
        for track in sorted(first | second):
            camera = self._camera[track]
            if self._in_one_camera and camera in seen and self._twice(seen[camera], track):
                return False
            if self._windows and any(self._too_fast(earlier, track) for earlier in seen.values()):
                return False
            if self._windows and before is not None and self._too_slow(before, track):
                return False
            seen[camera] = before = track
        return True

    def possible(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns whether each pair of tracks may be one person with others seen in between, bool `[N]`."""
        first, second = np.broadcast_arrays(first, second)
        gap, forward = gaps(self._frame, first, second)
        earlier, later = np.where(forward, first, second), np.where(forward, second, first)
        one_camera = self._codes[earlier] == self._codes[later]
        possible = one_camera | (gap >= self._least[self._codes[earlier], self._codes[later]])
        if self._in_one_camera:
            start, end = (self._frame[name].to_numpy(float) for name in ("start", "end"))
            since = start[later] - start[earlier]
            possible &= ~(one_camera & ((start[later] < end[earlier] - _ROUNDING) | (np.abs(since) < _ROUNDING)))
        if self._different:
            said = [self._different.get(one, ()) for one in first.tolist()]
            possible &= np.array([other not in ones for other, ones in zip(second.tolist(), said)], bool)
        return possible

    def _gap(self, earlier: int, later: int) -> float:
        return max(self._start[earlier], self._start[later]) - self._end[earlier]

    def _twice(self, earlier: int, later: int) -> bool:
        """Returns whether two tracks of one camera are two people; `later` ends later."""
        since = self._start[later] - self._start[earlier]
        return self._start[later] < self._end[earlier] - _ROUNDING or abs(since) < _ROUNDING

    def _too_fast(self, earlier: int, later: int) -> bool:
        one, other = self._camera[earlier], self._camera[later]
        return one != other and self._gap(earlier, later) < self._shortest[one][other]

    def _too_slow(self, earlier: int, later: int) -> bool:
        return self._gap(earlier, later) > self._longest[self._camera[earlier]][self._camera[later]]
