"""The end of an epoch: its rows, models and scores, what ships made once, and when a run is over."""

import types

import numpy as np
import pandas as pd

from keras_reid.keras2 import keras
from keras_reid.models import load_keras
from keras_reid.training import Checkpoints, Settings
from keras_reid.training.epoch_end import EpochEnd
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.progress import Progress
from keras_reid.training.run_folder import RunFolder
from tests.training.test_progress import compiled, progress
from tests.training.test_trainer import one_batch


def fixed_scores(scores):
    """Stands for the scoring, with an mAP of each evaluation that the test decides."""
    remaining = iter(scores)

    def score(embedder):
        logs = {"val_mean_average_precision": next(remaining), "val_top1": 0.5}
        return types.SimpleNamespace(logs=lambda: logs)

    return score


def end_of(run, trainer, count, scores=(), **settings):
    """Returns the callback of a run whose epochs have these scores, every epoch by default."""
    settings = Settings(**{"epochs": 3, "evaluate_every": 1, **settings})
    return EpochEnd(run, settings, Checkpoints(run.checkpoints, trainer), count, score=fixed_scores(scores))


def test_epochs_are_recorded_with_their_scores_and_the_best_model_stays(tmp_path):
    trainer, run, count = compiled(), RunFolder(tmp_path), progress()
    weights = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: weights.append(trainer.embedder.get_weights()))
    callbacks = [count, end_of(run, trainer, count, [0.3, 0.7, 0.6]), keep]
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
    callbacks = [count, end_of(run, trainer, count, [0.2], evaluate_every=2)]
    trainer.fit(one_batch(), steps_per_epoch=2, epochs=2, verbose=0, callbacks=callbacks)
    metrics = pd.read_csv(run.metrics)
    assert metrics.val_top1.isna().tolist() == [True, False]
    assert metrics.loss.notna().all()


def test_what_ships_is_made_once_an_epoch(tmp_path, monkeypatch):
    trainer, run, count, made = compiled(), RunFolder(tmp_path), progress(), []
    make = trainer.shipped_embedder
    monkeypatch.setattr(trainer, "shipped_embedder", lambda **how: made.append((count.step, how)) or make(**how))
    callbacks = [count, end_of(run, trainer, count, [0.3], evaluate_every=2)]
    trainer.fit(one_batch(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=callbacks)
    assert made == [(step, {"renewed": step == 4}) for step in (2, 4, 6)]  # statistics anew where it is scored


def test_a_score_that_is_not_better_ends_the_run(tmp_path):
    trainer, run, count = compiled(), RunFolder(tmp_path), progress()
    callbacks = [count, end_of(run, trainer, count, [0.3, 0.2, 0.6], early_stop=1)]
    trainer.fit(one_batch(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=callbacks)
    assert EpochLog(run).metrics().epoch.tolist() == [1, 2]


def test_times_of_an_epoch_cover_the_steps_since_the_start(tmp_path):
    """Of an epoch of 4 steps the first is made before the run stops: the row of times is of the other 3."""
    trainer, run = compiled(), RunFolder(tmp_path)
    count = Progress(first_step=1, total_steps=8, steps_per_epoch=4, batch_size=12)
    callbacks = [count, end_of(run, trainer, count, evaluate_every=9)]
    trainer.fit(one_batch(), steps_per_epoch=3, epochs=1, verbose=0, callbacks=callbacks)
    trainer.fit(one_batch(), steps_per_epoch=4, initial_epoch=1, epochs=2, verbose=0, callbacks=callbacks)
    times = EpochLog(run).times()
    assert times.step.tolist() == [4, 8]
    assert times.steps.tolist() == [3, 4]
    assert (times.seconds > times.seconds_per_step * times.steps * 0.3).all()
    assert (times.seconds_between >= 0).all() and times.waiting_share.between(0, 1).all()
