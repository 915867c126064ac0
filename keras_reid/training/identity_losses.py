"""Identity losses: cross-entropy over the training identities, and center loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.mining import flat_person_ids
from keras_reid.losses.precision import in_float64
from keras_reid.losses.replicas import replica_context, sum_over_replicas

CENTER_RATE = 0.5  # alpha of the paper: share of the way to its identity's mean that a center goes in a step
_CLASSIFIER_DEVIATION = 1e-3  # as in the BNNeck paper's code: at first every identity is as likely as any other


class _Identities:
    """The identities of the training set, numbered from 0 in the order of their ids."""

    def __init__(self, person_ids: Sequence[int]):
        person_ids = np.asarray(person_ids)
        if person_ids.dtype.kind not in "iu":
            raise ReidError(f"person_ids have dtype {person_ids.dtype}, expected integers: code them from 1.")
        self._known = np.unique(person_ids).astype(np.int64)
        self.count = len(self._known)
        if self.count < 2:
            raise ReidError(f"{self.count} identities in person_ids, expected those of the training set, at least 2.")

    def number(self, person_ids: tf.Tensor) -> tf.Tensor:
        """Returns int32 `[B]`; InvalidArgumentError for an id that is not of the training set."""
        person_ids = tf.cast(flat_person_ids(person_ids), tf.int64)
        numbers = tf.minimum(tf.searchsorted(self._known, person_ids), self.count - 1)
        found = tf.gather(self._known, numbers)
        with tf.control_dependencies([tf.debugging.assert_equal(found, person_ids, "an id is not among person_ids")]):
            return tf.identity(numbers)


class IdentityLoss(keras.layers.Layer):
    """Cross-entropy of a linear classifier over the training identities, on features after a BNNeck.

    Args:
        person_ids: integers, those of the training set.
        label_smoothing: from 0 to below 1, the share of the label that is spread over all identities.
        own_neck: whether this layer holds the neck, a BatchNormalization without shift, or the features come after one.
        sync_batch_norm: whether the neck normalizes by statistics of all replicas.

    Source: Luo et al. 2019 (arXiv 1903.07071), sections 3.4 and 3.5.
    """

    def __init__(
        self, person_ids: Sequence[int], *, label_smoothing: float, own_neck: bool, sync_batch_norm: bool = False
    ):
        super().__init__(name="identity_loss", dtype="float32")
        if not 0 <= label_smoothing < 1:
            raise ReidError(f"label_smoothing={label_smoothing}, expected a number from 0 to below 1.")
        self._identities, self._label_smoothing = _Identities(person_ids), label_smoothing
        self._neck = None
        if own_neck:
            options = {"epsilon": 1e-5, "dtype": "float32", "synchronized": sync_batch_norm}
            self._neck = keras.layers.BatchNormalization(center=False, name="neck", **options)
        self._classifier = keras.layers.Dense(
            self._identities.count,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=_CLASSIFIER_DEVIATION),
            dtype="float32",
            name="classifier",
        )

    def build(self, input_shape):
        if self._neck is not None:
            self._neck.build(input_shape)
        self._classifier.build(input_shape)
        super().build(input_shape)

    def call(self, features: tf.Tensor, person_ids: tf.Tensor, training: bool = False) -> tuple:
        """Returns the cross-entropy of each image, float32 `[B]`, and whether it was recognized, bool `[B]`."""
        if self._neck is not None:
            features = self._neck(features, training=training)
        logits, numbers = self._classifier(features), self._identities.number(person_ids)
        labels, options = tf.one_hot(numbers, self._identities.count), {"label_smoothing": self._label_smoothing}
        losses = keras.losses.categorical_crossentropy(labels, logits, from_logits=True, **options)
        return losses, tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), numbers)


class CenterLoss(keras.layers.Layer):
    """Half the squared distance of each feature to the center of its identity; the centers follow the features.

    Args:
        person_ids: integers, those of the training set.

    Source: Wen et al. 2016 ("A Discriminative Feature Learning Approach for Deep Face Recognition"), equations 2 to 4,
    with the mean over the batch in place of the sum. The centers begin at 0.
    """

    def __init__(self, person_ids: Sequence[int]):
        super().__init__(name="center_loss", dtype="float32")
        self._identities = _Identities(person_ids)

    def build(self, input_shape):
        # All replicas make the same change, from sums over all of them: any copy is the right one.
        self.centers = self.add_weight(
            "centers",
            [self._identities.count, int(input_shape[-1])],
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def call(self, features: tf.Tensor, person_ids: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each image, float64 `[B]`: the square of a float32 may be beyond float32."""
        centers = tf.gather(tf.convert_to_tensor(self.centers), self._identities.number(person_ids))
        difference = in_float64(features) - tf.cast(tf.stop_gradient(centers), tf.float64)
        return tf.reduce_sum(tf.square(difference), axis=1) / 2

    def update(self, features: tf.Tensor, person_ids: tf.Tensor) -> None:
        """Moves the centers of the batch's identities towards their features, by 0.5 * n / (1 + n) of the way."""
        numbers, count = self._identities.number(person_ids), self._identities.count
        sums = tf.math.unsorted_segment_sum(tf.stop_gradient(features), numbers, count)
        images = tf.math.unsorted_segment_sum(tf.ones_like(features[:, :1]), numbers, count)
        context = replica_context()
        if context is not None:
            sums, images = sum_over_replicas(sums, context), sum_over_replicas(images, context)
        centers = tf.convert_to_tensor(self.centers)
        self.centers.assign(centers - CENTER_RATE * (images * centers - sums) / (1 + images))
