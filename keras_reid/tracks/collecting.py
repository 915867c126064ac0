"""Collecting: the crops of a recording's tracks are embedded in batches, saved as JPEG, and pooled track by track."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from keras_reid.data.images import resize_images
from keras_reid.evaluation.pooling import pool_embeddings
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import tf
from keras_reid.tracks.crops import safe_name
from keras_reid.tracks.cutting import Crop
from keras_reid.tracks.recordings import Recording
from keras_reid.tracks.tracks_file import COLUMNS, Tracks

_JPEG_QUALITY = 90


class Collector:
    """Turns the crops of a recording into tracks.

    Args:
        artifact: embeds the crops.
        recording: whose boxes the crops are from.
        folder: holds `crops/`.
        pool: "quality", the mean weighted by the quality of each crop, or "mean".
        batch_size: crops at once.
    """

    def __init__(self, artifact: Any, recording: Recording, folder: Path, *, pool: str, batch_size: int):
        self._artifact, self._recording, self._folder = artifact, recording, folder
        self._pool, self._batch_size = pool, batch_size
        boxes = recording.boxes
        self._rows = boxes.groupby("track", sort=False).indices
        self._frames = boxes.frame.to_numpy()
        self._boxes = boxes[["x", "y", "width", "height"]].to_numpy(np.float64)
        self._waiting: list[Crop] = []
        self._embedded: dict[str, list[tuple[int, float, str, np.ndarray]]] = defaultdict(list)

    def add(self, crops: Sequence[Crop]) -> None:
        """Takes crops, and embeds them once they fill a batch."""
        self._waiting += crops
        while len(self._waiting) >= self._batch_size:
            self._embed_batch()

    def pooled(self, tracks: Sequence[str], seconds: Mapping[int, float]) -> Tracks:
        """Returns tracks that will get no more crops, and lets go of what it held of them; those without one are lost.

        Args:
            tracks: their names.
            seconds: frame -> time in the recording's own clock, where that is known.
        """
        while self._waiting:
            self._embed_batch()
        found = [(track, self._embedded.pop(track)) for track in tracks if track in self._embedded]
        crops = [crop for _, of_track in found for crop in of_track]
        counts = [len(of_track) for _, of_track in found]
        embeddings = np.array([crop[3] for crop in crops], np.float32)
        pooled, spread = self._pooled(embeddings, counts, [crop[1] for crop in crops])
        clock = _Clock(self._recording, seconds)
        rows = [self._row(track, of_track, clock) for track, of_track in found]
        frame = pd.DataFrame(rows, columns=COLUMNS).assign(spread=spread)
        return tracks_of(self._artifact, frame, pooled)

    def _embed_batch(self) -> None:
        batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
        # At the size of the network all crops are one batch; its own resize then changes nothing.
        pixels = [_resized(crop.pixels, self._artifact.image_size) for crop in batch]
        for crop, embedding in zip(batch, self._artifact.embed(np.stack(pixels))):
            path = f"crops/{safe_name(self._recording.camera)}/{safe_name(crop.track)}/{crop.frame:06}.jpg"
            with whole_or_not_at_all(self._folder / path) as temporary:
                Image.fromarray(crop.pixels).save(temporary, quality=_JPEG_QUALITY)
            self._embedded[crop.track].append((crop.frame, crop.quality, path, embedding))

    def _pooled(self, embeddings: np.ndarray, counts: list[int], quality: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Returns an embedding for each track, and how far its crops' embeddings are from it on average."""
        if not counts:
            return np.zeros((0, self._artifact.metadata["embedding_size"]), np.float32), np.zeros(0, np.float32)
        groups = np.repeat(np.arange(len(counts)), counts)
        weights = np.maximum(quality, 1e-9) if self._pool == "quality" else None
        pooled, starts = pool_embeddings(embeddings, groups, metric=self._artifact.metric, weights=weights)
        distances = self._artifact.distance(embeddings, pooled[groups])
        return pooled, (np.add.reduceat(distances, starts) / counts).astype(np.float32)

    def _row(self, track: str, crops: Sequence[tuple], clock: _Clock) -> list:
        """Returns a row of `COLUMNS`; its spread comes later."""
        frames, box = self._frames[self._rows[track]], self._boxes[self._rows[track]]
        seconds = clock(frames)
        # The first box of each second since the track began, and the last.
        shown = np.unique(np.append(np.searchsorted(seconds, np.arange(seconds[0], seconds[-1])), len(seconds) - 1))
        feet = np.stack([seconds, box[:, 0] + box[:, 2] / 2, box[:, 1] + box[:, 3]], axis=1)[shown]
        place = [self._recording.camera, track, str(self._recording.frames.absolute())]
        times = [seconds[0], seconds[-1], frames[0], frames[-1], len(frames)]
        crops = sorted(crops, key=lambda crop: crop[0])
        return [*place, *times, box[0], feet.ravel(), 0.0, [crop[2] for crop in crops], [crop[1] for crop in crops]]


class _Clock:
    """Times of a recording's frames: by its frame rate or, where that is off by more than a frame, by its own clock."""

    def __init__(self, recording: Recording, seconds: Mapping[int, float]):
        self._start, self._fps = recording.start, recording.fps
        self._known = np.array(sorted(seconds.items()), np.float64).reshape(-1, 2)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        seconds = frames / self._fps
        if len(self._known):
            numbers, times = self._known.T
            own = np.interp(frames, numbers, times)
            beyond = (frames < numbers[0]) | (frames > numbers[-1])
            own = np.where(beyond, own + (frames - np.clip(frames, numbers[0], numbers[-1])) / self._fps, own)
            seconds = np.where(abs(own - seconds) > 1 / self._fps, own, seconds)
        return self._start + np.maximum.accumulate(seconds)


def tracks_of(artifact: Any, frame: pd.DataFrame, embeddings: np.ndarray) -> Tracks:
    """Returns tracks with what an artifact says of embeddings."""
    rate = artifact.metadata.get("false_positive_rate")
    return Tracks(frame, embeddings, artifact.metric, artifact.network_fingerprint, artifact.threshold, rate)


def _resized(pixels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    return tf.cast(tf.round(resize_images(pixels, image_size)), tf.uint8).numpy()
