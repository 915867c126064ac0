"""A run that is killed by SIGKILL at random moments, and what must be the same at its end."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from keras_reid.keras2 import tf
from keras_reid.models import load_keras

# All that a run can lose: averages, centers, random state of the augmentation, optimizer, running means, the best.
FLAGS = ("--deterministic", "--evaluate_every=1", "--save_every_steps=2", "--noscore_baselines")
FLAGS += ("--ema=0.9", "--center_loss_weight=0.01", "--color_jitter=0.2", "--seed=5")
_DEADLINE = 1200  # seconds of one process


class Anywhere:
    """Kills so many seconds after the start."""

    def __init__(self, seconds: float):
        self._seconds = seconds

    def is_due(self, run_dir: Path, seconds: float) -> bool:
        return seconds >= self._seconds


class WhileSaving:
    """Kills so many seconds after the n-th checkpoint of this process began to be written."""

    def __init__(self, delay: float, nth: int = 1):
        self._delay, self._nth = delay, nth
        self._known = None
        self.began = float("inf")

    def is_due(self, run_dir: Path, seconds: float) -> bool:
        parts = set((run_dir / "checkpoints").glob(".step-*.part-*"))
        if self._known is None:
            self._known = set(parts)  # what a killed process left half written
        if parts - self._known:
            self._known |= parts
            self._nth -= 1
            if self._nth == 0:
                self.began = seconds
        return seconds >= self.began + self._delay


def train(arguments: list, run_dir: Path, *, kill=None) -> tuple[int, float]:
    """Runs `keras_reid.train` to its end, or until it is killed.

    Returns:
        Its exit code, and the seconds until it began to write its first checkpoint; infinite if it wrote none.
    """
    log, began, until_saving = run_dir.with_suffix(".log"), time.monotonic(), WhileSaving(0)
    with open(log, "a") as output:
        command = [sys.executable, "-u", "-m", "keras_reid.train", *arguments, f"--run_dir={run_dir}"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            seconds = time.monotonic() - began
            until_saving.is_due(run_dir, seconds)
            if seconds > _DEADLINE or (kill is not None and kill.is_due(run_dir, seconds)):
                process.kill()
            time.sleep(0.002)
    assert process.returncode in (0, -9) and seconds <= _DEADLINE, log.read_text()[-3000:]
    return process.returncode, until_saving.began


def train_and_kill(arguments: list, run_dir: Path, *, kills: int, start: float, seed: int) -> list[tuple]:
    """Gives the same command again and again, killed so many times, then until its end.

    Args:
        arguments: of `keras_reid.train`, without the run folder.
        run_dir: of the run.
        kills: how often.
        start: seconds until a run begins to write its first checkpoint.
        seed: of the moments.

    Returns:
        (kind, step of the newest checkpoint, names of half written ones) of each kill.
    """
    chance, moments = random.Random(seed), []
    while len(moments) < kills:
        # Most of a short process is its start: a kill in the middle of it is as good a moment as any.
        anywhere = Anywhere(chance.uniform(0.05, 1.5) * start)
        saving = WhileSaving(chance.uniform(0, 0.6), nth=chance.randint(1, 3))
        kill = saving if chance.random() < 0.5 else anywhere
        exit_code, _ = train(arguments, run_dir, kill=kill)
        if exit_code == 0:
            break
        half_written = [path.name for path in (run_dir / "checkpoints").glob(".*")]
        moments.append((type(kill).__name__, newest_step(run_dir), half_written))
    assert train(arguments, run_dir)[0] == 0
    return moments


def newest_step(run_dir: Path) -> int:
    """Returns the step of the newest checkpoint; 0 where there is none."""
    return max((int(path.name[5:]) for path in (run_dir / "checkpoints").glob("step-*")), default=0)


def assert_the_same(one: Path, other: Path) -> None:
    """Compares all that two runs learned, tensor by tensor and bit by bit, and what they wrote down of it."""
    names = sorted(path.name for path in (one / "checkpoints").iterdir())
    assert sorted(path.name for path in (other / "checkpoints").iterdir()) == names
    assert len(names) in (2, 3)  # the newest two and the best
    for name in names:
        first, second = (tensors_of(run / "checkpoints" / name) for run in (one, other))
        assert first.keys() == second.keys() and len(first) > 800
        for tensor in first:
            np.testing.assert_array_equal(second[tensor], first[tensor], err_msg=f"{name}: {tensor}")
    for name in ("last.keras", "best.keras"):
        for first, second in zip(*(load_keras(run / name).get_weights() for run in (one, other))):
            np.testing.assert_array_equal(second, first, err_msg=name)
    assert (other / "metrics.csv").read_bytes() == (one / "metrics.csv").read_bytes()
    first, second = (json.loads((run / "evaluation.json").read_text())["scores"] for run in (one, other))
    assert second == first


def tensors_of(checkpoint: Path) -> dict:
    """Returns all that a checkpoint holds but the graph of its objects, whose numbering may differ."""
    reader = tf.train.load_checkpoint(str(checkpoint / "checkpoint"))
    names = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: reader.get_tensor(name) for name in sorted(names)}
