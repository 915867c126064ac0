"""Checkpoints: all that a run needs to go on, the newest two and the best, such as `checkpoints/step-00000179/`."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_reid.errors import ReidError
from keras_reid.files import remove, temporary_name, wait_for_disk, whole_or_not_at_all, without_patterns
from keras_reid.keras2 import keras, tf
from keras_reid.training.optimizers import create_state
from keras_reid.training.strategy import Team

_KEPT = 2
_NAME = re.compile(r"step-\d{8}")
_FILES = "checkpoint"  # prefix of TensorFlow's two files inside a checkpoint's folder


class Checkpoints:
    """Saves and restores all that training changes; a checkpoint is whole or not there.

    It holds weights, optimizer state, averages, random state, the running means of the epoch's report, and the state of
    watchers. With the same batches and `deterministic`, a run that goes on equals, bit by bit, one that never stopped.

    Args:
        folder: holds one folder for each checkpoint, named by the steps made.
        trainer: a compiled `TripletTrainer`.
        watchers: name -> object with `get_state()`, which returns a dict that JSON can hold, and `set_state(dict)`.
        best_step: returns the step of the checkpoint to keep besides the newest two, or None.
        team: the replicas that train. All workers must save and restore at once; the chief alone writes.
    """

    def __init__(
        self,
        folder: Path,
        trainer,
        *,
        watchers: Mapping[str, object] | None = None,
        best_step: Callable[[], int | None] = lambda: None,
        team: Team | None = None,
    ):
        self._folder, self._best_step, self._team, self._held = Path(folder), best_step, team or Team(), 0
        create_state(trainer.optimizer, trainer.trainable_variables)
        report = {f"report_{metric.name}": metric for metric in trainer.metrics}
        states = {name: _State(watcher) for name, watcher in (watchers or {}).items()}
        self._checkpoint = tf.train.Checkpoint(optimizer=trainer.optimizer, **trainer.learned_parts, **report, **states)

    def save(self, step: int) -> None:
        """Writes the checkpoint of a step, then prunes and removes damaged older ones.

        Raises:
            ReidError: it cannot be written; those that are there stay.
        """
        target = self._path(step)
        if self._team.size > 1 and step == self._held:
            return
        self._held = step
        if not self._team.is_chief:
            # Statistics of BatchNormalization are the mean of all workers': each must take part in reading them.
            with tempfile.TemporaryDirectory() as thrown_away:
                self._checkpoint.write(str(Path(thrown_away, _FILES)))
            return
        if not target.exists():
            try:
                with whole_or_not_at_all(target) as temporary:
                    self._checkpoint.write(str(temporary / _FILES))
                    wait_for_disk(temporary)
            except (tf.errors.OpError, OSError) as error:
                if self._team.size > 1 and "Collective" in str(error):
                    raise  # not the disk: a worker is gone
                raise ReidError(
                    f"the checkpoint of step {step} cannot be written to {str(self._folder)!r} "
                    f"({str(error).splitlines()[0][-300:]}). Those that are there are kept; the same command goes on."
                ) from error
        self.prune()
        for damaged in self._folder.glob("damaged-step-*"):
            if _NAME.fullmatch(damaged.name[len("damaged-") :]) and _step_of(damaged) <= step:
                _remove(damaged)

    def prune(self) -> None:
        """Removes all but the newest two and the best."""
        best = self._best_step()
        for outdated in self._newest_first()[_KEPT:] if self._team.is_chief else []:
            if best is None or outdated != self._path(best):
                _remove(outdated)

    def restore_newest(self) -> int:
        """Restores the newest readable checkpoint and returns its step; 0 when there is none.

        Those that cannot be read are named and set aside as `damaged-step-*`: their steps are made again.

        Raises:
            ReidError: it belongs to another architecture or optimizer, none can be read, or workers differ.
        """
        self._held = self._team.agreed(self._restore_newest(), "checkpoints of steps")
        return self._held

    def _restore_newest(self) -> int:
        checkpoints = self._newest_first()
        for place, path in enumerate(checkpoints):
            try:
                with without_patterns(path) as readable:
                    self._checkpoint.read(str(readable / _FILES)).assert_consumed()
            # IndexError, KeyError: raised by TF and JSON for a short file.
            except (tf.errors.OpError, OSError, IndexError, KeyError, json.JSONDecodeError) as error:
                print(f"{path} cannot be read ({str(error).splitlines()[0]}): trying the one before.", flush=True)
                continue
            except (ValueError, AssertionError) as error:
                raise ReidError(
                    f"checkpoint {str(path)!r} belongs to another architecture or optimizer than the flags describe "
                    f"({str(error).splitlines()[0][:200]}). Give the flags that it was made with, or a new run_dir."
                ) from error
            for damaged in checkpoints[:place] if self._team.is_chief else []:
                aside = damaged.with_name(f"damaged-{damaged.name}")
                if aside.exists():
                    _remove(aside)
                damaged.rename(aside)
            return _step_of(path)
        if checkpoints:
            raise ReidError(f"no checkpoint in {str(self._folder)!r} can be read. Set run_dir to a new folder.")
        return 0

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _newest_first(self) -> list[Path]:
        # Copies that somebody keeps here have other names.
        return sorted((path for path in self._folder.glob("step-*") if _NAME.fullmatch(path.name)), reverse=True)


def _step_of(path: Path) -> int:
    return int(path.name.split("-")[-1])


def _remove(path: Path) -> None:
    # First its name: half a checkpoint must not be taken for one when this is interrupted.
    leftover = temporary_name(path)
    path.rename(leftover)
    remove(leftover)


class GoOnInEpoch(keras.callbacks.Callback):
    """Keeps the running means of a trainer restored inside an epoch; `fit` resets them at the start of every epoch."""

    def __init__(self, trainer):
        super().__init__()
        self._means = [(variable, variable.numpy()) for metric in trainer.metrics for variable in metric.variables]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self._means:
            variable.assign(value)


class _State(tf.train.experimental.PythonState):
    """State of a watcher inside the checkpoint, where a checksum guards it."""

    def __init__(self, watcher):
        self._watcher = watcher

    def serialize(self) -> str:
        return json.dumps(self._watcher.get_state())

    def deserialize(self, text: str) -> None:
        self._watcher.set_state(json.loads(text))
