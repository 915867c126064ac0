"""A tracker's output, made from the truth: boxes off by a little, gaps, new numbers after them, and false boxes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.data.synthetic.views import SIZE

_SEEN = 0.4  # of a body, below which the detector misses it
_PATIENCE = 0.6  # seconds after which a lost person gets a new number
_SHORTEST = 3  # boxes; a tracker reports nothing shorter
_FALSE_EVERY = 12.0  # seconds between two false tracks
_LOSES = 0.06  # share of tracks per second that end for no visible reason


def track(truth: pd.DataFrame, *, frames: int, fps: float, random: np.random.Generator) -> pd.DataFrame:
    """Returns what a tracker would find.

    Args:
        truth: as of `film.people_table`, one camera.
        frames: of the recording.
        fps: frames a second.
        random: draws everything that a tracker does by chance.

    Returns:
        A row for each box, by frame: frame, track (from 1, in order of appearance), x, y, width, height, confidence.
    """
    parts, number = [], 0
    for _, person in truth.groupby("person", sort=True):
        found = _detected(person, random)
        gaps = np.diff(found.frame, prepend=-(10**9)) > _PATIENCE * fps
        lost = random.random(len(found)) < _LOSES / fps
        pieces = np.cumsum(gaps | lost)
        for piece in np.unique(pieces):
            part = found[pieces == piece]
            if len(part) >= _SHORTEST:
                parts.append(part.assign(track=(number := number + 1)))
    for frame in np.flatnonzero(random.random(frames) < 1 / (_FALSE_EVERY * fps)):
        parts.append(_false_boxes(int(frame), frames, random).assign(track=(number := number + 1)))
    columns = ["frame", "track", "x", "y", "width", "height", "confidence"]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype="float64") for name in columns})
    rows = pd.concat(parts).sort_values(["frame", "track"], kind="stable")
    rows["track"] = pd.factorize(rows.track)[0] + 1
    return rows[columns].reset_index(drop=True)


def _detected(person: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Returns the frames in which a detector finds a person, with its boxes: where part is hidden, it is less sure."""
    sure = np.clip((person.visibility - _SEEN) / 0.3, 0, 1) * 0.98
    person = person[random.random(len(person)) < sure]
    # Errors drift: those of two frames have 0.8 in common.
    errors = random.normal(0, 0.018, (len(person), 4))
    for row in range(1, len(errors)):
        errors[row] = 0.8 * errors[row - 1] + 0.6 * errors[row]
    height = person.height * (1 + errors[:, 2])
    width = person.width * (1 + errors[:, 2] + errors[:, 3])
    confidence = np.clip(0.35 + 0.55 * person.visibility + random.normal(0, 0.05, len(person)), 0.3, 0.99)
    return pd.DataFrame(
        {
            "frame": person.frame,
            "x": person.x + person.width / 2 + errors[:, 0] * person.height - width / 2,
            "y": person.y + person.height + errors[:, 1] * person.height - height,
            "width": width,
            "height": height,
            "confidence": confidence,
        }
    )


def _false_boxes(frame: int, frames: int, random: np.random.Generator) -> pd.DataFrame:
    """Returns a few boxes of nobody in successive frames."""
    count = int(min(random.integers(1, 6), frames - frame))
    height = random.uniform(60, 120)
    left, top = random.uniform(0, SIZE[1] - 0.5 * height), random.uniform(40, SIZE[0] - height)
    drift = random.normal(0, 0.6, (count, 2)).cumsum(axis=0)
    return pd.DataFrame(
        {
            "frame": np.arange(frame, frame + count),
            "x": left + drift[:, 0],
            "y": top + drift[:, 1],
            "width": 0.45 * height,
            "height": height,
            "confidence": random.uniform(0.3, 0.5, count),
        }
    )
