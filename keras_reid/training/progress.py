"""Progress of a run: the line with the time left, the times of each epoch, and the moments when signals may stop it."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from statistics import median

from tqdm import tqdm

from keras_reid.interrupts import hold, pending, raise_together, release
from keras_reid.keras2 import keras
from keras_reid.training.strategy import Team

_STEPS_OF_ESTIMATE = 10  # steps after the first that tell how long the rest of the run takes


class _LogLines:
    """Stands for stdout where it is no terminal: each update of the progress line becomes a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stdout.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stdout.flush()


class Progress(keras.callbacks.Callback):
    """Progress line with the time left to the end of the run, and the times of each epoch.

    The time left is that of the remaining steps at the mean pace since this process began, with evaluations and
    checkpoints, without the first step, which builds the graph. After ten more steps a line tells the time left to the
    end of the whole run.

    The times of an epoch, columns of `times.csv`, cover the steps that this process made. `seconds` is the time inside
    steps, `seconds_between` all other time since the epoch before: checkpoints, evaluation. `seconds_per_step`
    (median), `images_per_second` and `waiting_share` (time spent waiting for batches) leave out the first step.

    Args:
        first_step: steps of the run made before this fit.
        total_steps: of the run.
        steps_per_epoch: of the run.
        batch_size: images in a step.
        steps_left: of a step, how many steps like the one to come the rest of the run is worth; by default as many as
            are left.
        seconds_besides: that scoring and export are expected to take; None where nothing tells yet.
        team: the replicas that train; a signal to one worker stops all after the same step.
    """

    def __init__(
        self,
        *,
        first_step: int,
        total_steps: int,
        steps_per_epoch: int,
        batch_size: int,
        steps_left: Callable[[int], float] | None = None,
        seconds_besides: float | None = None,
        team: Team | None = None,
    ):
        super().__init__()
        self.step = first_step
        self._total_steps, self._steps_per_epoch, self._batch_size = total_steps, steps_per_epoch, batch_size
        self._steps_left = steps_left or (lambda step: total_steps - step)
        self._seconds_besides, self._paced_from = seconds_besides, None
        self._bar = self._ended = None
        self._traced = lambda: None
        self._team = team or Team()

    def on_train_begin(self, logs=None):
        self._first_epoch = True
        self._ended = self._ended or time.perf_counter()
        self._bar = tqdm(
            total=self._total_steps,
            initial=self.step,
            unit="step",
            file=sys.stdout if sys.stdout.isatty() else _LogLines(),
            mininterval=0.5 if sys.stdout.isatty() else 15,  # a log file wants few lines
            smoothing=0,  # the mean pace: that of the newest steps would take an evaluation for the rule
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._seconds, self._waiting = [], []
        # A backbone that is frozen or freed, or images of another size, make another graph; the old one must go.
        if self.model.train_function is not self._traced():
            self._first_epoch, self._traced = True, weakref.ref(self.model.train_function)
        self._bar.set_description(f"epoch {epoch + 1}/{self._total_steps // self._steps_per_epoch}", refresh=False)

    def on_train_batch_begin(self, batch, logs=None):
        hold()  # a step that was made must be counted: weights and step go into the checkpoint together
        self._began, self._waited = time.perf_counter(), self.model.seconds_waiting

    def on_train_batch_end(self, batch, logs=None):
        self._seconds.append(time.perf_counter() - self._began)
        self._waiting.append(self.model.seconds_waiting - self._waited)
        self.step += 1
        shown = {"loss": f"{logs['loss']:.3f}", "active": f"{logs['active_triplets']:.0%}"}
        self._bar.set_postfix(shown, refresh=False)
        if self._first_epoch and len(self._seconds) == 1:  # the pace is that of the steps from here on
            self._bar.unpause()
            self._bar.initial = self.step
            self._paced_from = self._paced_from or (self.step, time.perf_counter())
        self._bar.update()
        if self._paced_from and self.step == self._paced_from[0] + _STEPS_OF_ESTIMATE:
            tqdm.write(self._time_left())
        if batch + 1 < self.params["steps"]:  # the last one's epoch is recorded before anything stops
            self.let_go()

    def epoch_times(self) -> dict[str, float]:
        """Returns the times of an epoch; to be called once, after its last step."""
        # The first step of a fit builds the graph, for longer than many steps take: it says nothing about the speed.
        first = 1 if self._first_epoch and len(self._seconds) > 1 else 0
        steady, before, self._ended = self._seconds[first:], self._ended, time.perf_counter()
        self._first_epoch = False
        return {
            "steps": len(self._seconds),
            "seconds": sum(self._seconds),
            "seconds_between": self._ended - before - sum(self._seconds),
            "seconds_per_step": median(steady),
            "images_per_second": len(steady) * self._batch_size / sum(steady),
            "waiting_share": sum(self._waiting[first:]) / sum(steady),
        }

    def _time_left(self) -> str:
        """Returns a line with the time left to the end of the run: training, then scoring and export."""
        step, began = self._paced_from
        training = self._steps_left(self.step) * (time.perf_counter() - began) / (self.step - step)
        if self._seconds_besides is None:
            return f"about {_duration(training)} of training are left, besides scoring and export"
        besides = self._seconds_besides
        parts = f"{_duration(training)} of training, {_duration(besides)} of scoring and export"
        return f"about {_duration(training + besides)} are left: {parts}"

    def let_go(self) -> None:
        """Stops here if a signal came: to one of several workers is to all, since none can stop or save alone."""
        if self._team.size == 1:
            release()
        else:
            raise_together(self._team.any_signal(pending()))

    def close(self) -> None:
        """Ends the progress line; also after an interrupted fit, which never reaches `on_train_end`."""
        if self._bar is not None:
            self._bar.close()

    def on_train_end(self, logs=None):
        self.close()
        self.let_go()
        release()


def _duration(seconds: float) -> str:
    """Returns a duration as roughly as an estimate is known."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{int(seconds < 9.5 * length)}f} {unit}"
    return f"{seconds:.0f} seconds"
