"""Decides what one training step is: embed, mine, loss, gradient; and what is reported of it."""

from __future__ import annotations

from keras_reid.errors import ReidError
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
    and loss in float32; under mixed_float16 the loss is scaled. Save `trainer.embedder`, not the trainer.

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

    def compile(self, optimizer, loss, **kwargs):
        """As `keras.Model.compile`, without metrics: the trainer reports its own.

        Args:
            optimizer: a Keras optimizer or its name; wrapped in a LossScaleOptimizer when the embedder is float16.
            loss: of integer person ids and embeddings, such as those of `keras_reid.losses`.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution`.

        Raises:
            ReidError: metrics or loss weights are given.
        """
        refused = sorted(kwargs.keys() & {"metrics", "weighted_metrics", "loss_weights"})
        if refused:
            raise ReidError(f"TripletTrainer.compile({refused[0]}=...) is not supported: it reports its own metrics.")
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
        images, person_ids = _images_and_ids(data)
        with tf.GradientTape() as tape:
            embeddings = self(images, training=True)
            loss = self.compute_loss(images, person_ids, embeddings)
        # `minimize` scales the loss and unscales the gradient where the optimizer is a LossScaleOptimizer.
        self.optimizer.minimize(loss, self.embedder.trainable_variables, tape=tape)
        report = self._update_statistics(loss, person_ids, embeddings)
        learning_rate = self.optimizer.learning_rate
        if callable(learning_rate):  # the legacy optimizers, tensorflow-addons' among them, give the schedule itself
            learning_rate = learning_rate(self.optimizer.iterations)
        return {**report, "learning_rate": tf.convert_to_tensor(learning_rate)}

    def test_step(self, data) -> dict:
        images, person_ids = _images_and_ids(data)
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


def _images_and_ids(data) -> tuple:
    images, person_ids, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if person_ids is None or sample_weight is not None:
        raise ReidError("TripletTrainer trains on (images, person_ids), without sample weights.")
    return images, person_ids


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model.layers)
