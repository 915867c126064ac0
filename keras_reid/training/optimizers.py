"""Decides how fast the weights move: the learning rate at each step, and the optimizer that applies it."""

from __future__ import annotations

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf

SCHEDULES = ("trinet", "constant")
OPTIMIZERS = ("adam", "adamw", "sgd")


class TrinetSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Constant, then exponential decay to a thousandth: r for t <= t0, else r * 0.001 ** ((t - t0) / (t1 - t0)).

    Args:
        learning_rate: r.
        decay_start: t0, the step at which the decay begins.
        total_steps: t1, the last step of the run.

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 12, with t0 = 15,000 and t1 = 25,000. Their switch of
    Adam's beta1 from 0.9 to 0.5 at t0 is not made.
    """

    def __init__(self, learning_rate: float, *, decay_start: int, total_steps: int):
        self.learning_rate, self.decay_start, self.total_steps = learning_rate, decay_start, total_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        decayed = (step - self.decay_start) / max(1, self.total_steps - self.decay_start)
        return self.learning_rate * tf.pow(0.001, tf.clip_by_value(decayed, 0.0, 1.0))

    def get_config(self) -> dict:
        return {
            "learning_rate": self.learning_rate,
            "decay_start": self.decay_start,
            "total_steps": self.total_steps,
        }


def build_schedule(name: str, learning_rate: float, *, total_steps: int):
    """Returns the learning rate as Keras takes it: a schedule over `total_steps`, or the number itself.

    Raises:
        ReidError: an unknown name, or a rate that is not above 0.
    """
    if not 0 < learning_rate < float("inf"):
        raise ReidError(f"--learning_rate={learning_rate}, expected a number above 0.")
    if name == "trinet":
        # 15,000 of 25,000 steps in the paper: the same share of a run of any length.
        return TrinetSchedule(learning_rate, decay_start=round(0.6 * total_steps), total_steps=total_steps)
    if name == "constant":
        return learning_rate
    raise ReidError(f"--schedule={name}, expected one of {', '.join(SCHEDULES)}.")


def build_optimizer(name: str, learning_rate, *, weight_decay: float = 0.0) -> keras.optimizers.Optimizer:
    """Returns a Keras optimizer.

    Args:
        name: one of `OPTIMIZERS`; sgd has Nesterov momentum 0.9.
        learning_rate: a number or a schedule.
        weight_decay: decoupled, for adamw.

    Raises:
        ReidError: an unknown name, or a weight decay that is negative.
    """
    if weight_decay < 0:
        raise ReidError(f"--weight_decay={weight_decay}, expected 0 or more.")
    if name == "adam":
        return keras.optimizers.Adam(learning_rate)
    if name == "adamw":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
    raise ReidError(f"--optimizer={name}, expected one of {', '.join(OPTIMIZERS)}.")
