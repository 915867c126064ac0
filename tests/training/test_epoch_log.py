"""The log of a run's epochs: rows that replace others, the best one, and whether the run is over."""

import json

import pytest

from keras_reid.errors import ReidError
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    return folder


@pytest.fixture
def log(run):
    return EpochLog(run)


def test_metrics_replace_what_was_known_of_an_epoch_and_later_ones(run, log):
    for epoch in (1, 2, 3):
        log.record({"epoch": epoch, "step": 10 * epoch, "loss": epoch / 7})
    log.record({"epoch": 2, "step": 20, "loss": 0.5, "val_top1": 0.25})
    metrics = log.metrics()
    assert metrics.epoch.tolist() == [1, 2]
    assert metrics.loss.tolist() == [1 / 7, 0.5]
    assert log.best_row() == {} and log.best_step() is None


def test_the_best_epoch_is_the_first_of_equals(run, log):
    for epoch, score in enumerate([0.2, 0.7, None, 0.7, 0.1], start=1):
        log.record({"epoch": epoch, "step": 10 * epoch, "val_mean_average_precision": score})
    assert log.best_step() == 20


def test_what_lies_after_the_step_that_a_run_goes_on_from_is_forgotten(run, log):
    for epoch in (1, 2, 3):
        log.record({"epoch": epoch, "step": 10 * epoch, "loss": epoch / 7, "seconds": 1.5})
    log.forget_after(25)
    assert log.metrics().loss.tolist() == [1 / 7, 2 / 7]
    assert run.times.read_text().splitlines() == ["epoch,step,seconds", "1,10,1.5", "2,20,1.5"]


def test_a_run_whose_only_epoch_is_forgotten_goes_on(run, log):
    """Killed after the rows of the first epoch, before its checkpoint."""
    for _ in range(2):
        row = {"epoch": 1, "step": 10, "loss": 0.5}
        log.record({**row, "seconds": 1.5})
        assert log.metrics().to_dict("records") == [row]
        log.forget_after(5)
        assert log.best_step() is None and log.last_row() == {} and log.times().empty


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\n", b"loss\n1\n", b"epoch,step\n1,6\n2", b"epoch\n1\n", b"epoch,step,loss\n1,6,x\n"]
)
def test_a_damaged_metrics_csv_is_named(run, log, content):
    run.metrics.write_bytes(content)
    with pytest.raises(ReidError, match="metrics.csv' is damaged.* Delete it"):
        log.last_row()


@pytest.mark.parametrize(
    ("scores", "evaluations", "epoch"),
    [
        ([0.1, 0.2, 0.2, 0.1], 2, 4),  # equal is not better
        ([0.1, 0.2, 0.2, 0.1], 3, None),
        ([0.3, None, 0.1, 0.4, None, 0.2], 1, 3),  # epochs without a score do not count; the first time decides
        ([0.3, 0.1, 0.4, 0.2, 0.3], 2, 5),
        ([0.3, 0.1], 0, None),
        ([None, None], 1, None),
        ([], 1, None),
    ],
)
def test_a_run_stops_early_after_n_scores_that_are_not_better(tmp_path, scores, evaluations, epoch):
    log = EpochLog(RunFolder(tmp_path))
    for place, score in enumerate(scores, start=1):
        row = {"epoch": place, "step": place, "loss": 1.0}
        log.record(row if score is None else {**row, "val_mean_average_precision": score})
        state = log.state(epochs=99, early_stop=evaluations)
        assert state.over == (epoch is not None and place >= epoch)
        assert state.stopped_early == (place == epoch)


def test_a_run_is_finished_when_its_last_epoch_was_shipped_and_scored(run, log):
    """2 of 3 epochs, 3 of 3 without and with what ships, 3 of 4 with what the run shipped when it was asked for 3."""
    asked = {"early_stop": 0}
    for epoch in (1, 2):
        log.record({"epoch": epoch, "step": epoch, "loss": 1.0})
    assert log.state(epochs=3, **asked) == (2, False, False, False)
    log.record({"epoch": 3, "step": 3, "loss": 1.0})
    assert log.state(epochs=3, **asked) == (3, False, True, False)
    scores = {"live": {"queries": 1}}
    run.evaluation.write_text(json.dumps({"epochs": 3, "dataset": "a", "exports": {}, "scores": scores}))
    assert log.state(epochs=3, **asked) == (3, False, True, True)
    assert log.state(epochs=4, **asked) == (3, False, False, False)
    run.metrics.unlink()  # what shipped tells how far it was
    assert log.state(epochs=3, **asked).finished


def test_a_worker_beside_the_chief_records_nothing(run):
    EpochLog(RunFolder(run.path, writes=False)).record({"epoch": 1, "step": 1, "seconds": 1.0})
    assert not list(run.path.iterdir())
