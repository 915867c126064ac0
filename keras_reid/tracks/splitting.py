"""Splitting: a track id that a tracker uses again after a long gap is another track."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.tracks.recordings import Recording


def split_tracks(recordings: Sequence[Recording], *, split_gap: float = 30.0) -> tuple[list[Recording], int]:
    """Gives each track a name of its own in its camera: 7 stays 7, what follows a gap becomes 7+2, and so on.

    Ids count anew in each recording of a camera, too: trackers do.

    Args:
        recordings: of one or many cameras.
        split_gap: seconds without a box after which an id is taken for another person's.

    Returns:
        The recordings in their order, and how many tracks were given a new name.
    """
    used = defaultdict(set)
    for recording in recordings:
        used[recording.camera] |= set(recording.boxes.track)
    seen, renamed, result = defaultdict(set), 0, list(recordings)
    for place in sorted(range(len(recordings)), key=lambda place: recordings[place].start):
        recording = recordings[place]
        parts, tracks = _parts(recording.boxes, split_gap * recording.fps)
        names = [_new_name(track, seen[recording.camera], used[recording.camera]) for track in tracks]
        changed = sum(name != track for name, track in zip(names, tracks))
        if changed:
            boxes = recording.boxes.assign(track=np.array(names, object)[parts])
            result[place] = dataclasses.replace(recording, boxes=boxes)
        renamed += changed
    return result, renamed


def _new_name(track: str, seen: set[str], used: set[str]) -> str:
    """Returns a name that no track before has and, but for its own, none that the tracker uses; adds it to `seen`."""
    name, count = track, 1
    while name in seen or (count > 1 and name in used):
        count += 1
        name = f"{track}+{count}"
    seen.add(name)
    return name


def _parts(boxes: pd.DataFrame, frames: float) -> tuple[np.ndarray, np.ndarray]:
    """Cuts tracks at gaps of more than so many frames.

    Returns:
        For each box the number of its part, int64 `[N]`; and the id of each part, those of one id in the order of time.
    """
    codes, ids = pd.factorize(boxes.track)
    order = np.lexsort([boxes.frame.to_numpy(), codes])
    code, frame = codes[order], boxes.frame.to_numpy()[order]
    begins = np.ones(len(boxes), bool)
    begins[1:] = (code[1:] != code[:-1]) | (np.diff(frame) > max(frames, 1))
    parts = np.empty(len(boxes), np.int64)
    parts[order] = np.cumsum(begins) - 1
    return parts, np.asarray(ids, object)[code[begins]]
