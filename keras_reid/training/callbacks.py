"""Decides what happens round the steps of a run: progress with an ETA, the record of an epoch, and how it is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from statistics import median

from tqdm import tqdm

from keras_reid.interrupts import hold, pending, raise_together, release
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.training.checkpoints import Checkpoints
from keras_reid.training.curves import draw_curves
from keras_reid.training.run_folder import BEST_BY, RunFolder
from keras_reid.training.strategy import Team, outside_scope
from keras_reid.training.tensorboard import EmbeddingHistograms, write_events

# What `times.csv` says of an epoch; all else of it is the same in each run of the same flags.
TIMES = ("steps", "seconds", "seconds_between", "seconds_per_step", "images_per_second", "waiting_share")
_DRAWING_TAKES = 0.05  # of the time: a picture is drawn no sooner than it took 20 times over
_REPORT = (
    "epoch {epoch}: loss {loss:.4f}, {active_triplets:.1%} of triplets active, hardest positive "
    "{hardest_positive_distance:.3f}, hardest negative {hardest_negative_distance:.3f}, norm {embedding_norm:.3f}, "
    "learning rate {learning_rate:.2e}, {images_per_second:.0f} images/s, waiting {waiting_share:.0%}"
)


class _LogLines:
    """Stands for stdout where it is no terminal: what tqdm would draw over again becomes a line of the log."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stdout.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stdout.flush()


class Progress(keras.callbacks.Callback):
    """One line with the time left to the end of the run, and what `times.csv` says of an epoch.

    The time left is that of the steps left at the pace since the start (or since the run went on), evaluations and
    checkpoints so far included, the first step, which builds the graph, left out.

    The times of an epoch are those of its steps since the start: where a run went on inside an epoch, `steps` is less
    than its steps. `seconds` are those inside steps, `seconds_between` all other since the epoch before (or the start):
    checkpoints, evaluation. The median `seconds_per_step`, `images_per_second` and `waiting_share`, the share of the
    steps that was spent waiting for their batches, leave out the first step.

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
        self._bar = self._ended = self._traced = None
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
        # A backbone that is frozen or freed makes another graph.
        if self.model.train_function is not self._traced:
            self._first_epoch, self._traced = True, self.model.train_function
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
        self._bar.update()
        if batch + 1 < self.params["steps"]:  # the last one's epoch is recorded before anything stops
            self.let_go()

    def on_epoch_end(self, epoch, logs=None):
        # The first step of a fit builds the graph, for longer than many steps take: it says nothing about the speed.
        first = 1 if self._first_epoch and len(self._seconds) > 1 else 0
        steady, ended = self._seconds[first:], time.perf_counter()
        logs["steps"] = len(self._seconds)
        logs["seconds"] = sum(self._seconds)
        logs["seconds_between"] = ended - self._ended - sum(self._seconds)
        logs["seconds_per_step"] = median(steady)
        logs["images_per_second"] = len(steady) * self._batch_size / sum(steady)
        logs["waiting_share"] = sum(self._waiting[first:]) / sum(steady)
        self._first_epoch, self._ended = False, ended

    def let_go(self) -> None:
        """Stops here when a signal came; of several workers all do, or none: one alone can neither stop nor save."""
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


class RecordEpoch(keras.callbacks.Callback):
    """Writes the epoch: its rows of `metrics.csv` and `times.csv`, TensorBoard, its checkpoint and `last.keras`.

    Inside an epoch it writes the checkpoint of every n-th step. It comes before the evaluation.

    Args:
        run: the run's folder.
        checkpoints: of the trainer.
        progress: counts the steps; precedes this in the list.
        histograms: of what the network makes of some training images; None leaves them out.
        save_every_steps: n; 0 for none between epochs.
    """

    def __init__(
        self,
        run: RunFolder,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        histograms: EmbeddingHistograms | None = None,
        save_every_steps: int = 0,
    ):
        super().__init__()
        self._run, self._checkpoints, self._progress = run, checkpoints, progress
        self._histograms, self._every = histograms, save_every_steps

    def on_train_batch_end(self, batch, logs=None):
        inside_epoch = batch + 1 < self.params["steps"]  # the last step's is written with its epoch
        if self._every and inside_epoch and self._progress.step % self._every == 0:
            self._checkpoints.save(self._progress.step)

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: float(value) for name, value in logs.items()}
        embedder = self.model.shipped_embedder()  # by all workers at once
        # All before the checkpoint: a run that goes on from it lacks none of them.
        place = {"epoch": epoch + 1, "step": self._progress.step}
        self._run.record_epoch({**place, **{name: numbers[name] for name in numbers if name not in TIMES}})
        self._run.record_times({**place, **{name: numbers[name] for name in numbers if name in TIMES}})
        if self._run.writes:
            self._show(embedder, numbers)
        # Before the model: whoever finds one may expect that the run can go on.
        self._checkpoints.save(self._progress.step)
        if self._run.writes:
            outside_scope(save_keras, embedder, self._run.last_model)
        self._progress.let_go()
        tqdm.write(_REPORT.format(epoch=epoch + 1, **numbers))

    def _show(self, embedder: keras.Model, numbers: Mapping[str, float]) -> None:
        histograms = {}
        if self._histograms is not None:
            metric = getattr(self.model.loss, "metric", "euclidean")
            histograms = self._histograms.of(embedder, metric=metric)
        scalars = {_tag(name): value for name, value in numbers.items()}
        write_events(self._run.tensorboard, self._progress.step, "epoch", scalars, histograms)


class RecordEvaluation(keras.callbacks.Callback):
    """Adds the scores to the epoch's row and to TensorBoard, keeps the best model so far, stops early.

    It comes after the evaluation.

    Args:
        run: the run's folder.
        early_stop: evaluations without a better mAP after which training ends; 0 is off.
        team: the replicas that train: all stop early with the chief.
    """

    def __init__(self, run: RunFolder, *, early_stop: int = 0, team: Team | None = None):
        super().__init__()
        self._run, self._early_stop, self._team = run, early_stop, team or Team()

    def on_epoch_end(self, epoch, logs=None):
        if BEST_BY in logs:
            scores = {name: value for name, value in logs.items() if name.startswith("val_")}
            self.record(epoch + 1, scores)
            # From the file alone: a resumed run decides the same.
            if self._team.chiefs(bool(self._run.stopped_after(self._early_stop))):
                self.model.stop_training = True

    def record(self, epoch: int, scores: Mapping[str, float]) -> None:
        """Adds the scores of the newest epoch, counted from 1, to its row."""
        embedder = self.model.shipped_embedder()  # by all workers at once
        row = self._run.last_row() if self._run.writes else {}
        if row.get("epoch") != epoch:
            return
        if scores[BEST_BY] > self._run.best_row().get(BEST_BY, float("-inf")):
            outside_scope(save_keras, embedder, self._run.best_model)
        tags = {f"scores/{name[4:]}": value for name, value in scores.items()}
        write_events(self._run.tensorboard, int(row["step"]), "scores", tags)
        # Last: a run that goes on scores an epoch again whose row has none.
        self._run.record_epoch({name: float(value) for name, value in {**row, **scores}.items()})
        tqdm.write(f"epoch {epoch}: mAP {scores[BEST_BY]:.2%}, top-1 {scores['val_top1']:.2%}")


class DrawCurves(keras.callbacks.Callback):
    """Draws `curves.png` after each epoch; those that take next to no time share a picture. After `RecordEvaluation`.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder):
        super().__init__()
        self._run = run
        self._next_picture = 0.0

    def on_epoch_end(self, epoch, logs=None):
        began = time.perf_counter()
        if self._run.writes and began >= self._next_picture:
            draw_curves(self._run)
            ended = time.perf_counter()
            self._next_picture = ended + (ended - began) / _DRAWING_TAKES


def _tag(name: str) -> str:
    """Returns what TensorBoard calls a number of the epoch: it groups by what stands before the slash."""
    group = "speed" if name in TIMES else "distances" if name.endswith("_distance") else "training"
    return f"{group}/{name}"
