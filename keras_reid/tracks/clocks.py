"""Clocks of recordings: when each began, and signs that one goes wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from keras_reid.errors import ReidError

if TYPE_CHECKING:
    from keras_reid.tracks.recordings import Recording


def clock_lines(recordings: Sequence[Recording]) -> list[str]:
    """Returns a line for each sign of a wrong clock: people's ways between cameras are judged by it."""
    unknown = sorted({one.camera for one in recordings if not one.start})
    lines = []
    if unknown and len(unknown) < len({one.camera for one in recordings}):
        lines.append(
            f"no start is known of camera {', '.join(unknown)}, but of others: times between them mean nothing"
        )
    for one in recordings:
        if one.start > time.time() + 86_400:
            lines.append(f"camera {one.camera} starts in the future: {pd.Timestamp(one.start, unit='s', tz='UTC')}")
    for camera in sorted({one.camera for one in recordings}):
        own = sorted((one for one in recordings if one.camera == camera), key=lambda one: one.start)
        for before, after in zip(own, own[1:]):
            end = before.start + (before.boxes.frame.max() + 1 if len(before.boxes) else 0) / before.fps
            if after.start < end:
                lines.append(
                    f"two recordings of camera {camera} overlap by {end - after.start:.1f} s: check their starts"
                )
    return lines


def start_in(text: str) -> float:
    """Returns unix seconds of a time; 0 where none is given."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        return _time(text)
    if not 0 <= seconds < 1e11:
        raise ReidError(
            f"start={text}, expected unix seconds, such as 1714564800; milliseconds are 1000 times too many."
        )
    return seconds


def _time(text: str) -> float:
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ReidError(f"start={text}, expected a time such as 2024-05-01T14:00:00+02:00, or unix seconds.") from error
    if moment.tzinfo is None:
        raise ReidError(
            f"start={text} has no time zone: write it behind, as in 2024-05-01T14:00:00+02:00, or Z for UTC."
        )
    return moment.timestamp()
