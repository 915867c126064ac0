"""Decides how a loss over mined pairs becomes a Keras `Loss`: integer labels, float32, mean over valid anchors."""

from keras_reid.keras2 import tf
from keras_reid.losses.mining import flat_person_ids


def mean_over_valid(terms: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Returns the mean of float32 `[B]` terms over the anchors that are valid, bool `[B]`; 0 when none is."""
    return tf.reduce_sum(terms) / _divisor(valid)


def _divisor(valid: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1.0, tf.reduce_sum(tf.cast(valid, tf.float32)))


class BatchLoss(tf.keras.losses.Loss):
    """A loss whose terms depend on the whole batch; subclasses give `terms`.

    Keras's default reduction gives the mean over *valid* anchors: `call` returns `[B]` terms scaled by B / valid, a
    factor that stays in under reduction "none" or "sum".
    """

    def terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> tuple:
        """Returns float32 `[B]` terms, 0 where the anchor is not valid, and bool `[B]`, whether it is."""
        raise NotImplementedError

    def __call__(self, y_true, y_pred, sample_weight=None):
        # Keras 3 casts labels to float32 before `call` sees them: that would merge ids above 2^24, but not positions.
        return super().__call__(_first_positions(y_true), tf.cast(y_pred, tf.float32), sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        terms, valid = self.terms(_as_integers(y_true), y_pred)
        return terms * tf.cast(tf.size(terms), tf.float32) / _divisor(valid)


def _first_positions(person_ids: tf.Tensor) -> tf.Tensor:
    """Returns for each image the position in the batch of the first one of its identity, int32 `[B]`: an id as good."""
    person_ids = flat_person_ids(person_ids)
    images = tf.size(person_ids)
    same = person_ids[:, None] == person_ids[None, :]
    return tf.reduce_min(tf.where(same, tf.range(images)[None, :], images), axis=1)


def _as_integers(person_ids: tf.Tensor) -> tf.Tensor:
    """Undoes Keras 3's cast of the positions in the batch to its float type."""
    return person_ids if person_ids.dtype.is_integer else tf.cast(tf.round(person_ids), tf.int32)
