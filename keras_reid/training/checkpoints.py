"""Decides what is needed to go on with a run, and keeps the newest two of it: `checkpoints/step-00000179/`."""

from __future__ import annotations

from pathlib import Path

from keras_reid.errors import ReidError
from keras_reid.files import remove, whole_or_not_at_all
from keras_reid.keras2 import tf

_KEPT = 2
_FILES = "checkpoint"  # prefix of TensorFlow's two files inside a checkpoint's folder


class Checkpoints:
    """Saves and restores all that training changes, optimizer state included; a checkpoint is whole or not there.

    Args:
        folder: that holds one folder for each checkpoint, named by the steps made.
        trainer: a compiled `TripletTrainer`.
    """

    def __init__(self, folder: Path, trainer):
        self._folder = Path(folder)
        # The slots must exist before they can be restored and checked; Keras would make them in the first step only.
        trainer.optimizer.build(trainer.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(optimizer=trainer.optimizer, **trainer.learned_parts)

    def save(self, step: int) -> None:
        """Writes the checkpoint of a step, then removes all but the newest two."""
        target = self._path(step)
        if not target.exists():
            with whole_or_not_at_all(target) as temporary:
                self._checkpoint.write(str(temporary / _FILES))
        for outdated in self._newest_first()[_KEPT:]:
            remove(outdated)

    def restore_newest(self) -> int:
        """Restores the newest readable checkpoint and returns its step; 0 when there is none.

        Raises:
            ReidError: it belongs to another architecture or optimizer, or none can be read.
        """
        checkpoints = self._newest_first()
        for path in checkpoints:
            try:
                self._checkpoint.read(str(path / _FILES)).assert_consumed()
                return int(path.name.split("-")[1])
            except (tf.errors.OpError, OSError, IndexError) as error:  # IndexError: what TF makes of a short file
                print(f"{path} cannot be read ({str(error).splitlines()[0]}): trying the one before.")
            except (ValueError, AssertionError) as error:
                raise ReidError(
                    f"checkpoint {str(path)!r} belongs to another architecture or optimizer than the flags describe "
                    f"({str(error).splitlines()[0][:200]}). Give the flags that it was made with, or a new --run_dir."
                ) from error
        if checkpoints:
            raise ReidError(f"no checkpoint in {str(self._folder)!r} can be read. Set --run_dir to a new folder.")
        return 0

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"), reverse=True)
