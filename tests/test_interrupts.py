"""Signals: at once outside a step, after it inside one, and nothing left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.interrupts import Interrupted, hold, interruptible, release
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints
from keras_reid.training.progress import Progress
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_at_once_and_the_handlers_come_back(number, exit_code):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interruptible():
        os.kill(os.getpid(), number)
        pytest.fail("went on after the signal")
    assert caught.value.exit_code == exit_code
    assert signal.getsignal(number) is before


def test_a_signal_waits_while_held():
    seen = []
    with pytest.raises(Interrupted), interruptible():
        hold()
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append("the step")
        release()
        seen.append("the next step")
    assert seen == ["the step"]
    with interruptible():
        release()  # nothing is pending any more


# A command that computes for seconds where no handler of Python's runs.
_BUSY = """
import hashlib, sys
from keras_reid import command, interrupts
from keras_reid.flag_values import Flags

def busy(flags):
    print("ready", flush=True)
    interrupts.hold()
    hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})
    print("step made", flush=True)
    interrupts.release()

sys.exit(command.run_command(busy, Flags()))
"""


@contextlib.contextmanager
def busy(rounds: int):
    """Yields a process in the middle of such a step; a million rounds take half a second or more."""
    code = _BUSY.format(rounds=rounds)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        try:
            yield process
        finally:
            process.kill()


def test_a_signal_is_answered_at_once_and_the_step_is_finished():
    with busy(3_000_000) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # as `timeout` does: both are one
        assert process.stderr.readline() == "finishing this step; again to stop now\n"
        assert process.poll() is None
        assert process.communicate(timeout=60) == ("step made\n", "interrupted.\n")
        assert process.returncode == 130


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_process_at_once(number, exit_code):
    with busy(200_000_000) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "finishing this step; again to stop now\n"
        time.sleep(0.2)
        process.send_signal(number)
        assert process.communicate(timeout=5) == ("", "stopped.\n")
        assert process.returncode == exit_code


def test_what_a_signal_makes_a_command_do_is_not_broken_off_by_the_same_signal():
    saved = []
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            saved.append("the step")
    assert saved == ["the step"]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not tell how it was started")
@pytest.mark.parametrize(
    ("argv", "is_left_alone"),
    [
        (["python", "-u", "-m", "keras_reid.train", "--epochs=2"], False),
        (["python", "-m", "keras_reid", "train"], False),
        (["python", "-m", "host", "keras_reid"], True),
        (["python", "host.py"], True),
    ],
)
def test_ctrl_c_ends_a_command_that_is_being_imported_and_nobody_elses_program(argv, is_left_alone):
    name = "-m" if "-m" in argv else argv[1]  # as it is while Python imports the package of `python -m`
    code = f"import signal, sys; sys.orig_argv, sys.argv = {argv!r}, [{name!r}]; import keras_reid; "
    code += "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so what they start.
    options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "capture_output": True, "text": True}
    run = subprocess.run([sys.executable, "-c", code], **options)
    assert run.stdout == f"{is_left_alone}\n", run.stderr


class SignalInside(keras.callbacks.Callback):
    """Sends SIGTERM once the second step is under way."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_step_in_progress_is_made_counted_and_saved(tmp_path):
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(0.1), loss=BatchHardTripletLoss())
    progress = Progress(first_step=0, total_steps=5, steps_per_epoch=5, batch_size=12)
    with pytest.raises(Interrupted), interruptible():
        trainer.fit(one_batch(), steps_per_epoch=5, verbose=0, callbacks=[progress, SignalInside()])
    assert progress.step == int(trainer.optimizer.iterations) == 2
    Checkpoints(tmp_path, trainer).save(progress.step)
    weights = trainer.embedder.get_weights()
    assert Checkpoints(tmp_path, trainer).restore_newest() == 2
    for saved, restored in zip(weights, trainer.embedder.get_weights()):
        np.testing.assert_array_equal(restored, saved)
