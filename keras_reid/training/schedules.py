"""Learning rate schedules: a linear warm-up, then trinet, cosine, step or constant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_reid import choices
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf

WARMUP_START = 0.1  # share of the rate at which a warm-up begins (Luo et al. 2019)
STEP_SHARES = (40 / 120, 70 / 120)  # of the run, after which `step` falls by default (Luo et al. 2019)


class _WarmedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The rate at step t, counted from 0: r * w(t) * f(t).

    w(t) = 0.1 + 0.9 * t / W for t < W (`warmup_steps`), then 1. A subclass defines the fall f(t), which must not begin
    before the warm-up ends. Attributes are the arguments of the constructor.
    """

    def __init__(self, learning_rate: float, *, warmup_steps: int = 0):
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)  # exact up to 16 million
        warm = WARMUP_START + (1 - WARMUP_START) * step / max(1, self.warmup_steps)
        warm = tf.where(step < self.warmup_steps, warm, 1.0)
        return self.learning_rate * warm * self._fall(step)

    def _fall(self, step: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def get_config(self) -> dict:
        return dict(vars(self))


class TrinetSchedule(_WarmedSchedule):
    """Constant, then exponential decay to a thousandth: f(t) = 1 for t <= t0, else 0.001 ** ((t - t0) / (t1 - t0)).

    Args:
        learning_rate: r.
        decay_start: t0, the step at which the decay begins.
        total_steps: t1, the last step of the run.
        warmup_steps: see `_WarmedSchedule`.

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 12, with t0 = 15,000 and t1 = 25,000. Their switch of
    Adam's beta1 from 0.9 to 0.5 at t0 is not made.
    """

    def __init__(self, learning_rate: float, *, decay_start: int, total_steps: int, warmup_steps: int = 0):
        super().__init__(learning_rate, warmup_steps=warmup_steps)
        self.decay_start, self.total_steps = decay_start, total_steps

    def _fall(self, step):
        decayed = (step - self.decay_start) / max(1, self.total_steps - self.decay_start)
        return tf.pow(0.001, tf.clip_by_value(decayed, 0.0, 1.0))


class CosineSchedule(_WarmedSchedule):
    """Half a cosine from 1 at the end of the warm-up to 0: f(t) = (1 + cos(pi * (t - W) / (T - W))) / 2 for t >= W.

    Args:
        learning_rate: r.
        total_steps: T, the length of the run.
        warmup_steps: W.

    Source: Loshchilov, Hutter 2017 (arXiv 1608.03983), equation 5, without restarts.
    """

    def __init__(self, learning_rate: float, *, total_steps: int, warmup_steps: int = 0):
        super().__init__(learning_rate, warmup_steps=warmup_steps)
        self.total_steps = total_steps

    def _fall(self, step):
        left = (self.total_steps - step) / max(1, self.total_steps - self.warmup_steps)
        # The same as (1 + cos) / 2, which would cancel near the end of the run.
        return tf.square(tf.sin(0.5 * math.pi * tf.clip_by_value(left, 0.0, 1.0)))


class StepSchedule(_WarmedSchedule):
    """A tenth from each milestone on: f(t) = 0.1 ** (number of milestones m with m <= t). Without any it is constant.

    Args:
        learning_rate: r.
        milestones: steps, ascending.
        warmup_steps: see `_WarmedSchedule`.
    """

    def __init__(self, learning_rate: float, *, milestones: Sequence[int] = (), warmup_steps: int = 0):
        super().__init__(learning_rate, warmup_steps=warmup_steps)
        self.milestones = list(milestones)

    def _fall(self, step):
        passed = tf.cast(step[..., None] >= tf.constant(self.milestones, tf.float32), tf.float32)
        return tf.pow(0.1, tf.reduce_sum(passed, axis=-1))


def build_schedule(
    name: str,
    learning_rate: float,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup_epochs: float = 0.0,
    decay_epochs: Sequence[float] = (),
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate over a run. It depends on the length of the run: a longer one has other rates.

    Args:
        name: one of `choices.SCHEDULES`.
        learning_rate: after the warm-up and before any fall.
        epochs: of the run.
        steps_per_epoch: of the run.
        warmup_epochs: need not be whole; rounded to whole steps.
        decay_epochs: of "step", the epochs after which the rate falls; by default a third and 7/12 of the run.

    Raises:
        ReidError: an unknown name, a rate that is not above 0, a warm-up that does not end before the rate falls, or
            decay epochs that are not ascending within the run.
    """
    if not 0 < learning_rate < float("inf"):
        raise ReidError(f"learning_rate={learning_rate}, expected a number above 0.")
    if name not in choices.SCHEDULES:
        raise ReidError(f"schedule={name}, expected one of {', '.join(choices.SCHEDULES)}.")
    decay_epochs, shown = list(decay_epochs), ",".join(f"{epoch:g}" for epoch in decay_epochs)
    if decay_epochs and name != "step":
        raise ReidError(f"decay_epochs={shown} belongs to schedule=step, but schedule={name}: leave it out.")
    if sorted({epoch for epoch in decay_epochs if 0 < epoch < epochs}) != decay_epochs:
        raise ReidError(
            f"decay_epochs={shown}, expected ascending numbers, above 0 and below epochs={epochs}, such as 40,70."
        )
    total = epochs * steps_per_epoch
    falls = [total]
    if name == "trinet":
        falls = [round(0.6 * total)]  # 15,000 of 25,000 steps in the paper
    elif name == "step":
        decay_epochs = decay_epochs or [share * epochs for share in STEP_SHARES]
        falls = [round(epoch * steps_per_epoch) for epoch in decay_epochs]
    if not 0 <= warmup_epochs * steps_per_epoch <= falls[0]:
        raise ReidError(
            f"warmup_epochs={warmup_epochs:g}, expected 0 to {falls[0] / steps_per_epoch:g}: from there on the rate "
            f"of schedule={name} falls, or the run of {epochs} epochs ends."
        )
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    if name == "trinet":
        return TrinetSchedule(learning_rate, decay_start=falls[0], total_steps=total, warmup_steps=warmup_steps)
    if name == "cosine":
        return CosineSchedule(learning_rate, total_steps=total, warmup_steps=warmup_steps)
    return StepSchedule(learning_rate, milestones=falls if name == "step" else (), warmup_steps=warmup_steps)
