"""Timelines: when each camera saw whom, a bar for each track with its crop, in as few lanes as hold them."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.reports.crops import Crop
from keras_reid.tracks.tracks_file import FIRST_CLOCK

COLORS = 8  # of report.css, c0 to c7
WIDTH, LANE, TOP = 1000, 66, 22  # of the drawing; a lane; the axis above them
THUMBNAIL = (48, 24)  # height, width of a crop on a timeline
_MARGIN = 40
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclasses.dataclass(frozen=True)
class Bar:
    """A track on a timeline; numbers are places in the drawing."""

    left: float
    top: float
    width: float
    identity: int
    color: str
    crop: Crop
    words: str
    shown: bool  # whether the page tells more of this person


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The tracks of one camera."""

    camera: str
    bars: Sequence[Bar]
    ticks: Sequence[tuple[float, str]]
    height: float
    tracks: int  # of the camera; the bars are the first of them
    width: int = WIDTH


def timeline(
    camera: str, frame: pd.DataFrame, crops: Sequence[Crop], span: tuple[float, float], shown: set[int], most: int
) -> Timeline:
    """Returns the timeline of one camera.

    Args:
        camera: its name.
        frame: its tracks in the order of start: track, start, end, identity, linked.
        crops: of each of the first `most`.
        span: first and last second of the drawing.
        shown: identities that the page tells more of.
        most: bars at most.
    """
    scale = (WIDTH - 2 * _MARGIN) / max(span[1] - span[0], 1e-9)
    ends: list[float] = []  # of the last bar in each lane
    bars = []
    for one, crop in zip(frame.head(most).itertuples(), crops):
        left = _MARGIN + scale * (one.start - span[0])
        width = max(scale * (one.end - one.start), THUMBNAIL[1])
        lane = next((lane for lane, end in enumerate(ends) if end <= left), len(ends))
        ends[lane : lane + 1] = [left + max(width, 2 * THUMBNAIL[1] + 4) + 2]  # the number stands beside the crop
        words = f"identity {one.identity}, track {one.track}, {as_time(one.start)} to {as_time(one.end)}"
        color = f"c{one.identity % COLORS}" if one.linked else "alone"
        is_shown = one.identity in shown
        bars.append(Bar(left, TOP + LANE * lane, width, one.identity, color, crop, words, is_shown))
    ticks = [(_MARGIN + scale * (second - span[0]), as_time(second)) for second in _ticks(*span)]
    return Timeline(camera, bars, ticks, TOP + LANE * max(1, len(ends)), len(frame))


def as_time(seconds: float) -> str:
    """Returns a time in UTC, or since the start of a recording whose clock is not known."""
    seconds = round(seconds, 3)  # a sum of floats may lie just below a whole second
    if seconds >= FIRST_CLOCK:
        return pd.Timestamp(seconds, unit="s").strftime("%H:%M:%S")
    minutes, rest = divmod(int(np.floor(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def as_moment(seconds: float) -> str:
    """Returns a time with its day, in UTC, or since the start of a recording whose clock is not known."""
    known = seconds >= FIRST_CLOCK
    return f"{pd.Timestamp(seconds, unit='s'):%Y-%m-%d} {as_time(seconds)} UTC" if known else as_time(seconds)


def span_in_words(first: float, last: float) -> str:
    """Returns from when to when, with the day where it is known."""
    if first < FIRST_CLOCK:
        return f"{as_time(first)} to {as_time(last)} since the start"
    days = [pd.Timestamp(second, unit="s").strftime("%Y-%m-%d") for second in (first, last)]
    return f"{days[0]} {as_time(first)} to {days[1] + ' ' if days[0] != days[1] else ''}{as_time(last)} UTC"


def _ticks(first: float, last: float) -> np.ndarray:
    step = _TICKS[min(bisect.bisect_left(_TICKS, (last - first) / 8), len(_TICKS) - 1)]
    step *= max(1, int((last - first) / step / 8))
    return np.arange(np.ceil(first / step) * step, last + 1e-9, step)
