"""Distances of embeddings: of all pairs through a Gram matrix, of chosen pairs exactly, by explicit difference."""

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

METRICS = ("euclidean", "squared_euclidean", "cosine")
# A float64 Gram matrix knows a squared distance to some 1e-15 of the squared lengths. Below this share of them (a
# distance of 1e-7 of the length, the resolution of float32) two embeddings are taken for equal: exactly 0.
_RESOLUTION = 1e-14


def check_metric(metric: str) -> str:
    """Returns the metric, one of `METRICS`; ReidError for anything else."""
    if metric not in METRICS:
        raise ReidError(f"metric={metric!r}, expected one of {', '.join(METRICS)}.")
    return metric


def paired_distances(first: tf.Tensor, second: tf.Tensor, *, metric: str = "euclidean") -> tf.Tensor:
    """Returns the distances of paired rows, by explicit difference: exact however close the two are.

    The gradient at distance 0 is 0, not NaN; a NaN in a row is a NaN distance, so that divergence shows in the loss.

    Args:
        first: floating `[B, D]`.
        second: floating `[B, D]`.
        metric: "euclidean", "squared_euclidean" or "cosine" (1 - cosine similarity; 1/2 to a vector of zeros).

    Returns:
        float32 `[B]`; squares underflow below a Euclidean distance of about 1e-19.

    Raises:
        ReidError: another metric.
    """
    cosine = check_metric(metric) == "cosine"
    # Rounding unit vectors to float32 would cost 1e-3 of the cosine distance of two that are 1e-4 apart.
    first, second = (unit_vectors(x) if cosine else tf.cast(x, tf.float32) for x in (first, second))
    squared = tf.reduce_sum(tf.math.squared_difference(first, second), axis=-1)
    return _from_squared(squared, tf.equal(squared, 0), metric)  # not `squared > 0`, which takes NaN for 0


def pairwise_distances(embeddings: tf.Tensor, *, metric: str = "euclidean") -> tf.Tensor:
    """Returns the distances of all pairs, with gradients, for losses in which every pair counts.

    Computed through a float64 Gram matrix, which no GPU shortens to TF32 and which needs O(B^2) memory, not O(B^2 * D):
    relative errors stay below 1e-6 down to a distance of 1e-4 of the vectors' length; below 1e-7 of it a distance is 0.
    The gradient at distance 0 is 0, not NaN; a NaN anywhere makes every distance NaN.

    Args:
        embeddings: floating `[B, D]`.
        metric: as in `paired_distances`.

    Returns:
        float32 `[B, B]`, 0 on the diagonal.
    """
    squared, lengths = _squared_distances(embeddings, metric)
    equal = (squared <= _RESOLUTION * lengths) | tf.eye(tf.shape(squared)[0], dtype=tf.bool)
    return _from_squared(squared, equal, metric)


def squared_distances_for_selection(embeddings: tf.Tensor, *, metric: str = "euclidean") -> tf.Tensor:
    """Returns float32 squared distances of all pairs `[B, B]`, without a gradient, to choose pairs by.

    The Gram matrix is float64: in float32 |a|^2 + |b|^2 - 2ab cannot tell near duplicates apart, and TF32 still less.
    What is left after the subtraction is exact enough for float32.
    """
    squared, _ = _squared_distances(tf.stop_gradient(embeddings), metric)
    return tf.cast(squared, tf.float32)


def _squared_distances(embeddings: tf.Tensor, metric: str) -> tuple:
    """Returns float64 squared distances, of unit vectors for "cosine", and sums of squared lengths, `[B, B]` each."""
    vectors = unit_vectors(embeddings) if check_metric(metric) == "cosine" else tf.cast(embeddings, tf.float64)
    # A common offset changes neither distances nor their gradient, but it does change rounding.
    vectors -= tf.stop_gradient(tf.reduce_mean(vectors, axis=0, keepdims=True))
    lengths = tf.reduce_sum(tf.square(vectors), axis=1)
    lengths = lengths[:, None] + lengths[None, :]
    return lengths - 2 * tf.matmul(vectors, vectors, transpose_b=True), lengths


def unit_vectors(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns float64 rows of length 1; a row of zeros stays one, without a gradient."""
    vectors = tf.cast(embeddings, tf.float64)
    squared = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors / tf.sqrt(tf.where(tf.equal(squared, 0), tf.ones_like(squared), squared))


def _from_squared(squared: tf.Tensor, equal: tf.Tensor, metric: str) -> tf.Tensor:
    zero = tf.zeros_like(squared)
    if metric == "euclidean":
        # Both branches of a `where` get a gradient: the inner one keeps sqrt away from 0, where its slope is infinite.
        return tf.cast(tf.where(equal, zero, tf.sqrt(tf.where(equal, zero + 1, squared))), tf.float32)
    squared = tf.where(equal, zero, squared)
    # For vectors of length 1 the cosine distance, 1 - cosine, is half the squared distance, which does not cancel.
    return tf.cast(squared / 2 if metric == "cosine" else squared, tf.float32)
