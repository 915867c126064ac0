"""Averaged weights: an exponential moving average of a model, and the statistics that averaged weights need."""

from __future__ import annotations

from collections.abc import Iterable

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.replicas import replica_context
from keras_reid.models.structure import layers_of, weights_of


class WeightAverage(tf.Module):
    """An exponential moving average of a model's weights and moving statistics: a = decay * a + (1 - decay) * w.

    It starts at the weights that the model has when this is made. Keras's own (`use_ema`) overwrites the weights at the
    end of `fit`, and legacy optimizers, such as those of tensorflow-addons, have none.

    Args:
        model: its weights and moving statistics are averaged.
        decay: of the average.
        start_step: steps of the run after each of which the average is the weights themselves.

    Raises:
        ReidError: `decay` is not from 0 to below 1.
    """

    def __init__(self, model: keras.Model, decay: float, *, start_step: int = 0):
        super().__init__(name="weight_average")
        if not 0 <= decay < 1:
            raise ReidError(f"ema={decay}, expected a number from 0 to below 1, such as 0.999.")
        self.decay, self._start_step = decay, start_step
        # All replicas make the same change: any copy is the right one.
        self.values = [
            tf.Variable(
                tf.cast(weight, tf.float32),
                trainable=False,
                name=weight.name.split(":")[0].replace("/", "_"),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for weight in weights_of(model)
        ]

    def update(self, model: keras.Model, step: tf.Tensor) -> None:
        """Takes the weights after a step into the average; `step` is the number of steps made."""
        context, kept, taken = replica_context(), self.decay, 1 - self.decay
        if self._start_step:
            kept, taken = tf.unstack(tf.where(step > self._start_step, [kept, taken], [0.0, 1.0]))
        for value, weight in zip(self.values, weights_of(model)):
            newest = tf.cast(weight, tf.float32)
            if context is not None and not weight.trainable:  # moving statistics are of each replica's part
                # Several workers can add up what was computed on a device, but not a variable as it was read.
                newest = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(newest))
            value.assign(kept * value + taken * newest)

    def copy_to(self, model: keras.Model) -> None:
        """Sets the weights of a model with the same layers to the average."""
        for value, weight in zip(self.values, weights_of(model)):
            weight.assign(value)


def fit_statistics(model: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Sets the moving statistics of each BatchNormalization to the mean of those of batches of images `[B, H, W, 3]`.

    Averaged weights need this (Izmailov et al. 2018, arXiv 1803.05407, section 3.2).
    """
    layers = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for count, images in enumerate(batches):
        for layer in layers:
            layer.momentum = count / (count + 1)  # the mean so far keeps its share
        model(images, training=True)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
