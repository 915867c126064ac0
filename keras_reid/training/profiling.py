"""TensorFlow profile of some training steps, for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf

_FIRST = 3  # steps that are left out: they build the graph and fill the pipeline


class ProfileSteps(keras.callbacks.Callback):
    """Profiles some steps after the first three of the fit; must be the last callback.

    Args:
        folder: of TensorBoard; the profile goes to `plugins/profile/<time>/` in it.
        steps: number of steps to profile.
    """

    def __init__(self, folder: Path, *, steps: int):
        super().__init__()
        self._folder, self._steps = Path(folder), steps
        self._made, self._runs = 0, False

    def on_train_batch_begin(self, batch, logs=None):
        if self._made == _FIRST and not self._runs:
            try:
                tf.profiler.experimental.start(str(self._folder))
            except tf.errors.AlreadyExistsError as error:
                raise ReidError("profile_steps: another profiler runs already. Stop it, or set 0.") from error
            self._runs = True

    def on_train_batch_end(self, batch, logs=None):
        self._made += 1
        if self._runs and self._made == _FIRST + self._steps:
            self.close()

    def on_train_end(self, logs=None):
        self.close()
        if self._made <= _FIRST:
            tqdm.write(f"profile_steps: no profile of {self._made} steps, for it leaves out the first {_FIRST}")

    def close(self) -> None:
        """Writes the profile, also of fewer steps than were asked for."""
        if not self._runs:
            return
        self._runs = False
        tf.profiler.experimental.stop()
        newest = max((self._folder / "plugins" / "profile").iterdir())
        tqdm.write(f"profile of {self._made - _FIRST} steps: {newest}")
