"""The main job as a user runs it: train, resume, evaluate, export, interrupt, from the command line."""

import dataclasses
import json
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest

from keras_reid import evaluate, export, train
from keras_reid.errors import ReidError
from keras_reid.training import Run, Settings
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_folder import RunFolder
from tests.conftest import ROOT, train_arguments
from tests.training.tiny_train import COMMAND as TINY_TRAIN

SCORES = ("mean_average_precision", "mean_average_precision_trapezoid", "top1", "top5", "top10")


def test_the_run_folder_holds_everything(finished_resnet50):
    names = {path.name for path in finished_resnet50.iterdir()}
    assert names == {
        "run.flags",
        "checkpoints",
        "metrics.csv",
        "times.csv",
        "curves.png",
        "run_card.json",
        "run_card.md",
        "report.html",
        "tensorboard",
        "best.keras",
        "last.keras",
        "export",
        "evaluation.json",
    }
    assert (finished_resnet50 / "export" / "embedder" / "1" / "saved_model.pb").exists()
    assert (finished_resnet50 / "export" / "embedder.tflite").exists()
    events = {path.name for path in (finished_resnet50 / "tensorboard").iterdir()}
    assert events == {f"events.out.tfevents.{what}" for what in ("00000006.epoch", "00000012.epoch", "00000012.scores")}


def test_metrics_has_a_row_an_epoch_with_all_that_is_reported(finished_resnet50):
    metrics = pd.read_csv(finished_resnet50 / "metrics.csv")
    assert metrics.epoch.tolist() == [1, 2]
    # 6 people x 2 cameras x 3 images train: 36 // (3 * 2) steps an epoch
    assert metrics.step.tolist() == [6, 12]
    reported = {"loss", "active_triplets", "hardest_positive_distance", "hardest_negative_distance", "embedding_norm"}
    assert reported | {"learning_rate"} <= set(metrics.columns)
    assert metrics[sorted(reported)].gt(0).all(axis=None)
    # trinet: constant for 60 % of the 12 steps, then down; the last step runs at step 11
    assert metrics.learning_rate[0] == pytest.approx(3e-4)
    assert metrics.learning_rate[1] == pytest.approx(3e-4 * 0.001 ** ((11 - 7) / (12 - 7)), rel=1e-3)
    assert metrics.val_top1.isna().tolist() == [True, False]


def test_live_savedmodel_and_tflite_score_the_same(finished_resnet50):
    evaluation = json.loads((finished_resnet50 / "evaluation.json").read_text())
    assert set(evaluation["baselines"]) == {"untrained", "mean colour"}
    assert set(evaluation["scores"]) == {"live", "savedmodel", "tflite"}
    for kind in ("savedmodel", "tflite"):
        for name in SCORES:
            assert evaluation["scores"][kind][name] == pytest.approx(evaluation["scores"]["live"][name], abs=5e-4)


def test_the_same_command_says_that_the_run_is_finished(finished_resnet50, synthetic_dir, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished_resnet50.rglob("*")}
    assert train.main(train_arguments(synthetic_dir, finished_resnet50, "--epochs=2")) == 0
    assert "this run is finished" in capsys.readouterr().out.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in finished_resnet50.rglob("*")} == before


def test_run_flags_reads_back(finished_resnet50, capsys):
    assert train.main(["train", f"--flagfile={finished_resnet50 / 'run.flags'}"]) == 0
    assert "this run is finished" in capsys.readouterr().out


def test_other_flags_are_refused_and_nothing_changes(finished_resnet50, synthetic_dir, capsys):
    before = (finished_resnet50 / "run.flags").read_text()
    assert train.main(train_arguments(synthetic_dir, finished_resnet50, "--epochs=2", "--margin=0.5", "--seed=3")) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--margin=soft there and --margin=0.5 now; --seed=0 there and --seed=3 now" in error
    assert (finished_resnet50 / "run.flags").read_text() == before


def test_more_epochs_go_on_where_the_run_stopped(finished_run, synthetic_dir, tmp_path, capsys):
    run_dir = tmp_path / "longer"
    shutil.copytree(finished_run, run_dir)
    assert train.main(train_arguments(synthetic_dir, run_dir, "--epochs=3")) == 0
    output = capsys.readouterr().out
    assert "going on after step 12 of 18" in output
    metrics = pd.read_csv(run_dir / "metrics.csv")
    assert metrics.step.tolist() == [6, 12, 18]
    # 3 is no multiple of --evaluate_every, the last epoch is scored all the same
    assert metrics.val_top1.notna().tolist() == [False, True, True]
    assert json.loads((run_dir / "evaluation.json").read_text())["exports"]["savedmodel"] == "export/embedder/2"
    assert train.main(train_arguments(synthetic_dir, run_dir, "--epochs=1")) == 1
    assert "--epochs=1, but the run has made 3 epochs" in capsys.readouterr().err


def test_a_run_that_has_gone_on_since_is_not_finished(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    log, asked = EpochLog(RunFolder(tmp_path / "run")), {"epochs": 2, "early_stop": 0}
    assert log.state(**asked).finished
    log.record({"epoch": 3, "step": 18})
    assert not log.state(**asked).finished


def test_a_run_is_trained_from_python_as_by_the_command(finished_resnet50, synthetic_dir, tmp_path):
    """The settings of conftest's TINY_RUN: the folder that the command wrote is theirs, and is found finished."""
    settings = Settings(
        dataset="synthetic",
        data_dir=synthetic_dir,
        run_dir=finished_resnet50,
        image_height=32,
        image_width=16,
        random_crop_padding=2,
        identities_per_batch=3,
        images_per_identity=2,
        backbone_weights="none",
        margin="soft",
        evaluate_every=2,
        epochs=2,
    )
    assert Run(settings).train() == json.loads((finished_resnet50 / "evaluation.json").read_text())
    with pytest.raises(ReidError, match="margin=soft there and margin=0.5 now"):
        Run(dataclasses.replace(settings, margin=0.5)).train()


@pytest.mark.parametrize("place", ["", "last.keras", "export/embedder", "export/embedder/1", "export/embedder.tflite"])
def test_evaluate_scores_every_kind_of_artifact(finished_resnet50, synthetic_dir, tmp_path, capsys, place):
    arguments = [f"--artifact={finished_resnet50 / place}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert evaluate.main(["evaluate", *arguments, f"--json={tmp_path / 'scores.json'}"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    live = json.loads((finished_resnet50 / "evaluation.json").read_text())["scores"]["live"]
    assert scores["mean_average_precision"] == pytest.approx(live["mean_average_precision"], abs=5e-4)
    assert f"{100 * scores['top1']:.2f}" in capsys.readouterr().out


def test_export_writes_the_next_version_and_scores_it(finished_run, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    assert export.main(["export", f"--run_dir={run_dir}", "--formats=savedmodel"]) == 0
    assert (run_dir / "export" / "embedder" / "2" / "saved_model.pb").exists()
    report = json.loads((run_dir / "export" / "parity.json").read_text())
    assert set(report) == {"embedder/1", "embedder/2", "embedder.tflite"}  # the first and the last of training
    assert f"{100 * report['embedder/2']['top1']:.2f}" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_run_saves_and_goes_on(synthetic_dir, tmp_path):
    """By Ctrl-C in its first start, by SIGTERM in the second; the third ends it.

    The small network: a ResNet-50 is killed in the drill.
    """
    run_dir = tmp_path / "run"
    command = [*TINY_TRAIN, *train_arguments(synthetic_dir, run_dir, "--noscore_baselines", "--schedule=constant")[1:]]
    step = 0
    for number, exit_code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before, step = step, interrupt([*command, "--epochs=500"], run_dir, step + 6, number, exit_code)
        text = (tmp_path / "run.log").read_text()
        assert f"stopped after step {step} of 3000" in text and "Traceback" not in text
        assert not before or f"going on after step {before} of 3000" in text
        assert f"**Not finished**: {step // 6} of 500 epochs" in (run_dir / "run_card.md").read_text()

    epochs = step // 6 + 1
    resumed = subprocess.run([*command, f"--epochs={epochs}"], cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on after step {step} of {6 * epochs}" in resumed.stdout
    assert pd.read_csv(run_dir / "metrics.csv").step.tolist() == [6 * epoch for epoch in range(1, epochs + 1)]
    assert "A finished run" in (run_dir / "run_card.md").read_text()


def interrupt(command, run_dir, step, number, exit_code) -> int:
    """Sends the run a signal once it has a checkpoint of that step or a later one; returns the step of its newest."""

    def saved() -> list[int]:
        return [int(path.name.split("-")[1]) for path in (run_dir / "checkpoints").glob("step-????????")]

    with open(run_dir.with_suffix(".log"), "w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        wait_until(lambda: max(saved(), default=0) >= step or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(timeout=60) == exit_code
    return max(saved())


def wait_until(true, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
