"""Checkpoints: everything comes back, the newest two stay, and a damaged or foreign one is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints, CollapseDoctor
from keras_reid.training.checkpoints import GoOnInEpoch
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch


def trainer_of(policy="float32", embedding_size=8, optimizer=keras.optimizers.Adam) -> TripletTrainer:
    keras.mixed_precision.set_global_policy(policy)
    trainer = TripletTrainer(tiny_embedder(embedding_size))
    trainer.compile(optimizer(0.01), loss=BatchHardTripletLoss())
    return trainer


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_weights_and_optimizer_state_come_back(tmp_path, policy):
    trainer = trainer_of(policy)
    checkpoints = Checkpoints(tmp_path, trainer)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    checkpoints.save(3)

    other = trainer_of(policy)
    assert Checkpoints(tmp_path, other).restore_newest() == 3

    for saved, restored in zip(trainer.embedder.get_weights(), other.embedder.get_weights()):
        np.testing.assert_array_equal(restored, saved)
    saved, restored = trainer.optimizer.variables, other.optimizer.variables
    assert len(saved() if callable(saved) else saved) > 10
    for one, two in zip(*(v() if callable(v) else v for v in (saved, restored))):
        np.testing.assert_array_equal(two.numpy(), one.numpy())


def test_only_the_newest_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, trainer_of())
    for step in (5, 10, 100):
        checkpoints.save(step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def test_a_damaged_newest_one_falls_back_to_the_one_before(tmp_path, capsys):
    trainer = trainer_of()
    checkpoints = Checkpoints(tmp_path, trainer)
    checkpoints.save(1)
    checkpoints.save(2)
    (data,) = (tmp_path / "step-00000002").glob("*.data*")
    data.write_bytes(data.read_bytes()[:100])
    assert checkpoints.restore_newest() == 1
    assert "step-00000002 cannot be read" in capsys.readouterr().out


def test_a_damaged_one_is_set_aside_until_its_step_is_made_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, trainer_of())
    for step in (1, 4):
        checkpoints.save(step)
    (data,) = (tmp_path / "step-00000004").glob("*.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4  # one bit
    data.write_bytes(content)
    assert checkpoints.restore_newest() == 1
    checkpoints.save(3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000001", "step-00000003", "damaged-step-00000004"}  # it pushes no good one out
    checkpoints.save(4)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000003", "step-00000004"}


def test_copies_that_somebody_keeps_are_left_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path, trainer_of())
    checkpoints.save(1)
    for name in ("step-00000009.bak", "damaged-step-copy", "step-x"):
        shutil.copytree(tmp_path / "step-00000001", tmp_path / name)
    assert checkpoints.restore_newest() == 1
    for step in (2, 3):
        checkpoints.save(step)
    assert {path.name[-1] for path in tmp_path.iterdir()} == {"2", "3", "k", "y", "x"}


def test_the_best_stays_beside_the_newest_two(tmp_path):
    best = {"step": None}
    checkpoints = Checkpoints(tmp_path, trainer_of(), best_step=lambda: best["step"])
    for step in (1, 2, 3, 4):
        checkpoints.save(step)
        best["step"] = 2 if step >= 2 else None
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "3", "4"]
    best["step"] = 4
    checkpoints.save(5)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["4", "5"]


class Watcher:
    """Remembers what it is told."""

    def __init__(self, state=None):
        self.state = state

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state


def test_what_watchers_remember_comes_back_under_a_checksum(tmp_path):
    remembered = {"history": [0.1, 1e-300, float("inf")], "name": "x"}
    Checkpoints(tmp_path, trainer_of(), watchers={"one": Watcher(remembered)}).save(5)
    other = Watcher()
    checkpoints = Checkpoints(tmp_path, trainer_of(), watchers={"one": other})
    assert checkpoints.restore_newest() == 5
    assert other.state == remembered
    (data,) = (tmp_path / "step-00000005").glob("*.data*")
    data.write_bytes(data.read_bytes().replace(b'"name": "x"', b'"name": "y"'))
    with pytest.raises(ReidError, match="no checkpoint in .* can be read"):
        checkpoints.restore_newest()


class SaveAfter(keras.callbacks.Callback):
    """Saves the checkpoint of one step, inside an epoch or at its end; keeps the report of each epoch."""

    def __init__(self, checkpoints, step):
        super().__init__()
        self._checkpoints, self._step, self.rows, self._made = checkpoints, step, [], 0

    def on_train_batch_end(self, batch, logs=None):
        self._made += 1
        if self._made == self._step and self._step % STEPS:
            self._checkpoints.save(self._step)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(logs)
        if self._made == self._step:
            self._checkpoints.save(self._step)


STEPS = 4


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("step", [2, 4, 7])
def test_going_on_is_as_never_having_stopped(tmp_path, policy, step):
    """Two epochs of 4 steps, gone on with inside the first, at its end, and inside the second."""

    def parts():
        trainer, doctor = trainer_of(policy), CollapseDoctor(identities_per_batch=3, images_per_identity=4)
        return trainer, doctor, Checkpoints(tmp_path, trainer, watchers={"doctor": doctor})

    trainer, doctor, checkpoints = parts()
    whole = SaveAfter(checkpoints, step)
    batches = {"x": one_batch(), "verbose": 0}
    trainer.fit(**batches, steps_per_epoch=STEPS, epochs=2, callbacks=[doctor, whole])

    other, other_doctor, checkpoints = parts()
    assert checkpoints.restore_newest() == step
    rest, (epoch, made) = SaveAfter(checkpoints, None), divmod(step, STEPS)
    callbacks = [other_doctor, rest, GoOnInEpoch(other)]
    if made:
        steps = STEPS - made
        other.fit(**batches, steps_per_epoch=steps, initial_epoch=epoch, epochs=epoch + 1, callbacks=callbacks)
        epoch += 1
    other.fit(**batches, steps_per_epoch=STEPS, initial_epoch=epoch, epochs=2, callbacks=callbacks[:2])

    assert rest.rows == whole.rows[step // STEPS :]
    assert other_doctor.get_state() == doctor.get_state() and len(doctor.get_state()["history"]) == 8
    for one, two in zip(trainer.learned_variables, other.learned_variables):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_no_readable_checkpoint_is_an_error(tmp_path):
    checkpoints = Checkpoints(tmp_path, trainer_of())
    checkpoints.save(1)
    for file in (tmp_path / "step-00000001").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ReidError, match="no checkpoint in .* can be read"):
        checkpoints.restore_newest()


@pytest.mark.parametrize(
    "other", [{"embedding_size": 9}, {"optimizer": keras.optimizers.SGD}], ids=["architecture", "optimizer"]
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, other):
    Checkpoints(tmp_path, trainer_of()).save(7)
    with pytest.raises(ReidError, match="step-00000007' belongs to another architecture or optimizer"):
        Checkpoints(tmp_path, trainer_of(**other)).restore_newest()


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, trainer_of())

    def fail(path):
        path = Path(path)
        path.parent.mkdir()
        path.write_text("half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints._checkpoint, "write", fail)
    with pytest.raises(ReidError, match="checkpoint of step 1 cannot be written to .*No space"):
        checkpoints.save(1)
    assert list(tmp_path.iterdir()) == []
