"""Search inside a SavedModel: the gallery as constants of the graph, and the nearest of its embeddings."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_reid.artifacts.distances import comparable, distances_of
from keras_reid.artifacts.embeddings_file import read_embeddings
from keras_reid.artifacts.network import check_one_network
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.ids import as_names, names_of
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Candidates beyond the k that are wanted: float32 products may exchange neighbors, exact distances reorder them.
_SPARE = 32


class Gallery(NamedTuple):
    """Embeddings to search, and their identities."""

    ids: np.ndarray  # int64 or str [G]
    embeddings: np.ndarray  # float32 [G, D]
    rows: np.ndarray  # int32 [G], the row of each in the file that it was read from

    def as_variables(self, metric: str) -> tf.Module:
        """Returns the variables of the graph: embeddings as the metric compares them, moved so that their mean is 0."""
        rows = comparable(self.embeddings.astype(np.float64), metric).numpy()
        center = rows.mean(axis=0)  # far from 0, float32 products could not tell neighbors apart
        module = tf.Module()
        module.ids = tf.Variable(tf.convert_to_tensor(self.ids), trainable=False, name="gallery_ids")
        module.rows = tf.Variable(self.rows, trainable=False, name="gallery_rows")
        module.center = tf.Variable(center.astype(np.float32), trainable=False, name="gallery_center")
        centered = (rows - module.center.numpy()).astype(np.float32)
        module.embeddings = tf.Variable(centered, trainable=False, name="gallery_embeddings")
        return module


def read_gallery(
    path: str | os.PathLike, *, metric: str, embedding_size: int, network_fingerprint: str | None = None
) -> Gallery:
    """Reads the gallery for `search` from saved embeddings, as `python -m keras_reid.embed` writes them.

    Its ids are the column person_id, or image_path where there is none. Junk (id -1) is left out. The metric, the
    width and the fingerprint of the embeddings must be those of the network; a file without a fingerprint is taken,
    with a line that says so.

    Raises:
        ReidError: another width, metric or network, numbers that are not finite, missing ids, or junk alone.
    """
    saved = read_embeddings(path)
    if saved.embeddings.shape[1] != embedding_size:
        raise ReidError(
            f"gallery={path} holds embeddings of width {saved.embeddings.shape[1]}, the network gives "
            f"{embedding_size}: embed the gallery with this network."
        )
    if saved.metric not in (None, metric):
        raise ReidError(f"gallery={path} is compared by {saved.metric}, the network by {metric}: embed it again.")
    check_one_network({f"{os.fspath(path)!r}": saved.network_fingerprint, "the network": network_fingerprint})
    broken = ~np.isfinite(saved.embeddings).all(axis=1)
    if broken.any():
        raise ReidError(f"gallery={path} holds NaN or inf in row {broken.argmax()}: embed it again.")
    column = next((name for name in ("person_id", "image_path") if name in saved.frame), None)
    if column is None or saved.frame[column].isna().any():
        raise ReidError(
            f"gallery={path} names no {column or 'person_id and no image_path'}{' in some rows' if column else ''}: "
            "expected one for each embedding, as the answer of a search. gallery export and named leave those out."
        )
    kept = np.flatnonzero((as_names(saved.frame[column]) != str(JUNK_ID)).to_numpy(bool))  # text too
    if not len(kept):
        raise ReidError(f"gallery={path} holds junk (id -1) alone: expected somebody to find.")
    ids = names_of(saved.frame, column)
    is_integer = pd.api.types.is_integer_dtype(ids)
    ids = ids.to_numpy(np.int64) if is_integer else as_names(ids).to_numpy(object)
    return Gallery(ids[kept], saved.embeddings[kept], kept.astype(np.int32))


def nearest(queries: tf.Tensor, gallery: tf.Module, metric: str, neighbors: int) -> dict[str, tf.Tensor]:
    """Returns the k nearest of a gallery's variables to embeddings, float32 `[N, D]`; all where there are fewer.

    Returns:
        `ids` `[N, k]`, `distances` float32 `[N, k]`, ascending, and `rows` int32 `[N, k]`.
    """
    queries = comparable(queries, metric) - gallery.center
    embeddings = gallery.embeddings.read_value()
    size = gallery.embeddings.shape[0]
    closeness = tf.matmul(queries, embeddings, transpose_b=True) - tf.reduce_sum(embeddings**2, axis=1) / 2
    found = tf.math.top_k(closeness, min(size, neighbors + _SPARE)).indices
    distances = distances_of(tf.gather(embeddings, found), queries[:, None], metric)
    order = tf.argsort(distances, axis=1, stable=True)[:, : min(size, neighbors)]
    found = tf.gather(found, order, batch_dims=1)
    return {
        "ids": tf.gather(gallery.ids, found),
        "distances": tf.gather(distances, order, batch_dims=1),
        "rows": tf.gather(gallery.rows, found),
    }
