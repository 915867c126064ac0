"""Checkpoints: everything comes back, the newest two stay, and a damaged or foreign one is named."""

from pathlib import Path

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints
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
