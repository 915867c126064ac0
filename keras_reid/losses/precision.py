"""Precision of the losses: float64 from the embeddings to the loss, so that no square of a float32 overflows."""

from keras_reid.keras2 import tf


def in_float64(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns embeddings of any float type as float64; a gradient beyond their own type is the largest it has.

    In float16 it is infinite instead: from that loss scaling learns to scale by less.
    """
    embeddings = tf.convert_to_tensor(embeddings)
    dtype = embeddings.dtype
    if dtype == tf.float64:
        return embeddings

    @tf.custom_gradient
    def cast(embeddings):
        def slopes_of(slopes):
            return tf.cast(slopes if dtype == tf.float16 else _within(slopes, dtype), dtype)

        return tf.cast(embeddings, tf.float64), slopes_of

    return cast(embeddings)


def in_float32(values: tf.Tensor) -> tf.Tensor:
    """Returns float64 values as float32, the largest it has for those beyond; their gradient goes on as it is."""
    return tf.cast(tf.grad_pass_through(lambda x: _within(x, tf.float32))(values), tf.float32)


def _within(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns float64 values clipped to the range of a type; inf and NaN stay, which show a divergence."""
    largest = float(dtype.max)
    return tf.where(tf.math.is_finite(values), tf.clip_by_value(values, -largest, largest), values)
