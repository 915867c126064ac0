"""Distances of embeddings: of all pairs through a Gram matrix, of chosen pairs exactly, by explicit difference."""

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.precision import in_float32, in_float64

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
        float32 `[B]`; computed in float64, and the largest float32 for those beyond.

    Raises:
        ReidError: another metric.
    """
    return in_float32(exact_distances(first, second, metric))


def pairwise_distances(embeddings: tf.Tensor, *, metric: str = "euclidean") -> tf.Tensor:
    """Returns the distances of all pairs, with gradients, for losses in which every pair counts.

    Computed through a float64 Gram matrix, which no GPU shortens to TF32 and which needs O(B^2) memory, not O(B^2 * D):
    relative errors stay below 1e-6 down to a distance of 1e-4 of the vectors' length; below 1e-7 of it a distance is 0.
    The gradient at distance 0 is 0, not NaN; a NaN anywhere makes every distance NaN.

    Args:
        embeddings: floating `[B, D]`.
        metric: as in `paired_distances`.

    Returns:
        float32 `[B, B]`, 0 on the diagonal; the largest float32 for those beyond.
    """
    return in_float32(all_distances(embeddings, metric))


def exact_distances(first: tf.Tensor, second: tf.Tensor, metric: str) -> tf.Tensor:
    """Returns `paired_distances` as float64, which holds the square of every float32."""
    vectors = unit_vectors if check_metric(metric) == "cosine" else in_float64
    squared = tf.reduce_sum(tf.math.squared_difference(vectors(first), vectors(second)), axis=-1)
    return _from_squared(squared, tf.equal(squared, 0), metric)  # not `squared > 0`, which takes NaN for 0


def all_distances(embeddings: tf.Tensor, metric: str) -> tf.Tensor:
    """Returns `pairwise_distances` as float64, which holds the square of every float32."""
    squared, lengths = _squared_distances(embeddings, metric)
    equal = (squared <= _RESOLUTION * lengths) | tf.eye(tf.shape(squared)[0], dtype=tf.bool)
    return _from_squared(squared, equal, metric)


def squared_distances_for_selection(embeddings: tf.Tensor, *, metric: str = "euclidean") -> tf.Tensor:
    """Returns float64 squared distances of all pairs `[B, B]`, without a gradient, to choose pairs by.

    In float32 |a|^2 + |b|^2 - 2ab cannot tell near duplicates apart, and TF32 still less.
    """
    return _squared_distances(tf.stop_gradient(embeddings), metric)[0]


def _squared_distances(embeddings: tf.Tensor, metric: str) -> tuple:
    """Returns float64 squared distances, of unit vectors for "cosine", and sums of squared lengths, `[B, B]` each."""
    vectors = unit_vectors(embeddings) if check_metric(metric) == "cosine" else in_float64(embeddings)
    vectors -= tf.stop_gradient(_center(vectors))
    lengths = tf.reduce_sum(tf.square(vectors), axis=1)
    lengths = lengths[:, None] + lengths[None, :]
    return lengths - 2 * tf.matmul(vectors, vectors, transpose_b=True), lengths


def _center(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the common offset of rows, `[1, D]`: it changes no distance and no gradient, but it does change rounding.

    Rows weigh less the longer they are: one that is 1e9 times as long as the others would move these by more than what
    float64 can tell of the distances among them.
    """
    weights = tf.math.reciprocal_no_nan(tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True))
    return tf.math.divide_no_nan(tf.reduce_sum(weights * vectors, axis=0), tf.reduce_sum(weights))[None, :]


def unit_vectors(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns float64 rows of length 1; a row of zeros stays one, without a gradient."""
    vectors = in_float64(embeddings)
    squared = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors / tf.sqrt(tf.where(tf.equal(squared, 0), tf.ones_like(squared), squared))


def _from_squared(squared: tf.Tensor, equal: tf.Tensor, metric: str) -> tf.Tensor:
    """Returns distances from squared ones, float64; exactly 0 without a gradient where bool `equal` says so."""
    zero = tf.zeros_like(squared)
    if metric == "euclidean":
        # Both branches of a `where` get a gradient: the inner one keeps sqrt away from 0, where its slope is infinite.
        return tf.where(equal, zero, tf.sqrt(tf.where(equal, zero + 1, squared)))
    squared = tf.where(equal, zero, squared)
    # For vectors of length 1 the cosine distance, 1 - cosine, is half the squared distance, which does not cancel.
    return squared / 2 if metric == "cosine" else squared
