"""What the tests of tracks share: people of one color each, who walk through videos or folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SIZE = (60, 80)  # height and width of the pictures
COLORS = {"1": (200, 30, 30), "2": (30, 200, 30), "3": (30, 30, 200)}


def mean_color(*, metric: str = "euclidean", threshold: float | None = 9.0):
    """An artifact whose embedding of an image is its mean color."""
    from keras_reid.artifacts import Artifact  # TensorFlow

    metadata = {"embedding_size": 3, "image_size": [16, 8], "metric": metric, "network_fingerprint": "c" * 32}
    metadata |= {"threshold": threshold, "false_positive_rate": 1e-3}
    return Artifact("mean color", "reference", metadata, lambda images: images.mean(axis=(1, 2)).astype(np.float32))


def walk(track: str, *, first: int, last: int, x: float = 10, y: float = 10, step: float = 0.0) -> pd.DataFrame:
    """Boxes of 8 x 20 pixels, one a frame."""
    frame = np.arange(first, last + 1)
    columns = {"track": track, "frame": frame, "x": x + step * (frame - first), "y": y, "width": 8.0, "height": 20.0}
    return pd.DataFrame({**columns, "confidence": np.nan})


def drawn(boxes: pd.DataFrame, frame: int) -> np.ndarray:
    """The picture of a frame: a box of its track's color for each person, with a checkered edge of detail."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    for box in boxes[boxes.frame == frame].itertuples():
        left, top = max(0, int(box.x)), max(0, int(box.y))
        picture[top : int(box.y + box.height), left : int(box.x + box.width)] = COLORS.get(box.track.split("+")[0], 0)
    return picture


def write_pictures(folder: Path, boxes: pd.DataFrame, frames) -> Path:
    folder.mkdir(parents=True)
    for frame in frames:
        Image.fromarray(drawn(boxes, frame)).save(folder / f"{frame + 1:06}.png")
    return folder


def write_video(path: Path, boxes: pd.DataFrame, frames: int, *, fps: float = 10.0) -> Path:
    cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, SIZE[::-1])
    for frame in range(frames):
        writer.write(drawn(boxes, frame)[:, :, ::-1].copy())
    writer.release()
    return path


def write_mot(path: Path, boxes: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = boxes.assign(frame=boxes.frame + 1, confidence=boxes.confidence.fillna(1), a=-1, b=-1, c=-1)
    names = ["frame", "track", "x", "y", "width", "height", "confidence", "a", "b", "c"]
    rows[names].to_csv(path, header=False, index=False)
    return path
