"""Decides which optimizer applies the gradients: Keras's, or tensorflow-addons' where that is installed."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf

OPTIMIZERS = ("adam", "adamw", "sgd", "tfa_radam", "tfa_lamb", "tfa_lookahead", "tfa_swa")
_USE_INSTEAD = {"tfa_radam": "adam", "tfa_lamb": "adamw", "tfa_lookahead": "adam", "tfa_swa": "adam --ema=0.999"}
AVERAGING_START = 0.75  # the share of the run after which tfa_swa averages (Izmailov et al. 2018, arXiv 1803.05407)


def build_optimizer(
    name: str,
    learning_rate,
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    epochs: int = 1,
    steps_per_epoch: int = 1,
):
    """Returns an optimizer; those of tensorflow-addons are of Keras's legacy class.

    Args:
        name: one of `OPTIMIZERS`. sgd has Nesterov momentum 0.9; tfa_lookahead (6 steps, half the way) and tfa_swa
            stand on Adam. tfa_swa averages the weights at the end of each epoch of the last quarter of the run.
        learning_rate: a number or a schedule.
        weight_decay: decoupled, for adamw, tfa_radam and tfa_lamb.
        clip_norm: largest norm of the gradient of all weights together, of the whole batch and without the scale of
            float16's loss: a longer one is shortened to it. 0 is off.
        epochs: of the run, for tfa_swa.
        steps_per_epoch: of the run, for tfa_swa.

    Raises:
        ReidError: an unknown name, a number that is negative, or tensorflow-addons is not installed.
    """
    for flag, value in (("weight_decay", weight_decay), ("clip_norm", clip_norm)):
        if not 0 <= value < float("inf"):
            raise ReidError(f"--{flag}={value}, expected a number of at least 0.")
    if name not in OPTIMIZERS:
        raise ReidError(f"--optimizer={name}, expected one of {', '.join(OPTIMIZERS)}.")
    clip = {"global_clipnorm": clip_norm or None}
    if name == "adam":
        return keras.optimizers.Adam(learning_rate, **clip)
    if name == "adamw":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, **clip)
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, **clip)
    addons = _addons_optimizers(name)
    if name == "tfa_radam":
        return addons.RectifiedAdam(learning_rate, weight_decay=weight_decay, **clip)
    if name == "tfa_lamb":
        return addons.LAMB(learning_rate, weight_decay=weight_decay, **clip)
    inner = keras.optimizers.legacy.Adam(learning_rate)
    if name == "tfa_lookahead":
        return addons.Lookahead(inner, **clip)
    # The last step of an epoch, counted from 0; a snapshot of each epoch from there on, the last of the run among them.
    start = max(1, math.ceil(AVERAGING_START * epochs)) * steps_per_epoch - 1
    return addons.SWA(inner, start_averaging=start, average_period=steps_per_epoch, **clip)


def create_state(optimizer, variables: Sequence[tf.Variable]) -> None:
    """Makes the variables of an optimizer; Keras would make them in the first step only, which is too late to restore.

    Args:
        optimizer: of either class, also in a LossScaleOptimizer.
        variables: all that it will ever train.
    """
    if is_legacy(optimizer):
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)


def is_legacy(optimizer) -> bool:
    """Whether an optimizer is of Keras's legacy class, as all of tensorflow-addons are."""
    return isinstance(optimizer, keras.optimizers.legacy.Optimizer)


def current_learning_rate(optimizer) -> tf.Tensor:
    """Returns the rate of the step that was just made."""
    rate = optimizer.learning_rate
    # The legacy class gives the schedule itself, and has already counted the step.
    return tf.convert_to_tensor(rate(optimizer.iterations - 1) if callable(rate) else rate)


def inner_optimizer(optimizer):
    """Returns the optimizer inside a LossScaleOptimizer, or the one given."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def keeps_average(optimizer) -> bool:
    """Whether an optimizer averages the weights, as tensorflow-addons' SWA does."""
    return hasattr(inner_optimizer(optimizer), "average_op")


def has_average(optimizer) -> bool:
    """Whether an optimizer has averaged weights by now: before the first its slots hold zeros."""
    if not keeps_average(optimizer):
        return False
    return int(optimizer.iterations.numpy()) > inner_optimizer(optimizer).get_config().get("start_averaging", 0)


def _addons_optimizers(name: str):
    if importlib.util.find_spec("tensorflow_addons") is None:
        raise ReidError(
            f"--optimizer={name} needs tensorflow-addons, which is not installed (it exists for Python 3.9 to 3.11 and "
            f"TensorFlow 2.15 at most). Use --optimizer={_USE_INSTEAD[name]}, which needs nothing else."
        )
    import tensorflow_addons

    return tensorflow_addons.optimizers
