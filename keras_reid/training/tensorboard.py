"""Decides what TensorBoard shows of a run: one file of events for each epoch, by the step of the run.

A file is named by its step and written whole, so that an epoch that is made again takes the place of what was known of
it: TensorFlow's own writer only ever adds to what is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from keras_reid.data.images import read_image
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf
from keras_reid.losses.distances import pairwise_distances

_PREFIX = "events.out.tfevents."  # what makes it a file of events
_PEOPLE, _IMAGES_OF_EACH = 32, 4  # behind the histograms
_AT_ONCE = 32


def write_events(
    folder: Path,
    step: int,
    what: str,
    scalars: Mapping[str, float],
    histograms: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes what TensorBoard shows of a step, in place of what was known of it.

    Args:
        folder: that TensorBoard is pointed at.
        step: of the run.
        what: tells files of one step apart, "epoch" or "scores".
        scalars: name -> number.
        histograms: name -> numbers.
    """
    summaries = [scalar_pb(name, value) for name, value in scalars.items()]
    summaries += [histogram_pb(name, values) for name, values in (histograms or {}).items() if len(values)]
    events = [Event(wall_time=time.time(), step=step, summary=summary) for summary in summaries]
    with whole_or_not_at_all(folder / f"{_PREFIX}{step:08d}.{what}") as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for event in (Event(wall_time=time.time(), file_version="brain.Event:2"), *events):
                writer.write(event.SerializeToString())


class EmbeddingHistograms:
    """Distances and lengths of the embeddings of some training images, always the same, as the network would ship.

    They are 4 images, not augmented, of each of 32 people, both spread evenly over those there are.

    Args:
        images: the training images, a catalog.
        image_size: (height, width).
    """

    def __init__(self, images: pd.DataFrame, *, image_size: tuple[int, int]):
        people = _evenly(np.unique(images.person_id), _PEOPLE)
        rows = np.concatenate([_evenly(np.flatnonzero(images.person_id == one), _IMAGES_OF_EACH) for one in people])
        self._person_ids = images.person_id.to_numpy()[rows]
        self._images = np.stack([read_image(str(path), image_size).numpy() for path in images.image_path.iloc[rows]])

    def of(self, embedder: keras.Model, *, metric: str) -> dict[str, np.ndarray]:
        """Returns name -> numbers: distances of pairs of one person, of two, and norms of embeddings."""
        parts = [self._images[start : start + _AT_ONCE] for start in range(0, len(self._images), _AT_ONCE)]
        embeddings = np.concatenate([embedder(tf.cast(part, tf.float32), training=False).numpy() for part in parts])
        distances = pairwise_distances(tf.constant(embeddings), metric=metric).numpy()
        same = self._person_ids[:, None] == self._person_ids
        once = np.triu(np.ones_like(same), k=1)
        return {
            "positive_distances": distances[same & once],
            "negative_distances": distances[~same & once],
            "embedding_norms": np.linalg.norm(embeddings, axis=1),
        }


def _evenly(values: np.ndarray, most: int) -> np.ndarray:
    """Returns at most so many of the values, spread evenly."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]
