"""Travel times: how long people take from one camera to another, from a file or learned from confident links."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data.tables import check_columns, read_csv
from keras_reid.errors import ReidError
from keras_reid.evaluation.neighbors import nearest_neighbors
from keras_reid.tracks.pairs import Comparable, gaps
from keras_reid.tracks.tracks_file import Tracks

COLUMNS = ("camera_a", "camera_b", "minimum_seconds", "maximum_seconds")
_CONFIDENT = 0.7  # of the threshold: nearer pairs teach
_FEWEST = 8  # links that a window is learned from


@dataclasses.dataclass(frozen=True)
class TravelTimes:
    """Windows of time from the end of a track in one camera to the start of the next in another.

    Attributes:
        windows: (camera, next camera) -> least and most seconds; negative where both cameras see one place. Pairs of
            cameras that are not named have no window.
    """

    windows: Mapping[tuple[str, str], tuple[float, float]]

    def matrices(self, cameras: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and the most seconds from each camera, a row, to each other, float64 `[C, C]`."""
        rows = {camera: row for row, camera in enumerate(cameras)}
        least, most = (np.full((len(rows), len(rows)), value) for value in (-np.inf, np.inf))
        for (one, other), window in self.windows.items():
            if one in rows and other in rows:
                least[rows[one], rows[other]], most[rows[one], rows[other]] = window
        return least, most

    def to_frame(self) -> pd.DataFrame:
        """Returns a row for each window, in the columns of the file that `read_travel_times` reads."""
        return pd.DataFrame([(*pair, *window) for pair, window in self.windows.items()], columns=list(COLUMNS))


def read_travel_times(path: str | os.PathLike) -> TravelTimes:
    """Reads a CSV of windows.

    Args:
        path: the file, with the columns camera_a, camera_b, minimum_seconds and maximum_seconds. A row holds in both
            directions, where no other row names the way back.

    Raises:
        ReidError: the file cannot be read, a number is missing, a window is empty, or a pair is named twice.
    """
    frame = read_csv(path, is_number=COLUMNS[2:].__contains__, as_text=COLUMNS[:2])
    check_columns(frame, path, COLUMNS, ": a row for each pair of cameras.")
    windows: dict[tuple[str, str], tuple[float, float]] = {}
    for name in COLUMNS[:2]:
        frame[name] = frame[name].str.strip()
    for row, one in enumerate(frame[list(COLUMNS)].itertuples(index=False), 1):
        least, most = one.minimum_seconds, one.maximum_seconds
        wrong = None
        if any(pd.isna(value) for value in one):
            wrong = "is not complete"
        elif least > most:
            wrong = f"goes from {least:g} to {most:g} seconds: the minimum is above the maximum"
        elif one.camera_a == one.camera_b:
            wrong = f"names the camera {one.camera_a!r} twice: a window is between two cameras"
        elif (one.camera_a, one.camera_b) in windows:
            wrong = f"names {one.camera_a!r} to {one.camera_b!r} again"
        if wrong:
            raise ReidError(f"{str(path)!r}: row {row} {wrong}. Correct or remove it.")
        windows[one.camera_a, one.camera_b] = float(least), float(most)
    back = {(other, one): window for (one, other), window in windows.items()}
    return TravelTimes({**back, **windows})


def learn_travel_times(
    tracks: Tracks, *, threshold: float | None = None, confident: float = _CONFIDENT, fewest: int = _FEWEST
) -> TravelTimes:
    """Learns windows from confident links: tracks of two cameras that are each other's nearest, well below threshold.

    A window is the 10 % to 90 % range of the times that they took, and half as much again, and a second, on both
    sides; it may be as wide as the recording, and then it rules out nothing.

    Args:
        tracks: of all cameras.
        threshold: as of `link`.
        confident: share of the threshold that a confident link's distance does not exceed.
        fewest: links between two cameras, in one direction, that a window is learned from; with fewer there is none.

    Raises:
        ReidError: no threshold is known.
    """
    limit = confident * known_threshold(tracks, threshold)
    cameras = tracks.frame.camera.to_numpy()
    names = sorted(set(cameras))
    comparable = Comparable.of(tracks)
    times: dict[tuple[str, str], np.ndarray] = {}
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            here, there = np.flatnonzero(cameras == one), np.flatnonzero(cameras == other)
            first, second = _mutual(comparable, here, there, limit)
            took, forward = gaps(tracks.frame, first, second)
            times[one, other], times[other, one] = took[forward], took[~forward]
    return TravelTimes({pair: _window(took) for pair, took in times.items() if len(took) >= fewest})


def known_threshold(calibrated: Any, threshold: float | None) -> float:
    """Returns the threshold that is given, or that of tracks or an artifact; ReidError where there is none."""
    threshold = calibrated.threshold if threshold is None else threshold
    if threshold is None:
        raise ReidError(
            "no threshold is known: links need the largest distance of one person. Calibrate the artifact by evaluate "
            "--calibrate_fpr, or give threshold=NUMBER."
        )
    if not 0 <= threshold < np.inf:
        raise ReidError(f"threshold={threshold}: expected a distance, 0 or more.")
    return float(threshold)


def _mutual(comparable: Comparable, here: np.ndarray, there: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tracks that are each other's nearest up to a distance, as two arrays."""
    rows = comparable.rows
    to_there, to_here = (nearest_neighbors(rows[a], rows[b], 1) for a, b in ((here, there), (there, here)))
    nearest = to_there.indices[:, 0]
    mutual = to_here.indices[nearest, 0] == np.arange(len(here))
    mutual &= comparable.as_distances(to_there.squared_distances[:, 0]) <= limit
    return here[mutual], there[nearest[mutual]]


def _window(took: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(took, [0.1, 0.9])
    slack = (high - low) / 2 + 1
    return float(low - slack), float(high + slack)
