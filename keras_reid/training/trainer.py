"""Trainer: one training step (embed, mine, loss, gradient) and its report."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence

from keras_reid.addons import copy_average, has_average, keeps_average
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.distances import pairwise_distances
from keras_reid.losses.mining import flat_person_ids, pair_up
from keras_reid.losses.precision import in_float32
from keras_reid.losses.replicas import all_rows, replica_context, sum_over_replicas
from keras_reid.models import rebuild_in_float32
from keras_reid.models.precision import check_rebuildable
from keras_reid.models.structure import check_embedder, layers_of
from keras_reid.training.averages import WeightAverage, fit_statistics
from keras_reid.training.identity_losses import CenterLoss, IdentityLoss
from keras_reid.training.input_wait import with_timed_batches
from keras_reid.training.layer_rates import check_scalable, part_of, rate_factors, restart_factor, scale_update
from keras_reid.training.optimizers import create_state, current_learning_rate, inner_optimizer
from keras_reid.training.processor import say_what_is_slow
from keras_reid.training.strategy import outside_scope

NECK = "head_neck_bn"  # layer of `build_embedder(head="bnneck")`: one loss sees its input, the other its output
# The report of a step, in order; the learning rate and the weighted terms are added to it.
_STATISTICS = (
    "loss",
    "active_triplets",
    "hardest_positive_distance",
    "hardest_negative_distance",
    "positive_distance",
    "negative_distance",
    "embedding_norm",
)


class TripletTrainer(keras.Model):
    """Trains an embedder with a loss on the distances within a batch. It contains the embedder; the embedder ships.

    Compile it with an optimizer and one of `keras_reid.losses`, fit it on batches of (images `[B, H, W, 3]`, integer
    person ids `[B]`), then use `trainer.shipped_embedder()`; `trainer.embedder` is what trains. The forward pass runs
    in the embedder's own precision, embeddings and loss in float32; under mixed_float16 the loss is scaled.

    Cross-entropy over the training identities and center loss may be added, each by its weight. The cross-entropy sees
    features after a BNNeck: that of an embedder made by `build_embedder(head="bnneck")`, whose input the other two
    losses then see (Luo et al. 2019, arXiv 1903.07071), or else one that the trainer adds, which does not ship.

    Under tf.distribute, build and compile it in the strategy's scope and fit it on batches of the global size: loss,
    gradient and report are those of one replica with the whole batch, except that each replica's BatchNormalization,
    unless synchronized, has the statistics of its own part.

    Reported: the loss; `active_triplets`, the share of anchors whose hardest triplet still violates the hinge (under a
    loss without one: whose hardest negative is nearer than the hardest positive); the mean hardest distances, the mean
    distances of all positive and all negative pairs, the mean Euclidean norm of the embeddings, and the learning rate.
    With added terms also, unweighted, `metric_loss` (the compiled loss alone), `identity_loss`, `identity_accuracy` and
    `center_loss`.

    Args:
        embedder: a functional or Sequential model from images `[B, H, W, 3]` of one size to embeddings `[B, D]`, such
            as `build_embedder` makes; layers of your own need `get_config` and `register_keras_serializable`.
        person_ids: integers, those of the training set; needed where a weight is above 0.
        identity_loss_weight: of the cross-entropy over identities; 0 is off.
        label_smoothing: of the cross-entropy, from 0 to below 1.
        center_loss_weight: of center loss; 0 is off.
        augmentation: a layer that changes the images of a training step, such as `build_augmentation` makes.
        metric_loss_steps: first steps, in which cross-entropy alone is learned, and the number of those after them in
            which the weight of the compiled loss rises to 1.
        ema: decay of an exponential moving average of the embedder's weights, which then ships; 0 is off.
        ema_start_step: steps after each of which that average is the weights themselves.
        layer_learning_rates: part of `build_embedder`'s network -> factor on the learning rate: stem, stage1 to stage4,
            head, or backbone for all but the head; exact under adaptive optimizers, too.
        **kwargs: of `keras.Model`.

    Attributes:
        seconds_waiting: time that the steps so far have waited for their batches.
        statistics_batches: batches of training images `[B, H, W, 3]`, the same each time: where they are given, the
            embedder that ships takes its BatchNormalization statistics from them; tensorflow-addons' SWA needs them.

    Raises:
        ReidError: the embedder could not ship: it is a subclassed model, takes images of any size, or cannot be built
            anew from its configuration; a weight is negative or needs person_ids, the compiled loss begins late without
            cross-entropy, the decay is not from 0 to below 1, or a part of layer_learning_rates is not in the embedder
            or has a factor that is not above 0.
    """

    statistics_batches: Iterable | None = None

    def __init__(
        self,
        embedder: keras.Model,
        *,
        person_ids: Sequence[int] | None = None,
        identity_loss_weight: float = 0.0,
        label_smoothing: float = 0.1,
        center_loss_weight: float = 0.0,
        metric_loss_steps: tuple[int, int] = (0, 0),
        augmentation: keras.layers.Layer | None = None,
        ema: float = 0.0,
        ema_start_step: int = 0,
        layer_learning_rates: Mapping[str, float] | None = None,
        **kwargs,
    ):
        # Keras would round float images to the policy's bfloat16, which cannot tell 254 from 255.
        super().__init__(**{"autocast": False, **kwargs})
        # The report is the same on each replica; Keras would add them up.
        self.distribute_reduction_method = "first"
        weights = {"identity_loss": identity_loss_weight, "center_loss": center_loss_weight}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise ReidError(f"{name}_weight={weight}, expected a number of at least 0.")
            if weight and person_ids is None:
                raise ReidError(f"{name}_weight={weight} needs person_ids, the ids of the training set.")
        if any(metric_loss_steps) and not identity_loss_weight:
            raise ReidError("metric_loss_steps needs identity_loss_weight above 0: nothing would be learned before.")
        check_embedder(embedder, of_images=False)
        check_rebuildable(embedder)
        self.embedder, self.augmentation = embedder, augmentation
        self.average = WeightAverage(embedder, ema, start_step=ema_start_step) if ema else None
        # Not by attribute: Keras would take the copy that ships for a part that is trained, and track the lists.
        self.__dict__.update(_shipped=None, _image_size=None)  # of the embedder's own size
        self.__dict__.update(_factors=rate_factors(embedder, layer_learning_rates or {}))
        # Those that the caller froze stay frozen.
        backbone = [layer for layer in embedder.layers if part_of(layer.name) != "head" and layer.trainable_weights]
        self.__dict__.update(_backbone=backbone, _frozen_steps=0, _traced_frozen=False)
        self.seconds_waiting = 0.0
        self._weights = {name: weight for name, weight in weights.items() if weight}
        self._metric_loss_steps = tuple(metric_loss_steps)
        self._features = self.identity_loss = self.center_loss = None
        neck = next((layer for layer in embedder.layers if layer.name == NECK), None)
        if identity_loss_weight:
            synchronized = any(getattr(layer, "synchronized", False) for layer in layers_of(embedder))
            options = {"label_smoothing": label_smoothing, "sync_batch_norm": synchronized}
            self.identity_loss = IdentityLoss(person_ids, own_neck=neck is None, **options)
            self.identity_loss.build(embedder.output_shape if neck is None else neck.output_shape)
            if neck is not None:
                self._features = keras.Model(embedder.input, [neck.input, neck.output])
                self._features.input_spec = embedder.input_spec  # of `accept_other_sizes`
        if center_loss_weight:
            self.center_loss = CenterLoss(person_ids)
            self.center_loss.build(embedder.output_shape if self._features is None else neck.input_shape)
        terms = (*(["metric_loss"] if self._weights else []), *self._weights)
        accuracy = ["identity_accuracy"] if identity_loss_weight else []
        self._means = {name: keras.metrics.Mean(name) for name in (*_STATISTICS, *terms, *accuracy)}

    def compile(self, optimizer, loss, **kwargs):
        """As `keras.Model.compile`, without metrics: the trainer reports its own.

        Args:
            optimizer: a Keras optimizer or its name; wrapped in a LossScaleOptimizer when the embedder is float16.
            loss: of integer person ids and embeddings, such as those of `keras_reid.losses`.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution`.

        Raises:
            ReidError: metrics or loss weights are given, or jit_compile together with several replicas.
        """
        refused = sorted(kwargs.keys() & {"metrics", "weighted_metrics", "loss_weights"})
        if refused:
            raise ReidError(f"TripletTrainer.compile({refused[0]}=...) is not supported: it reports its own metrics.")
        replicas = self.distribute_strategy.num_replicas_in_sync
        if kwargs.get("jit_compile") and replicas > 1:
            raise ReidError(
                f"jit_compile=True with {replicas} replicas is not supported: embeddings cannot be gathered inside a "
                "step that XLA compiles. Leave out jit_compile, or train on one replica."
            )
        optimizer = keras.optimizers.get(optimizer)
        scales = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
        # Keras wraps by the global policy of this moment; the embedder may have been built under another one.
        if _computes_in_float16(self.embedder) and not scales:
            optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        if self._factors:
            check_scalable(optimizer, "layer_learning_rates", legacy=True)
        if keeps_average(inner_optimizer(optimizer)):
            self._check_average(optimizer)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def freeze_backbone(self, steps: int) -> None:
        """Freezes all but the head for the first `steps` of the run, and frees it afterwards.

        Call it inside `fit` before each epoch, as `keras_reid.training.FreezeBackbone` does. A frozen backbone
        normalizes by its moving statistics, which stay, and no backward pass runs through it. Once it is free, Adam
        counts the steps of its weights from there.

        Raises:
            ReidError: the embedder has no head of `build_embedder`, or the optimizer is another than adam, adamw, sgd.
        """
        check_scalable(self.optimizer, "freeze_backbone_epochs", legacy=False)
        if not any(part_of(layer.name) == "head" for layer in self.embedder.layers):
            raise ReidError("the embedder has no layer named head_...: all of it would be frozen, and nothing learned.")
        if not self._backbone:
            return
        frozen = int(self.optimizer.iterations.numpy()) < steps
        # `fit` resets the layers' own state at its begin and end; the graph of a step stays as it was traced.
        if frozen == self._backbone[0].trainable:
            if frozen:  # the state of all weights: each checkpoint of the run has the same shape
                with self.distribute_strategy.scope():
                    create_state(self.optimizer, self.trainable_variables)
            for layer in self._backbone:
                layer.trainable = not frozen
        if (frozen, steps) != (self._traced_frozen, self._frozen_steps):
            self.__dict__.update(_frozen_steps=steps, _traced_frozen=frozen)
            self.make_train_function(force=True)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float32 embeddings `[B, D]`."""
        return tf.cast(self.embedder(images, training=training), tf.float32)

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            say_what_is_slow(layer.compute_dtype for layer in self.embedder.layers)
            with self.distribute_strategy.scope():  # made in the first step, it would have TensorFlow trace it twice
                create_state(self.optimizer, self.trainable_variables)
            self.train_function = with_timed_batches(super().make_train_function(force), self._add_seconds_waiting)
        return self.train_function

    def _add_seconds_waiting(self, seconds: float) -> None:
        self.seconds_waiting += seconds

    def train_step(self, data) -> dict:
        images, person_ids = _images_and_ids(data)
        if self.augmentation is not None:
            images = self.augmentation(images, training=True)
        # Keras marks the variables of a frozen layer as trainable all the same, and a tape would follow them.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.trainable_variables)
            features, neck_features = self._both_features(images)
            terms = {"metric_loss": self.compute_loss(images, person_ids, features)}
            if self.identity_loss is not None:
                losses, recognized = self.identity_loss(neck_features, person_ids, training=True)
                terms["identity_loss"] = _share_of_mean(losses)
                self._means["identity_accuracy"].update_state(recognized)
            if self.center_loss is not None:
                terms["center_loss"] = _share_of_mean(self.center_loss(features, person_ids))
            metric_weight = self._metric_loss_weight()
            added = sum(weight * terms[name] for name, weight in self._weights.items())
            loss = metric_weight * terms["metric_loss"] + added
        # `minimize` scales the loss and unscales the gradient where the optimizer is a LossScaleOptimizer.
        scale_update(self._update_factors(), lambda: self.optimizer.minimize(loss, self.trainable_variables, tape=tape))
        if self.center_loss is not None:
            self.center_loss.update(features, person_ids)
        if self.average is not None:
            self.average.update(self.embedder, self.optimizer.iterations)
        report = self._update_statistics({"loss": loss, **terms}, person_ids, features)
        if any(self._metric_loss_steps):
            report["metric_loss_weight"] = metric_weight
        return {**report, "learning_rate": current_learning_rate(self.optimizer)}

    def test_step(self, data) -> dict:
        """Reports the compiled loss without the other terms, which only know the training identities."""
        images, person_ids = _images_and_ids(data)
        embeddings = self(images, training=False)
        loss = self.compute_loss(images, person_ids, embeddings)
        return self._update_statistics({"loss": loss}, person_ids, embeddings, names=_STATISTICS)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that are trained on, and that what ships takes."""
        return self._image_size or self.embedder.input_shape[1:3]

    def train_at(self, image_size: tuple[int, int]) -> None:
        """Has the next `fit` train on images of another size, which what ships takes then; the weights stay.

        The graph is traced anew, also where the size is the one before. `statistics_batches` must have the new size.

        Args:
            image_size: (height, width); another than the embedder's own only after `accept_other_sizes`.
        """
        self.__dict__.update(_shipped=None, _image_size=image_size)
        self.make_train_function(force=True)  # None in its place would leave the old one among what Keras tracks
        gc.collect()

    def shipped_embedder(self, *, renewed: bool = True) -> keras.Model:
        """Returns the embedder as it ships, in float32 and with averaged weights if any.

        Each call updates and returns the same model. All workers must call it at once.

        Args:
            renewed: whether it takes its BatchNormalization statistics from `statistics_batches`, if there are any and
                a step has been made; that takes a forward pass through all of them.

        Raises:
            ReidError: tensorflow-addons' SWA has averaged, but there are no `statistics_batches`.
        """
        self.__dict__["_shipped"] = rebuild_in_float32(self.embedder, into=self._shipped, image_size=self._image_size)
        self._shipped.trainable = True  # a backbone that is frozen now need not be so where it is loaded
        if self.average is not None:
            self.average.copy_to(self._shipped)
        optimizer, renewed = inner_optimizer(self.optimizer), renewed and self.statistics_batches is not None
        if has_average(optimizer):
            copy_average(optimizer, self.embedder, self._shipped)
            if self.statistics_batches is None:
                raise ReidError("SWA's averaged weights need statistics of their own: set trainer.statistics_batches.")
            renewed = True
        elif keeps_average(optimizer) or not int(self.optimizer.iterations.numpy()):
            renewed = False
        if renewed:
            outside_scope(fit_statistics, self._shipped, self.statistics_batches)
        return self._shipped

    @property
    def learned_parts(self) -> dict:
        """What a step changes, besides optimizer and report, by name: a checkpoint must hold it."""
        parts = {"embedder": self.embedder, "identity": self.identity_loss, "centers": self.center_loss}
        parts |= {"augmentation": self.augmentation, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def learned_variables(self) -> list:
        """The variables of `learned_parts`."""
        return [variable for part in self.learned_parts.values() for variable in part.variables]

    @property
    def metrics(self) -> list:
        return list(self._means.values())  # Keras resets these at the start of each epoch.

    def _metric_loss_weight(self) -> tf.Tensor | float:
        """Returns the weight of the compiled loss in this step, counted from 0."""
        if not any(self._metric_loss_steps):
            return 1.0
        start, steps = self._metric_loss_steps
        made = tf.cast(self.optimizer.iterations, tf.float32)  # exact up to 16 million
        return tf.clip_by_value((made + 1 - start) / max(1, steps), 0.0, 1.0)

    def _update_factors(self) -> list[tuple]:
        """Returns (variable, factor) for the weights whose update is scaled in this step."""
        if not self._frozen_steps or not self._backbone[0].trainable:
            return self._factors
        factors = {variable.ref(): factor for variable, factor in self._factors}
        restart = restart_factor(self.optimizer, self._frozen_steps)
        for layer in self._backbone:
            for variable in layer.trainable_weights:
                factors[variable.ref()] = factors.get(variable.ref(), 1.0) * restart
        return [(reference.deref(), factor) for reference, factor in factors.items()]

    def _check_average(self, optimizer) -> None:
        """Raises ReidError where the average that an optimizer keeps would not be the one that ships."""
        if self.average is not None:
            raise ReidError("ema and optimizer=tfa_swa both average the weights: leave out one of them.")
        if _computes_in_float16(self.embedder):
            raise ReidError(
                "optimizer=tfa_swa takes its average over all epochs, and a step that float16's loss scaling skips "
                "may be one that it counts: use mixed_precision=mixed_bfloat16 or float32, or another optimizer."
            )

    def _both_features(self, images: tf.Tensor) -> tuple:
        """Returns the features of the pair and center losses, and those of the classifier, float32 `[B, D]` each."""
        if self._features is None:
            embeddings = self(images, training=True)
            return embeddings, embeddings
        return tuple(tf.cast(feature, tf.float32) for feature in self._features(images, training=True))

    def _update_statistics(self, losses: dict, person_ids: tf.Tensor, embeddings: tf.Tensor, names=None) -> dict:
        context, embeddings = replica_context(), tf.stop_gradient(embeddings)
        replicas = 1 if context is None else context.num_replicas_in_sync
        for name in losses.keys() & self._means.keys():
            # Each replica has its share of the loss: their sum is the loss, and a metric takes the mean of replicas.
            self._means[name].update_state(losses[name] * replicas)
        person_ids = flat_person_ids(person_ids)
        if context is not None and getattr(self.loss, "mining_scope", "replica") == "global":
            person_ids, embeddings = all_rows(person_ids, context), all_rows(embeddings, context)
        metric = getattr(self.loss, "metric", "euclidean")
        pairs, distances = pair_up(person_ids), pairwise_distances(embeddings, metric=metric)
        valid = tf.cast(pairs.valid, tf.float32)  # other anchors have no weight in the two below
        hardest_positive = tf.reduce_max(tf.where(pairs.positive, distances, 0.0), axis=1)
        hardest_negative = tf.reduce_min(tf.where(pairs.negative, distances, tf.float32.max), axis=1)
        violation = hardest_positive - hardest_negative + getattr(self.loss, "hinge", 0.0)
        for name, values, weights in (
            ("active_triplets", violation > 0, valid),
            ("hardest_positive_distance", hardest_positive, valid),
            ("hardest_negative_distance", hardest_negative, valid),
            ("positive_distance", distances, tf.cast(pairs.positive, tf.float32)),
            ("negative_distance", distances, tf.cast(pairs.negative, tf.float32)),
            ("embedding_norm", tf.norm(embeddings, axis=1), None),
        ):
            self._means[name].update_state(values, sample_weight=weights)
        return {name: self._means[name].result() for name in names or self._means}


def _share_of_mean(values: tf.Tensor) -> tf.Tensor:
    """Returns this replica's part of the mean over the images of all replicas: the parts add up to it."""
    images, context = tf.cast(tf.size(values), values.dtype), replica_context()
    images = images if context is None else sum_over_replicas(images, context)
    return in_float32(tf.reduce_sum(values) / tf.maximum(images, 1.0))


def _images_and_ids(data) -> tuple:
    images, person_ids, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if person_ids is None or sample_weight is not None:
        raise ReidError("TripletTrainer trains on (images, person_ids), without sample weights.")
    return images, person_ids


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in layers_of(model))
