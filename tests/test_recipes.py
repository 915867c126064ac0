"""Recipes from the command line: those that ship, and what else a run may learn by."""

import importlib.util
import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_reid import train
from keras_reid.command import given
from keras_reid.data import write_synthetic
from keras_reid.keras2 import keras
from keras_reid.options import train_flags
from keras_reid.training.run_data import read_run_data
from keras_reid.training.run_network import build_trainer, statistics_batches, training_batches
from keras_reid.training.schedules import build_schedule
from tests.conftest import TINY_RUN, train_arguments
from tests.training.tiny_train import COMMAND as TINY_TRAIN

pytestmark = pytest.mark.usefixtures("resnet50")
CONFIGS = Path(__file__).parent.parent / "configs"
SCORE = "val_mean_average_precision"


def flags_of(arguments):
    flags = train_flags()
    flags(arguments)
    return flags


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.flags")))
def test_every_flagfile_that_ships_gives_a_schedule_and_flags_that_a_run_keeps(name):
    flags = flags_of(["train", f"--flagfile={name}"])
    schedule = given(flags, "epochs", "warmup_epochs", "decay_epochs")
    rate = build_schedule(flags.schedule, flags.learning_rate, steps_per_epoch=10, **schedule)
    rates = [float(rate(10 * epoch)) for epoch in range(flags.epochs + 1)]
    assert max(rates) == pytest.approx(flags.learning_rate)  # what is named is reached, once the warm-up is over
    assert rates[int(flags.warmup_epochs)] == max(rates) and rates[-1] < flags.learning_rate / 10
    if flags.schedule != "cosine":  # the others hold it at first
        assert float(rate(10 * flags.epochs // 4)) == pytest.approx(flags.learning_rate)
    written = [line for line in (CONFIGS / name).read_text().splitlines() if line.startswith("--")]
    assert {line[2:].split("=")[0] for line in written} <= train.read_settings(flags).as_text().keys()


def test_the_strong_baseline_is_the_paper_s():
    flags = flags_of(["train", "--flagfile=market_strong.flags"])
    names = ("epochs", "identities_per_batch", "images_per_identity", "last_stride", "head", "embedding_size")
    assert list(given(flags, *names).values()) == [120, 16, 4, "1", "bnneck", 2048]
    names = ("identity_loss_weight", "label_smoothing", "center_loss_weight", "random_erasing", "margin")
    assert list(given(flags, *names).values()) == [1.0, 0.1, 5e-4, 0.5, "0.3"]


@pytest.mark.slow
def test_a_run_that_stops_early_is_finished(synthetic_dir, tmp_path, capsys):
    """At a rate of nothing only the moving statistics move: some score will not be better than those before."""
    recipe = ["--early_stop=1", "--evaluate_every=1", "--learning_rate=1e-9", "--warmup_epochs=2", "--schedule=cosine"]
    recipe += ["--clip_norm=1", "--layer_learning_rates=backbone=0.5,stem=0.1", "--freeze_backbone_epochs=1"]
    recipe += ["--noscore_baselines", "--mixed_precision=float32"]
    arguments = train_arguments(synthetic_dir, tmp_path / "run", *recipe)
    assert train.main([*arguments, "--epochs=30"]) == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    better = [score > max([-1, *metrics[SCORE][:place]]) for place, score in enumerate(metrics[SCORE])]
    last = better.index(False) + 1
    assert last < 30 and metrics.epoch.tolist() == list(range(1, last + 1))
    # The last of an epoch's 6 steps, of the warm-up's 12: 0.1 + 0.9 * t / 12 at t = 5 and 11.
    np.testing.assert_allclose(metrics.learning_rate[:2], [4.75e-10, 9.25e-10], rtol=1e-5)
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["epochs"] == last and set(evaluation["scores"]) == {"live", "savedmodel", "tflite"}
    stopped = f"after epoch {last}, stopped early: no better mAP in 1 evaluations"
    assert stopped in capsys.readouterr().out
    assert "--layer_learning_rates=backbone=0.5,stem=0.1\n" in (tmp_path / "run" / "run.flags").read_text()

    assert train.main([*arguments, "--epochs=30"]) == 0  # nothing is left to do
    output = capsys.readouterr().out
    assert stopped in output and "this run is finished" in output


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow_addons") is None, reason="no tensorflow-addons")
def test_swa_ships_statistics_of_training_batches(synthetic_dir, tmp_path):
    """One epoch: its last step is the only snapshot, so that the weights are those of training, the statistics not."""
    recipe = ["--optimizer=tfa_swa", "--epochs=1", "--mixed_precision=float32", "--learning_rate=0.01"]
    flags = flags_of(train_arguments(synthetic_dir, tmp_path / "run", *recipe))
    settings = train.read_settings(flags)
    data = read_run_data(settings)
    trainer, steps = build_trainer(settings, data), data.batches.steps_per_epoch
    trainer.fit(training_batches(settings, data, cache="none"), steps_per_epoch=steps, verbose=0)
    trainer.statistics_batches = statistics_batches(settings, data, settings.phases[-1])  # as a run does
    assert len(list(trainer.statistics_batches)) == steps  # 16 where the run has so many
    shipped = trainer.shipped_embedder()
    (gamma, _, mean, _), norm = trainer.embedder.get_layer("conv1_bn").get_weights(), shipped.get_layer("conv1_bn")
    np.testing.assert_array_equal(norm.gamma, gamma)
    before = keras.Model(shipped.input, norm.input)
    means = [before(images).numpy().mean((0, 1, 2)) for images in trainer.statistics_batches]
    np.testing.assert_allclose(norm.moving_mean, np.mean(means, axis=0), atol=1e-3)
    assert not np.allclose(norm.moving_mean, mean, atol=1e-2)


def test_what_contradicts_is_refused_in_one_line(synthetic_dir, tmp_path, refused):
    for flag, text in (
        ("--freeze_backbone_epochs=3", "--freeze_backbone_epochs=3, expected at most --epochs=2"),
        ("--warmup_epochs=2", "--warmup_epochs=2, expected 0 to 1"),  # trinet falls after 60 % of 12 steps
        ("--layer_learning_rates=neck=1", "no part 'neck': expected backbone, stem, stage1, stage2, stage3, stage4,"),
    ):
        assert text in refused(train.main, train_arguments(synthetic_dir, tmp_path / "run", "--epochs=2", flag))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow_addons") is None, reason="minutes: on one stack is enough")
def test_150_epochs_of_the_patent_s_recipe(tmp_path):
    """Sizes and network overridden, all else as it ships: each epoch's rate, everything there, memory that stays."""
    write_synthetic(tmp_path / "data", identities=6, cameras=2, images_per_camera=2, seed=0)
    run_dir = tmp_path / "run"
    sizes = [flag for flag in TINY_RUN if not flag.startswith(("--margin", "--evaluate_every"))]
    command = [*TINY_TRAIN, "--flagfile=market.flags", *sizes, "--evaluate_every=50"]
    command += [f"--data_dir={tmp_path / 'data'}", f"--run_dir={run_dir}"]
    with open(tmp_path / "output", "w") as output:
        process = subprocess.Popen(command, cwd=CONFIGS.parent, stdout=output, stderr=subprocess.STDOUT)
        memory = resident_memory_by_epoch(process, run_dir / "times.csv")
    assert process.wait() == 0, (tmp_path / "output").read_text()[-2000:]

    metrics = pd.read_csv(run_dir / "metrics.csv")
    assert metrics.epoch.tolist() == list(range(1, 151))
    steps = metrics.step[0]  # 12 images in batches of 3 x 2
    assert steps == 2 and metrics.step.tolist() == list(range(2, 301, 2))
    last_steps = metrics.step - 1  # counted from 0; the rate falls from step 180 of 300 on
    expected = 3e-4 * 0.001 ** ((last_steps - 180).clip(lower=0) / 120)
    np.testing.assert_allclose(metrics.learning_rate, expected, rtol=1e-5)
    assert metrics[SCORE].notna().sum() == 3
    places = ("last.keras", "best.keras", "export/embedder/1/saved_model.pb", "export/embedder.tflite", "tensorboard")
    assert all((run_dir / place).exists() for place in places)
    assert json.loads((run_dir / "evaluation.json").read_text())["epochs"] == 150
    # Between two scored epochs nothing but 16 bytes for each operation that runs eagerly is lost, by TensorFlow 2.15
    # itself (2.21 does not). The process keeps what an evaluation takes, 2 % at the first; later ones find most of it.
    for first, last, growth in ((10, 45, 1.01), (60, 95, 1.01), (60, 146, 1.04)):
        early, late = (np.median([memory[e] for e in memory if abs(e - epoch) <= 4]) for epoch in (first, last))
        assert late <= growth * early, f"{first} to {last}: {late / early:.3f}: {memory}"


def resident_memory_by_epoch(process, times: Path) -> dict:
    """Returns epoch -> bytes, read when the epoch's row appears; ends with the process."""
    memory = {}
    while process.poll() is None:
        try:
            epoch = len(times.read_text().splitlines()) - 1
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory.setdefault(epoch, int(status.split("VmRSS:")[1].split()[0]))
        except (OSError, IndexError):
            pass  # before the first epoch, after the last
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return memory
