"""Optimizers by name: Keras's, and as baselines those of tensorflow-addons."""

from __future__ import annotations

from collections.abc import Sequence

from keras_reid import addons, choices
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf


def build_optimizer(
    name: str,
    learning_rate,
    *,
    weight_decay: float = 0.0,
    decayed_weights: str = "all",
    clip_norm: float = 0.0,
    epochs: int = 1,
    steps_per_epoch: int = 1,
):
    """Returns an optimizer; those of tensorflow-addons are of Keras's legacy class.

    Args:
        name: one of `choices.OPTIMIZERS`. sgd has Nesterov momentum 0.9; for those of tensorflow-addons (tfa_...) see
            `keras_reid.addons`.
        learning_rate: a number or a schedule.
        weight_decay: decoupled, for adamw, tfa_radam and tfa_lamb: w -= learning_rate * weight_decay * w in each step.
        decayed_weights: "all", or "kernels": weight_decay is for sgd as well, and `decay_kernels_only` is still to be
            called.
        clip_norm: largest norm of the gradient of all weights together, without float16's loss scale; 0 is off.
        epochs: of the run, for tfa_swa.
        steps_per_epoch: of the run, for tfa_swa.

    Raises:
        ReidError: an unknown name, a number that is negative, or tensorflow-addons is not installed.
    """
    for argument, value in (("weight_decay", weight_decay), ("clip_norm", clip_norm)):
        if not 0 <= value < float("inf"):
            raise ReidError(f"{argument}={value}, expected a number of at least 0.")
    if name not in choices.OPTIMIZERS:
        raise ReidError(f"optimizer={name}, expected one of {', '.join(choices.OPTIMIZERS)}.")
    clip = {"global_clipnorm": clip_norm or None}
    if decayed_weights == "kernels" and name not in ("adamw", "sgd"):
        raise ReidError(f"decayed_weights=kernels goes with optimizer=adamw or sgd, not with {name}.")
    if name == "adam":
        return keras.optimizers.Adam(learning_rate, **clip)
    if name == "adamw":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, **clip)
    if name == "sgd":
        decay = weight_decay if decayed_weights == "kernels" else None
        return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=decay, **clip)
    run = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    return addons.build_optimizer(name, learning_rate, weight_decay=weight_decay, clip_norm=clip_norm or None, **run)


def decay_kernels_only(optimizer, variables: Sequence[tf.Variable]) -> None:
    """Keeps weight decay from biases and BatchNormalization: of weights in one dimension. Call it before training."""
    optimizer.exclude_from_weight_decay([variable for variable in variables if variable.shape.rank < 2])


def create_state(optimizer, variables: Sequence[tf.Variable]) -> None:
    """Makes an optimizer's state of all that it will train; Keras would in the first step, too late for a restore."""
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
