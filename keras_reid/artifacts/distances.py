"""Distance of embeddings by an artifact's metric: one formula for NumPy arrays, and for the graph of a SavedModel."""

from __future__ import annotations

from keras_reid.keras2 import tf


def comparable(embeddings: tf.Tensor, metric: str) -> tf.Tensor:
    """Returns embeddings `[..., D]` as the metric compares them: as they are, or under "cosine" scaled to length 1.

    An embedding of length 0 has no direction and stays as it is.
    """
    embeddings = tf.convert_to_tensor(embeddings)
    if metric != "cosine":
        return embeddings
    return tf.math.divide_no_nan(embeddings, tf.norm(embeddings, axis=-1, keepdims=True))


def distances_of(first: tf.Tensor, second: tf.Tensor, metric: str) -> tf.Tensor:
    """Returns the distances of paired embeddings by explicit difference: exact near 0.

    Args:
        first: `comparable` embeddings, float `[..., D]`.
        second: the same, of a shape that broadcasts with the first.
        metric: "euclidean", or "cosine" for the cosine distance: 1 - cosine similarity, which is half the squared
            difference of two vectors of length 1.

    Returns:
        `[...]`, of the dtype of the embeddings.
    """
    squared = tf.reduce_sum(tf.math.squared_difference(first, second), axis=-1)
    return squared / 2 if metric == "cosine" else tf.sqrt(squared)
