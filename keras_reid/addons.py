"""tensorflow-addons as a baseline: its losses and optimizers, where it is installed. No other module imports it."""

from __future__ import annotations

import importlib.util
import math

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.models.structure import weights_of

# Name -> class of tensorflow-addons, and what of ours needs no addons.
LOSSES = {
    "tfa_triplet_hard": ("TripletHardLoss", "batch_hard"),
    "tfa_triplet_semi_hard": ("TripletSemiHardLoss", "semi_hard"),
    "tfa_lifted_struct": ("LiftedStructLoss", "lifted"),
}
OPTIMIZERS = {
    "tfa_radam": ("RectifiedAdam", "optimizer=adam"),
    "tfa_lamb": ("LAMB", "optimizer=adamw"),
    "tfa_lookahead": ("Lookahead", "optimizer=adam"),
    "tfa_swa": ("SWA", "optimizer=adam with ema=0.999"),
}
WITH_SOFT_MARGIN = ("tfa_triplet_hard",)
AVERAGING_START = 0.75  # the share of the run after which SWA averages (Izmailov et al. 2018, arXiv 1803.05407)


def build_loss(name: str, *, margin: float | str) -> tf.keras.losses.Loss:
    """Returns the loss of `LOSSES`, which mines within each replica; ReidError where tensorflow-addons is missing."""
    class_name, ours = LOSSES[name]
    loss = getattr(_addons(f"loss={name}", f"loss={ours}").losses, class_name)
    return loss(soft=True) if margin == "soft" else loss(margin=margin)


def build_optimizer(
    name: str, learning_rate, *, weight_decay: float, clip_norm: float | None, epochs: int, steps_per_epoch: int
) -> keras.optimizers.legacy.Optimizer:
    """Returns the optimizer of `OPTIMIZERS`, of Keras's legacy class; ReidError where tensorflow-addons is missing.

    Lookahead (6 steps, half the way) and SWA stand on Adam. SWA averages the weights at the end of each epoch of the
    last quarter of the run, whose epochs and steps it must know. RectifiedAdam and LAMB take a decoupled weight decay.
    `learning_rate` may be a schedule; `clip_norm` is the largest norm of the whole gradient, or None.
    """
    class_name, ours = OPTIMIZERS[name]
    optimizer = getattr(_addons(f"optimizer={name}", ours).optimizers, class_name)
    if name in ("tfa_radam", "tfa_lamb"):
        return optimizer(learning_rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
    inner = keras.optimizers.legacy.Adam(learning_rate)
    if name == "tfa_lookahead":
        return optimizer(inner, global_clipnorm=clip_norm)
    # The last step of an epoch, counted from 0; a snapshot of each epoch from there on, including the run's last.
    start = max(1, math.ceil(AVERAGING_START * epochs)) * steps_per_epoch - 1
    return optimizer(inner, start_averaging=start, average_period=steps_per_epoch, global_clipnorm=clip_norm)


def keeps_average(optimizer) -> bool:
    """Whether an optimizer, not wrapped in a LossScaleOptimizer, averages the weights, as SWA does."""
    return hasattr(optimizer, "average_op")


def has_average(optimizer) -> bool:
    """Whether an optimizer has averaged weights by now: before the first its slots hold zeros."""
    if not keeps_average(optimizer):
        return False
    return int(optimizer.iterations.numpy()) > optimizer.get_config().get("start_averaging", 0)


def copy_average(optimizer, model: keras.Model, copy: keras.Model) -> None:
    """Sets the weights of a copy of a model to the averages that an optimizer keeps of the model's."""
    for weight, copied in zip(weights_of(model), weights_of(copy)):
        copied.assign((optimizer.get_slot(weight, "average") if weight.trainable else weight).numpy())


def _addons(asked: str, instead: str):
    if importlib.util.find_spec("tensorflow_addons") is None:
        raise ReidError(
            f"{asked} needs tensorflow-addons, which is not installed: pip install tensorflow-addons (it exists for "
            f"Python 3.9 to 3.11 and TensorFlow 2.15 at most). Use {instead}, which needs nothing else."
        )
    import tensorflow_addons

    return tensorflow_addons
