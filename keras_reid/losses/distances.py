"""Decides how far apart two embeddings are: fast for choosing pairs, exact for those chosen."""

from keras_reid.keras2 import tf


def euclidean_distances(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the Euclidean distances of paired rows, by explicit difference: exact however close the two are.

    The gradient at distance 0 is 0, not NaN; a NaN in a row is a NaN distance, so that divergence shows in the loss.
    Squares underflow below a distance of about 1e-19.

    Args:
        first: float32 `[B, D]`.
        second: float32 `[B, D]`.

    Returns:
        float32 `[B]`.
    """
    squared = tf.reduce_sum(tf.math.squared_difference(first, second), axis=-1)
    zero = tf.equal(squared, 0)  # not `squared > 0`, which takes NaN for 0
    # Both branches of a `where` get a gradient: the inner one keeps sqrt away from 0, where its slope is infinite.
    return tf.where(zero, 0.0, tf.sqrt(tf.where(zero, 1.0, squared)))


def squared_distances_for_selection(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns all squared distances through the Gram matrix: O(B^2) memory, good for choosing pairs and nothing else.

    |a|^2 + |b|^2 - 2ab cancels for near duplicates, the more so in TF32 on a GPU; the distances of the chosen pairs are
    therefore computed again by `euclidean_distances`. Centring first keeps the cancellation small.

    Args:
        embeddings: float32 `[B, D]`.

    Returns:
        float32 `[B, B]`, without a gradient.
    """
    embeddings = tf.stop_gradient(embeddings)
    embeddings -= tf.reduce_mean(embeddings, axis=0, keepdims=True)
    norms = tf.reduce_sum(tf.square(embeddings), axis=1)
    return norms[:, None] + norms[None, :] - 2 * tf.matmul(embeddings, embeddings, transpose_b=True)
