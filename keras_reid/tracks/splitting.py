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
    seen, renamed, result = defaultdict(set), 0, {}
    for place in sorted(range(len(recordings)), key=lambda place: recordings[place].start):
        recording, camera = recordings[place], recordings[place].camera
        parts = _parts(recording.boxes, split_gap * recording.fps)
        names = {}
        for track, part in parts.drop_duplicates().itertuples(index=False):
            name, count = track, 1
            while name in seen[camera] or (count > 1 and name in used[camera]):
                count += 1
                name = f"{track}+{count}"
            seen[camera].add(name)
            names[track, part] = name
        new = [(pair, name) for pair, name in names.items() if pair[0] != name]
        renamed += len(new)
        boxes = recording.boxes
        if new:
            boxes = boxes.assign(track=[names[pair] for pair in parts.itertuples(index=False, name=None)])
        result[place] = dataclasses.replace(recording, boxes=boxes)
    return [result[place] for place in range(len(recordings))], renamed


def _parts(boxes: pd.DataFrame, frames: float) -> pd.DataFrame:
    """Returns the track of each box, and how many gaps of more than so many frames the track had before it."""
    order = np.lexsort([boxes.frame.to_numpy(), pd.factorize(boxes.track)[0]])
    track, frame = boxes.track.to_numpy()[order], boxes.frame.to_numpy()[order]
    is_new = np.zeros(len(boxes), np.int64)
    is_new[1:] = (track[1:] == track[:-1]) & (np.diff(frame) > frames)
    parts = pd.Series(is_new).groupby(pd.factorize(track)[0]).cumsum().to_numpy()
    found = np.empty(len(boxes), np.int64)
    found[order] = parts
    return pd.DataFrame({"track": boxes.track.to_numpy(), "part": found})
