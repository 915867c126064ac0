"""The progress line: whole lines, the time left, and what a killed process leaves."""

import pytest

from keras_reid import TripletTrainer
from keras_reid.files import remove_leftovers
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training.progress import Progress, _duration
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch


def compiled(learning_rate=0.01) -> TripletTrainer:
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(learning_rate), loss=BatchHardTripletLoss(margin="soft"))
    return trainer


def progress(first_step=0) -> Progress:
    return Progress(first_step=first_step, total_steps=6, steps_per_epoch=2, batch_size=12)


def test_a_log_gets_whole_lines_with_an_eta(capsys):
    count = progress()
    compiled().fit(one_batch(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=[count])
    lines = capsys.readouterr().out.splitlines()
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("epoch 3/3: 100%") and "6/6" in lines[-1] and "loss=" in lines[-1]
    assert "<" in lines[-1]  # elapsed<remaining


def made(count: Progress, monkeypatch, epochs: list, between: float = 0.0) -> None:
    """Makes the steps of each epoch, by a clock that stands still but for the seconds of each, and those between."""
    clock = {"now": 100.0}
    for name in ("time.perf_counter", "time.time", "tqdm.std.time"):
        monkeypatch.setattr(name, lambda: clock["now"])
    count.set_model(compiled())
    count.set_params({"steps": 100})
    count.on_train_begin()
    for epoch, seconds in enumerate(epochs):
        clock["now"] += between if epoch else 0
        count.on_epoch_begin(epoch)
        for batch, duration in enumerate(seconds):
            count.on_train_batch_begin(batch)
            clock["now"] += duration
            count.on_train_batch_end(batch, {"loss": 1.0, "active_triplets": 1.0})
        count.epoch_times()


@pytest.mark.parametrize(
    ("besides", "line"),
    [
        (30.0, "about 2.1 minutes are left: 1.6 minutes of training, 30 seconds of scoring and export"),
        (None, "about 1.6 minutes of training are left, besides scoring and export"),
    ],
)
def test_the_first_steps_tell_the_time_left_to_the_end_of_the_run(monkeypatch, capsys, besides, line):
    """A first step of 5 s, then steps of 2 s: after ten of them 49 are left, 98 s."""
    count = Progress(first_step=0, total_steps=60, steps_per_epoch=30, batch_size=12, seconds_besides=besides)
    made(count, monkeypatch, [[5.0] + 29 * [2.0]])
    count.close()
    assert [text for text in capsys.readouterr().out.splitlines() if text.startswith("about")] == [line]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(89.4, "89 seconds"), (90, "1.5 minutes"), (700, "12 minutes"), (5400, "1.5 hours"), (864000, "240 hours")],
)
def test_a_duration_as_roughly_as_it_is_known(seconds, text):
    assert _duration(seconds) == text


def test_the_time_left_is_at_the_pace_since_the_run_went_on_without_its_first_step(monkeypatch):
    """20 of 60 steps were made before; then one that takes long, and two of 0.1 s with an evaluation of 0.3 s between:
    2 steps are made in 0.5 s after the first, so that the 37 left take 37 / 2 * 0.5 = 9.25 s."""
    count = Progress(first_step=20, total_steps=60, steps_per_epoch=22, batch_size=12)
    made(count, monkeypatch, [[1.0, 0.1], [0.1]], between=0.3)
    shown = count._bar.format_dict
    left = (shown["total"] - shown["n"]) * shown["elapsed"] / (shown["n"] - shown["initial"])
    assert left == pytest.approx(9.25)
    count.close()


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "checkpoints" / ".step-00000003.part-0a1b2c3d").mkdir(parents=True)
    (tmp_path / ".last.part-0a1b2c3d.keras").touch()
    (tmp_path / ".mine").touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", ".mine"}
