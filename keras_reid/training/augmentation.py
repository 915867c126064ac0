"""Augmentation on the device, in training: color jitter, RandAugment, grayscale, Gaussian blur.

keras-cv's layers change the pixels, but keras-cv 0.9 draws random numbers from state that no checkpoint restores. Here
all draws of a batch are one stateless op, seeded by a variable that counts the batches.
"""

from __future__ import annotations

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.replicas import replica_context
from keras_reid.training.color_changes import CHANGES


class DeviceAugmentation(keras.layers.Layer):
    """Changes each image of a training batch independently; outside training it changes nothing.

    The draws are a function of the seed, the batch's number and the replica. Seed and number are the layer's only
    variable: a run that restores it draws what the uninterrupted run would have drawn, if XLA compiles both or neither.
    `color_changes` says what each strength means in levels and degrees.

    Args:
        color_jitter: strength of random brightness, contrast, saturation and hue, 0 to 1.
        rand_augment: magnitude of RandAugment, 0 to 1.
        random_grayscale: probability that an image loses its colors.
        random_blur: probability of a Gaussian blur.
        seed: of the draws.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ReidError: a strength is not from 0 to 1.
    """

    def __init__(
        self,
        *,
        color_jitter: float = 0.0,
        rand_augment: float = 0.0,
        random_grayscale: float = 0.0,
        random_blur: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        # Float32 under every policy: bfloat16 cannot tell 254 from 255.
        super().__init__(**{"dtype": "float32", **kwargs})
        self._strengths = {
            "color_jitter": color_jitter,
            "rand_augment": rand_augment,
            "random_grayscale": random_grayscale,
            "random_blur": random_blur,
        }
        for name, strength in self._strengths.items():
            if not 0 <= strength <= 1:
                raise ReidError(f"{name}={strength}, expected a number from 0 to 1.")
        self._seed = seed
        # Functions, not layers: what Keras does not track adds nothing to the checkpoint.
        self._changes = {name: CHANGES[name][0](strength) for name, strength in self._strengths.items() if strength}
        self._state = self.add_weight(
            name="state",
            shape=[2],
            dtype="int64",
            initializer=keras.initializers.Constant([seed, 0]),
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # each replica counts the same batches
        )

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns changed images `[B, H, W, 3]`, float32 0..255; outside training those given, uint8 or float."""
        if not (training and self._changes):
            return images
        images = tf.cast(images, tf.float32)
        # Philox by name: left alone, TensorFlow picks the algorithm by device.
        draws = [CHANGES[name][1] for name in self._changes]
        uniform = tf.random.stateless_uniform([tf.shape(images)[0], sum(draws)], self._next_seed(), alg="philox")
        for change, numbers in zip(self._changes.values(), tf.split(uniform, draws, axis=1)):
            images = change(images, tf.unstack(numbers[:, :, None, None, None], axis=1))
        return tf.clip_by_value(images, 0.0, 255.0)  # a blur of white may come out a rounding above it

    def get_config(self) -> dict:
        return {**super().get_config(), **self._strengths, "seed": self._seed}

    def _next_seed(self) -> tf.Tensor:
        """Returns a seed, int64 `[2]`, that no other batch and no other replica gets, and counts the batch."""
        context = replica_context()
        seed, number = tf.unstack(tf.convert_to_tensor(self._state))
        self._state.assign_add(tf.constant([0, 1], tf.int64))
        if context is not None:
            number = number * context.num_replicas_in_sync + tf.cast(context.replica_id_in_sync_group, tf.int64)
        return tf.stack([seed, -1 - number])  # below zero: the input pipeline seeds its draws with 0, 1, ...


def build_augmentation(**strengths) -> DeviceAugmentation | None:
    """Returns `DeviceAugmentation(**strengths)`, or None when every strength is 0."""
    augmentation = DeviceAugmentation(**strengths)
    return augmentation if augmentation._changes else None
