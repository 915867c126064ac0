"""Detecting and tracking people where there are no boxes yet: a demonstration, by OpenCV's oldest people detector.

Histograms of oriented gradients and a linear classifier (Dalal and Triggs 2005) find people who stand upright and in
full view; it misses many and invents some. ByteTrack (Zhang et al. 2022, as supervision has it) numbers them. For
anything but a first look, bring the boxes of a detector and tracker of today. The extra `detect` has both.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from keras_reid.data.video import import_cv2
from keras_reid.errors import ReidError
from keras_reid.tracks.boxes import COLUMNS
from keras_reid.tracks.frames import frame_count, frame_size, frames_of

_HEIGHT = 640  # of a picture in which people are looked for; they must be some 90 of these pixels high
_ASIDE, _ABOVE, _BELOW = 0.17, 0.14, 0.09  # shares of the detector's window that are no person
_SHORTEST = 3  # boxes; a shorter track is more often nobody


def detect(frames: str | os.PathLike, *, fps: float) -> pd.DataFrame:
    """Finds and tracks people in all frames of a recording, with a progress bar.

    Args:
        frames: a folder of pictures, or a video file.
        fps: frames a second.

    Returns:
        Boxes as `boxes.read_boxes` gives them; tracks are numbered from 1, in order of appearance.

    Raises:
        ReidError: the frames cannot be read, or the extra `detect` is missing.
    """
    supervision, cv2 = _import_supervision(), import_cv2()
    finder = cv2.HOGDescriptor()
    finder.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    scale, count, rows = _HEIGHT / frame_size(frames)[0], frame_count(frames), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class has moved to a package that wants NumPy 2
        # A person is given up after 30 frames at 30 frames a second, and later at fewer: this is one second.
        tracker = supervision.ByteTrack(frame_rate=max(round(fps), 1), minimum_consecutive_frames=2)
    for frame, picture in tqdm(
        frames_of(frames, range(count)), total=count, desc="Detecting people", unit="frame", disable=None
    ):
        found = tracker.update_with_detections(_detections(supervision, cv2, finder, picture, scale))
        for (left, top, right, bottom), sure, number in zip(found.xyxy, found.confidence, found.tracker_id):
            rows.append((str(number), frame, left, top, right - left, bottom - top, sure))
    boxes = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    boxes = boxes[boxes.groupby("track").track.transform("size") >= _SHORTEST].reset_index(drop=True)
    return boxes.assign(track=(pd.factorize(boxes.track)[0] + 1).astype(str))


def _detections(supervision: Any, cv2: Any, finder: Any, picture: np.ndarray, scale: float) -> Any:
    """Returns the people of one picture, in its own pixels, as supervision's Detections."""
    smaller = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), None, fx=scale, fy=scale)
    windows, scores = finder.detectMultiScale(smaller, winStride=(8, 8), padding=(8, 8), scale=1.1)
    if not len(windows):
        return supervision.Detections.empty()
    left, top, width, height = (np.array(windows, np.float32) / scale).T
    aside, above, below = _ASIDE * width, _ABOVE * height, _BELOW * height
    corners = np.stack([left + aside, top + above, left + width - aside, top + height - below], axis=1)
    sure = 1 / (1 + np.exp(-2 * np.ravel(scores)))  # a distance from the classifier's plane as a share
    people = supervision.Detections(xyxy=corners, confidence=sure, class_id=np.zeros(len(sure), int))
    return people.with_nms(threshold=0.45)


def _import_supervision() -> Any:
    try:
        import supervision

        supervision.ByteTrack  # noqa: B018  it left in 0.31
    except (ImportError, AttributeError) as error:
        raise ReidError(
            f"detecting people needs supervision below 0.31, which cannot be imported ({error}): "
            "pip install 'keras_reid[detect]', on Python 3.10 or later. Or bring the boxes of a tracker of yours."
        ) from error
    return supervision
