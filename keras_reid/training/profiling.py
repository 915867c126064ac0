"""Decides which steps are profiled, and what is said of them: TensorFlow's profile, and a table of where time went."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tqdm import tqdm

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf

_FIRST = 3  # steps that are left out: they build the graph and fill the pipeline
_ROWS = 12


class ProfileSteps(keras.callbacks.Callback):
    """Profiles n steps, after the first three of the fit; what is learned stays the same. Comes last in the list.

    Args:
        folder: TensorBoard's; the profile goes to `plugins/profile/<time>/` in it.
        steps: n.
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
                raise ReidError("--profile_steps: another profiler runs already. Stop it, or set 0.") from error
            self._runs = True

    def on_train_batch_end(self, batch, logs=None):
        self._made += 1
        if self._runs and self._made == _FIRST + self._steps:
            self.close()

    def on_train_end(self, logs=None):
        self.close()
        if self._made <= _FIRST:
            tqdm.write(f"--profile_steps: no profile of {self._made} steps, of which the first {_FIRST} are left out")

    def close(self) -> None:
        """Writes the profile, also of fewer steps than were asked for."""
        if not self._runs:
            return
        self._runs = False
        tf.profiler.experimental.stop()
        newest = max((self._folder / "plugins" / "profile").iterdir())
        table = time_by_operation(newest)
        tqdm.write(f"profile of {self._made - _FIRST} steps: {newest}\n{table}".rstrip())


def time_by_operation(folder: Path) -> str:
    """Returns a table of the operations that took the most time, from the profile in a folder.

    Times are added up over the threads that operations ran on; empty where this TensorFlow's profiles cannot be read.
    """
    try:
        from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace  # of no public module
    except ImportError:
        return ""
    picoseconds, counts = Counter(), Counter()
    for file in folder.glob("*.xplane.pb"):
        for plane in XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name, colon, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                    if colon and ":" not in name and operation.isidentifier():  # TensorFlow's are "name:Type"
                        picoseconds[operation] += event.duration_ps
                        counts[operation] += 1
    whole = sum(picoseconds.values())
    rows = [
        f"{operation:<36}{time / 1e12:>9.3f} s {time / whole:>6.1%} {counts[operation]:>8} times"
        for operation, time in picoseconds.most_common(_ROWS)
    ]
    return "\n".join(rows)
