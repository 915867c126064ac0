"""Decides what the averaged weights are: an exponential moving average over the steps, beside those that train."""

from __future__ import annotations

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.replicas import replica_context


class WeightAverage(tf.Module):
    """An exponential moving average of a model's weights and moving statistics: a = decay * a + (1 - decay) * w.

    It starts at the weights of the moment it is made. Keras's own (`use_ema`) overwrites the weights at the end of
    `fit`, and the legacy optimizers, tensorflow-addons' among them, have none.

    Args:
        model: whose weights are averaged; its layers have names of their own.
        decay: from 0 to below 1.

    Raises:
        ReidError: another decay.
    """

    def __init__(self, model: keras.Model, decay: float):
        super().__init__(name="weight_average")
        if not 0 <= decay < 1:
            raise ReidError(f"--ema={decay}, expected a number from 0 to below 1, such as 0.999.")
        self.decay = decay
        self._weights = [weight for layer in model.layers for weight in layer.weights]
        self._layers = [(layer.name, len(layer.weights)) for layer in model.layers if layer.weights]
        # Each replica makes the same change: any copy is the right one.
        self.values = [
            tf.Variable(
                tf.cast(weight, tf.float32),
                trainable=False,
                name=weight.name.split(":")[0].replace("/", "_"),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for weight in self._weights
        ]

    def update(self) -> None:
        """Takes the weights after a step into the average."""
        context = replica_context()
        for value, weight in zip(self.values, self._weights):
            newest = tf.cast(weight, tf.float32)
            if context is not None and not weight.trainable:  # moving statistics are of each replica's part
                # Several workers can add up what was computed on a device, but not a variable as it was read.
                newest = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(newest))
            value.assign(self.decay * value + (1 - self.decay) * newest)

    def copy_to(self, model: keras.Model) -> None:
        """Sets the weights of a model with the same layers to the average."""
        values = iter(self.values)
        for name, count in self._layers:
            model.get_layer(name).set_weights([next(values).numpy() for _ in range(count)])
