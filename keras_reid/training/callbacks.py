"""Decides what happens round the steps of a run: progress with an ETA, and the record of an epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from keras_reid.interrupts import hold, pending, raise_together, release
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.training.checkpoints import Checkpoints
from keras_reid.training.run_folder import BEST_BY, RunFolder
from keras_reid.training.strategy import Team, outside_scope

TIMES = ("seconds", "images_per_second")  # of an epoch; all else of it is the same in each run of the same flags
_REPORT = (
    "epoch {epoch}: loss {loss:.4f}, {active_triplets:.1%} of triplets active, hardest positive "
    "{hardest_positive_distance:.3f}, hardest negative {hardest_negative_distance:.3f}, norm {embedding_norm:.3f}, "
    "learning rate {learning_rate:.2e}, {images_per_second:.0f} images/s"
)


class _LogLines:
    """Stands for stdout where it is no terminal: what tqdm would draw over again becomes a line of the log."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stdout.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stdout.flush()


class Progress(keras.callbacks.Callback):
    """One line with the ETA of the whole run; measures images/s.

    Args:
        first_step: steps of the run made before this fit.
        total_steps: of the run.
        steps_per_epoch: of the run.
        batch_size: images in a step.
        team: the replicas that train; a signal to one worker stops all after the same step.
    """

    def __init__(
        self, *, first_step: int, total_steps: int, steps_per_epoch: int, batch_size: int, team: Team | None = None
    ):
        super().__init__()
        self.step = first_step
        self._total_steps, self._steps_per_epoch, self._batch_size = total_steps, steps_per_epoch, batch_size
        self._bar, self._team = None, team or Team()

    def on_train_begin(self, logs=None):
        self._first_epoch = True
        self._bar = tqdm(
            total=self._total_steps,
            initial=self.step,
            unit="step",
            file=sys.stdout if sys.stdout.isatty() else _LogLines(),
            mininterval=0.5 if sys.stdout.isatty() else 15,  # a log file wants few lines
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._seconds = []
        self._bar.set_description(f"epoch {epoch + 1}/{self._total_steps // self._steps_per_epoch}", refresh=False)

    def on_train_batch_begin(self, batch, logs=None):
        hold()  # a step that was made must be counted: weights and step go into the checkpoint together
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._seconds.append(time.perf_counter() - self._began)
        self.step += 1
        shown = {"loss": f"{logs['loss']:.3f}", "active": f"{logs['active_triplets']:.0%}"}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()
        if self._team.size == 1:
            release()
        else:  # held until the last step: one worker alone can neither stop nor save
            raise_together(self._team.any_signal(pending()))

    def on_epoch_end(self, epoch, logs=None):
        # The first step of a fit builds the graph, for longer than many steps take: it says nothing about the speed.
        steady = self._seconds[1:] if self._first_epoch and len(self._seconds) > 1 else self._seconds
        self._first_epoch = False
        logs["images_per_second"] = len(steady) * self._batch_size / sum(steady)
        logs["seconds"] = sum(self._seconds)

    def close(self) -> None:
        """Ends the progress line; also after an interrupted fit, which never reaches `on_train_end`."""
        if self._bar is not None:
            self._bar.close()

    def on_train_end(self, logs=None):
        self.close()
        release()


class RecordEpoch(keras.callbacks.Callback):
    """Writes the epoch: its rows of `metrics.csv` and `times.csv`, `last.keras` and its checkpoint.

    Inside an epoch it writes the checkpoint of every n-th step. It comes before the evaluation.

    Args:
        run: the run's folder.
        checkpoints: of the trainer.
        progress: counts the steps; precedes this in the list.
        save_every_steps: n; 0 for none between epochs.
    """

    def __init__(self, run: RunFolder, checkpoints: Checkpoints, progress: Progress, *, save_every_steps: int = 0):
        super().__init__()
        self._run, self._checkpoints, self._progress = run, checkpoints, progress
        self._every = save_every_steps

    def on_train_batch_end(self, batch, logs=None):
        inside_epoch = batch + 1 < self.params["steps"]  # the last step's is written with its epoch
        if self._every and inside_epoch and self._progress.step % self._every == 0:
            self._checkpoints.save(self._progress.step)

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: float(value) for name, value in logs.items()}
        place = {"epoch": epoch + 1, "step": self._progress.step}
        self._run.record_epoch({**place, **{name: numbers[name] for name in numbers if name not in TIMES}})
        self._run.record_times({**place, **{name: numbers[name] for name in numbers if name in TIMES}})
        embedder = self.model.shipped_embedder()  # by all workers at once
        if self._run.writes:
            outside_scope(save_keras, embedder, self._run.last_model)
        self._checkpoints.save(self._progress.step)
        tqdm.write(_REPORT.format(epoch=epoch + 1, **numbers))


class RecordEvaluation(keras.callbacks.Callback):
    """Adds the scores to the epoch's row, and keeps the best model so far. Comes after the evaluation.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder):
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        if BEST_BY in logs:
            scores = {name: value for name, value in logs.items() if name.startswith("val_")}
            self.record({**self._run.last_row(), **scores})

    def record(self, row: Mapping[str, float]) -> None:
        """Replaces the row of the newest epoch by one with its scores."""
        embedder = self.model.shipped_embedder()  # by all workers at once
        if self._run.writes and row[BEST_BY] > self._run.best_row().get(BEST_BY, float("-inf")):
            outside_scope(save_keras, embedder, self._run.best_model)
        self._run.record_epoch({name: float(value) for name, value in row.items()})
        tqdm.write(f"epoch {row['epoch']:.0f}: mAP {row[BEST_BY]:.2%}, top-1 {row['val_top1']:.2%}")
