"""TensorBoard events of a run: a file for each epoch, and for its scores and the ranked lists of some queries.

A file is named by its step and written whole: an epoch that is made again replaces it, where TensorFlow's own writer
would only add to what is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.util.tensor_util import make_tensor_proto

from keras_reid.data.images import read_image
from keras_reid.evaluation.ranked import ranked_lists
from keras_reid.evaluation.scoring import Score
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf
from keras_reid.losses.distances import pairwise_distances
from keras_reid.reports.plots import png
from keras_reid.reports.sheets import draw_ranked_lists

_IDENTITIES, _IMAGES_OF_EACH = 32, 4  # in the histograms
_AT_ONCE = 32
_QUERIES, _IMAGES_OF_LIST = 4, 7


def write_events(
    folder: Path,
    step: int,
    what: str,
    scalars: Mapping[str, float],
    histograms: Mapping[str, np.ndarray] | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> None:
    """Writes the numbers that TensorBoard shows at a step, in place of earlier ones.

    Args:
        folder: of TensorBoard.
        step: of the run.
        what: tells files of one step apart, "epoch" or "scores".
        scalars: name -> number.
        histograms: name -> numbers.
        pictures: name -> content of a PNG file.
    """
    summaries = [scalar_pb(name, value) for name, value in scalars.items()]
    summaries += [histogram_pb(name, values) for name, values in (histograms or {}).items() if len(values)]
    summaries += [_picture(name, content) for name, content in (pictures or {}).items()]
    events = [Event(wall_time=time.time(), step=step, summary=summary) for summary in summaries]
    with whole_or_not_at_all(folder / f"events.out.tfevents.{step:08d}.{what}") as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for event in (Event(wall_time=time.time(), file_version="brain.Event:2"), *events):
                writer.write(event.SerializeToString())


def _picture(name: str, content: bytes) -> Summary:
    """Returns the summary of a picture, as TensorBoard reads it: width, height, and the PNG file."""
    size = [str(int.from_bytes(content[start : start + 4], "big")).encode() for start in (16, 20)]
    metadata = create_summary_metadata(display_name=None, description="")
    return Summary(value=[Summary.Value(tag=name, metadata=metadata, tensor=make_tensor_proto([*size, content]))])


def draw_fixed_queries(score: Score, *, seed: int = 0) -> bytes:
    """Returns the ranked lists of some queries, the same for each score on a catalog, as the content of a PNG file."""
    scored = np.flatnonzero(score.result.first_match_rank)
    rows = np.sort(np.random.default_rng(seed).permutation(scored)[:_QUERIES])
    lists = ranked_lists(score.embedded, rows, depth=_IMAGES_OF_LIST, **score.rules)
    title = f"{len(rows)} of {score.result.queries:,} queries, the same at every step"
    return png(draw_ranked_lists(score.embedded, lists, title=title, columns=_IMAGES_OF_LIST), dpi=100)


class EmbeddingHistograms:
    """Distances and norms of the embeddings of some training images, always the same and not augmented.

    Args:
        images: catalog of the training images, from which 4 images of 32 identities are taken, spread evenly.
    """

    def __init__(self, images: pd.DataFrame):
        ids = _evenly(np.unique(images.person_id), _IDENTITIES)
        rows = np.concatenate([_evenly(np.flatnonzero(images.person_id == one), _IMAGES_OF_EACH) for one in ids])
        self._person_ids = images.person_id.to_numpy()[rows]
        self._paths, self._images = [str(path) for path in images.image_path.iloc[rows]], None

    def of(self, embedder: keras.Model, *, metric: str) -> dict[str, np.ndarray]:
        """Returns name -> numbers: distances of positive and of negative pairs, and norms of embeddings."""
        size = embedder.input_shape[1:3]
        if self._images is None or self._images.shape[1:3] != size:
            self._images = np.stack([read_image(path, size).numpy() for path in self._paths])
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
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]
