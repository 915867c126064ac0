"""Round the steps: the progress line, the record of an epoch and of its scores."""

import numpy as np
import pandas as pd
import pytest
from keras_reid.training.callbacks import Progress, RecordEpoch, RecordEvaluation

from keras_reid import TripletTrainer
from keras_reid.files import remove_leftovers
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.models import load_keras
from keras_reid.training import Checkpoints
from keras_reid.training.run_folder import RunFolder
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch


def compiled(learning_rate=0.01) -> TripletTrainer:
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(learning_rate), loss=BatchHardTripletLoss(margin="soft"))
    return trainer


def progress(first_step=0) -> Progress:
    return Progress(first_step=first_step, total_steps=6, steps_per_epoch=2, batch_size=12)


class FixedScores(keras.callbacks.Callback):
    """Stands where the evaluation stands, with scores that the test decides."""

    def __init__(self, scores):
        super().__init__()
        self._scores = scores

    def on_epoch_end(self, epoch, logs=None):
        if self._scores[epoch] is not None:
            logs.update(val_mean_average_precision=self._scores[epoch], val_top1=0.5)


def test_epochs_are_recorded_with_their_scores_and_the_best_model_stays(tmp_path):
    trainer, run, count = compiled(), RunFolder(tmp_path), progress()
    weights = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: weights.append(trainer.embedder.get_weights()))
    record = RecordEpoch(run, Checkpoints(run.checkpoints, trainer), count)
    after = RecordEvaluation(run)
    callbacks = [count, record, FixedScores([0.3, 0.7, 0.6]), after, keep]
    trainer.fit(one_batch(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=callbacks)

    metrics = pd.read_csv(run.metrics)
    assert metrics.step.tolist() == [2, 4, 6]
    assert metrics.val_mean_average_precision.tolist() == [0.3, 0.7, 0.6]
    assert "images_per_second" not in metrics  # times differ from run to run, all else does not
    assert (pd.read_csv(run.times).images_per_second > 0).all()
    for path, epoch in ((run.best_model, 1), (run.last_model, 2)):
        for saved, kept in zip(load_keras(path).get_weights(), weights[epoch]):
            np.testing.assert_array_equal(saved, kept)


def test_an_epoch_without_an_evaluation_keeps_its_row(tmp_path):
    trainer, run, count = compiled(), RunFolder(tmp_path), progress()
    record = RecordEpoch(run, Checkpoints(run.checkpoints, trainer), count)
    callbacks = [count, record, FixedScores([None, 0.2]), RecordEvaluation(run)]
    trainer.fit(one_batch(), steps_per_epoch=2, epochs=2, verbose=0, callbacks=callbacks)
    metrics = pd.read_csv(run.metrics)
    assert metrics.val_top1.isna().tolist() == [True, False]
    assert metrics.loss.notna().all()


def test_a_log_gets_whole_lines_with_an_eta(capsys):
    count = progress()
    compiled().fit(one_batch(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=[count])
    lines = capsys.readouterr().out.splitlines()
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("epoch 3/3: 100%") and "6/6" in lines[-1] and "loss=" in lines[-1]
    assert "<" in lines[-1]  # elapsed<remaining


def test_the_time_left_is_at_the_pace_since_the_run_went_on_without_its_first_step(monkeypatch):
    """20 of 60 steps were made before; then one that takes long, and two of 0.1 s with an evaluation of 0.3 s between:
    2 steps are made in 0.5 s after the first, so that the 37 left take 37 / 2 * 0.5 = 9.25 s."""
    clock = {"now": 100.0}
    for name in ("time.perf_counter", "time.time", "tqdm.std.time"):
        monkeypatch.setattr(name, lambda: clock["now"])
    count = Progress(first_step=20, total_steps=60, steps_per_epoch=22, batch_size=12)
    count.set_model(compiled())
    count.set_params({"steps": 22})
    count.on_train_begin()
    for epoch, seconds in ((0, [1.0, 0.1]), (1, [0.1])):
        count.on_epoch_begin(epoch)
        for batch, duration in enumerate(seconds):
            count.on_train_batch_begin(batch)
            clock["now"] += duration
            count.on_train_batch_end(batch, {"loss": 1.0, "active_triplets": 1.0})
        logs = {}
        if epoch == 0:
            count.on_epoch_end(epoch, logs)
            clock["now"] += 0.3
    shown = count._bar.format_dict
    left = (shown["total"] - shown["n"]) * shown["elapsed"] / (shown["n"] - shown["initial"])
    assert left == pytest.approx(9.25)
    count.close()


def test_times_of_an_epoch_cover_the_steps_since_the_start(tmp_path):
    """Of an epoch of 4 steps the first is made before the run stops: the row of times is of the other 3."""
    trainer, run = compiled(), RunFolder(tmp_path)
    count = Progress(first_step=1, total_steps=8, steps_per_epoch=4, batch_size=12)
    callbacks = [count, RecordEpoch(run, Checkpoints(run.checkpoints, trainer), count)]
    trainer.fit(one_batch(), steps_per_epoch=3, epochs=1, verbose=0, callbacks=callbacks)
    trainer.fit(one_batch(), steps_per_epoch=4, initial_epoch=1, epochs=2, verbose=0, callbacks=callbacks)
    times = run.read_times()
    assert times.step.tolist() == [4, 8]
    assert times.steps.tolist() == [3, 4]
    assert (times.seconds > times.seconds_per_step * times.steps * 0.3).all()
    assert (times.seconds_between >= 0).all() and times.waiting_share.between(0, 1).all()


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "checkpoints" / ".step-00000003.part-0a1b2c3d").mkdir(parents=True)
    (tmp_path / ".last.part-0a1b2c3d.keras").touch()
    (tmp_path / ".mine").touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", ".mine"}
