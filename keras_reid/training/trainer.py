"""Decides what one training step is: embed, mine, loss, gradient; and what is reported of it."""

from __future__ import annotations

from keras_reid.keras2 import keras, tf
from keras_reid.losses.mining import mine_hardest_pairs

# Order and names of what a step reports, beside the learning rate.
_STATISTICS = (
    "loss",
    "active_triplets",
    "hardest_positive_distance",
    "hardest_negative_distance",
    "embedding_norm",
)


class TripletTrainer(keras.Model):
    """Trains an embedder with a loss on the distances within a batch. It contains the embedder; the embedder ships.

    Compile it with an optimizer and one of `keras_reid.losses`, fit it on batches of (images `[B, H, W, 3]`, integer
    person ids `[B]`), then use `trainer.embedder`. The forward pass runs in the embedder's own precision, embeddings
    and loss in float32; under mixed_float16 the loss is scaled.

    Reported: the loss; `active_triplets`, the share of anchors whose hardest triplet still violates the hinge (under a
    loss without one: whose hardest negative is nearer than the hardest positive); the mean hardest distances, the mean
    Euclidean norm of the embeddings, and the learning rate.

    Args:
        embedder: a model from images to embeddings `[B, D]`, such as `build_embedder` makes.
        **kwargs: of `keras.Model`.
    """

    def __init__(self, embedder: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.embedder = embedder
        self._means = {name: keras.metrics.Mean(name) for name in _STATISTICS}

    def compile(self, optimizer="adam", loss=None, **kwargs):
        """As `keras.Model.compile`; under mixed_float16 the optimizer is wrapped in a LossScaleOptimizer."""
        optimizer = keras.optimizers.get(optimizer)
        scales = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
        # Keras wraps by the global policy of this moment; the embedder may have been built under another one.
        if _computes_in_float16(self.embedder) and not scales:
            optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float32 embeddings `[B, D]`."""
        return tf.cast(self.embedder(images, training=training), tf.float32)

    def train_step(self, data) -> dict:
        images, person_ids = data
        with tf.GradientTape() as tape:
            embeddings = self(images, training=True)
            loss = self.compute_loss(images, person_ids, embeddings)
        # `minimize` scales the loss and unscales the gradient where the optimizer is a LossScaleOptimizer.
        self.optimizer.minimize(loss, self.embedder.trainable_variables, tape=tape)
        report = self._update_statistics(loss, person_ids, embeddings)
        return {**report, "learning_rate": tf.convert_to_tensor(self.optimizer.learning_rate)}

    def test_step(self, data) -> dict:
        images, person_ids = data
        embeddings = self(images, training=False)
        return self._update_statistics(self.compute_loss(images, person_ids, embeddings), person_ids, embeddings)

    @property
    def metrics(self) -> list:
        return list(self._means.values())  # Keras resets these at the start of each epoch.

    def _update_statistics(self, loss: tf.Tensor, person_ids: tf.Tensor, embeddings: tf.Tensor) -> dict:
        pairs = mine_hardest_pairs(person_ids, tf.stop_gradient(embeddings))
        hinge = getattr(self.loss, "hinge", 0.0)
        violation = pairs.positive_distances - pairs.negative_distances + hinge
        valid = tf.cast(pairs.valid, tf.float32)
        self._means["loss"].update_state(loss)
        self._means["active_triplets"].update_state(violation > 0, sample_weight=valid)
        self._means["hardest_positive_distance"].update_state(pairs.positive_distances, sample_weight=valid)
        self._means["hardest_negative_distance"].update_state(pairs.negative_distances, sample_weight=valid)
        self._means["embedding_norm"].update_state(tf.norm(embeddings, axis=1))
        return {name: mean.result() for name, mean in self._means.items()}


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model.layers)
