"""Learning rates of the parts of an embedder: factors on the rate, and a backbone that is frozen at first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses.replicas import replica_context
from keras_reid.training.optimizers import inner_optimizer, is_legacy

BACKBONE = "backbone"  # stands for all parts but the head


def part_of(layer_name: str) -> str:
    """Returns the part of `build_embedder`'s network that a layer belongs to: stem, stage1 to stage4, or head."""
    if layer_name.startswith("head_"):
        return "head"
    stage = re.match(r"v2_stack_(\d)_", layer_name)
    return f"stage{int(stage[1]) + 1}" if stage else "stem"


def rate_factors(embedder: keras.Model, rates: Mapping[str, float]) -> list[tuple]:
    """Returns (variable, factor) for each variable whose factor is not 1.

    Args:
        embedder: without frozen layers.
        rates: part -> factor; "backbone" stands for all parts but the head that are not named themselves.

    Raises:
        ReidError: a part that the embedder does not have, or a factor that is not above 0.
    """
    parts = {}
    for layer in embedder.layers:
        if layer.trainable_variables:
            parts.setdefault(part_of(layer.name), []).extend(layer.trainable_variables)
    known = [BACKBONE, *parts]
    for name, factor in rates.items():
        if name not in known:
            raise ReidError(f"layer_learning_rates has no part {name!r}: expected {', '.join(known)}.")
        if not 0 < factor < float("inf"):
            given = f"layer_learning_rates={name}={factor:g}"
            raise ReidError(f"{given}, expected above 0; freeze_backbone_epochs freezes.")
    general = {part: rates.get(BACKBONE, 1.0) for part in parts if part != "head"}
    factors = {**general, **{name: factor for name, factor in rates.items() if name != BACKBONE}}
    return [(variable, factors[name]) for name in factors for variable in parts[name] if factors[name] != 1]


def check_scalable(optimizer, what: str, *, legacy: bool) -> None:
    """Raises ReidError, naming the argument `what`, where scaling an update from outside would not be exact.

    Args:
        optimizer: of the run.
        what: the argument that asks for it.
        legacy: whether legacy optimizers that keep no second copy of the weights are accepted.
    """
    optimizer = inner_optimizer(optimizer)
    if not is_legacy(optimizer) or (legacy and not hasattr(optimizer, "_optimizer")):
        return
    others = ", tfa_radam or tfa_lamb" if legacy else ""
    raise ReidError(f"{what} goes with optimizer=adam, adamw, sgd{others}, not with {type(optimizer).__name__}.")


def scale_update(factors: list[tuple], update: Callable[[], None]) -> None:
    """Makes an update, and scales the change of some variables: w + factor * (updated w - w).

    Scaling gradients would do nothing under Adam. This equals a scaled learning rate for any optimizer whose change is
    proportional to the rate, decoupled weight decay included.

    Args:
        factors: (variable, factor) for those whose change is scaled; a factor is a number or a scalar tensor.
        update: changes the variables.
    """
    before = [tf.identity(variable) for variable, _ in factors]
    update()

    def scale(variable, value, factor):
        return variable.assign(value + factor * (variable - value))

    def scale_all(strategy, before):
        for (variable, factor), value in zip(factors, before):
            strategy.extended.update(variable, scale, (value, factor))

    context = replica_context()
    if context is not None:  # one replica must not assign to a weight that all share
        context.merge_call(scale_all, args=(before,))
        return
    for (variable, factor), value in zip(factors, before):
        scale(variable, value, factor)


def restart_factor(optimizer, frozen_steps: int) -> tf.Tensor | float:
    """Returns the factor on an update of weights that were frozen at first: with it Adam counts from their first step.

    Keras counts the steps of all weights alike: without bias correction for the young moments, the first changes would
    be 3 to 6 times as large as Adam's. After t steps, k of them since the weights were freed, the factor is
    (sqrt(1 - b2^k) / (1 - b1^k)) / (sqrt(1 - b2^t) / (1 - b1^t)).

    Args:
        optimizer: adam, adamw, or sgd, whose factor is 1; before the update.
        frozen_steps: t - k.
    """
    optimizer = inner_optimizer(optimizer)
    if not hasattr(optimizer, "beta_1"):
        return 1.0
    steps = tf.cast(optimizer.iterations + 1, tf.float32)

    def correction(count):
        return tf.sqrt(1 - tf.pow(optimizer.beta_2, count)) / (1 - tf.pow(optimizer.beta_1, count))

    return correction(steps - frozen_steps) / correction(steps)


class FreezeBackbone(keras.callbacks.Callback):
    """Trains the head alone in the first `steps` of a run, whole epochs; see `TripletTrainer.freeze_backbone`."""

    def __init__(self, steps: int):
        super().__init__()
        self._steps = steps

    def on_epoch_begin(self, epoch, logs=None):
        self.model.freeze_backbone(self._steps)
