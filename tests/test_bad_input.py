"""Bad input: one clear line on stderr, exit code 1, nothing overwritten; typed as a user would type it."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_reid import evaluate, export, train
from keras_reid.models import save_keras
from tests.conftest import tiny_embedder, train_arguments
from tests.training.tiny_train import COMMAND as TINY_TRAIN


@pytest.fixture
def data_dir(synthetic_dir, tmp_path) -> Path:
    """A dataset that a test may damage."""
    return Path(shutil.copytree(synthetic_dir, tmp_path / "data"))


def snapshot(folder: Path) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--data_dir=/no/such/folder --dataset=market1501", "data folder '/no/such/folder' does not exist"),
        ("--identities_per_batch=7", "--identities_per_batch=7, expected 2 to 6"),
        ("--images_per_identity=1", "--images_per_identity=1, expected at least 2"),
        ("--loss=hardest", "--loss"),
        ("--margin=wide", "margin='wide', expected a number of at least 0, or 'soft'"),
        ("--margin=-1", "--margin=-1.0, expected a number of at least 0"),
        ("--loss=contrastive --margin=soft", "margin='soft', expected a number of at least 0; this loss has no soft"),
        ("--loss=circle --margin=2", "--margin=2.0, scale=32 of circle loss: expected a margin from 0 to 1"),
        ("--mining_scope=local", "--mining_scope"),
        ("--identity_loss_weight=-1", "--identity_loss_weight=-1: -1.0 is not a non-negative"),
        ("--identity_loss_weight=1 --label_smoothing=1", "--label_smoothing=1.0, expected a number from 0 to below 1"),
        ("--center_loss_weight=nan", "--center_loss_weight=nan, expected at least 0"),
        ("--learning_rate=0", "--learning_rate=0.0, expected a number above 0"),
        ("--learning_rate=fast", "--learning_rate"),
        ("--epochs=0", "--epochs"),
        ("--random_erasing=2", "--random_erasing=2.0, expected a probability"),
        ("--last_stride=3", "--last_stride"),
        ("--dataset=market", "--dataset"),
        ("--dataset=dukemtmc", "withdrawn by its authors"),
        (
            "--dataset=viper --dataset=mars",
            "3 datasets are named for 1 --data_dir: expected one --dataset=NAME, or one for each --data_dir",
        ),
        ("--train_images=37", "--train_images=37, expected 4 to 36"),
        ("--train_identities=1", "--train_identities=1, expected 2 to 6"),
        ("--flagfile=no_such.flags", "no flagfile 'no_such.flags'"),
        ("--no_such_flag=1", "no_such_flag"),
        ("--run_dir=run\0", "'--run_dir=run\\x00' holds a NUL character"),
        ("extra", "'extra' is no flag"),
        ("--data_dir=", "--data_dir is not set"),
        ("--resume=required", "--resume=required, but"),
        ("--seed=5000000000", "--seed"),
        ("--nodeterministic=3", "--nodeterministic=3"),
        (f"--flagfile={sys.executable}", "is no flagfile: expected text"),
    ],
)
def test_a_wrong_value_is_named_and_no_run_begins(synthetic_dir, tmp_path, refused, flag, text):
    run_dir = tmp_path / "run"
    assert text in refused(train.main, train_arguments(synthetic_dir, run_dir, "--epochs=1", *flag.split()))
    assert not run_dir.exists()


def test_a_run_that_diverges_stops_with_the_steps_and_keeps_a_diagnosis(synthetic_dir, tmp_path, refused):
    run_dir = tmp_path / "run"
    flags = ["--epochs=3", "--noscore_baselines", "--learning_rate=1e30", "--optimizer=sgd"]
    error = refused(train.main, train_arguments(synthetic_dir, run_dir, *flags))
    assert "training stopped. It went wrong between step" in error and "Lower --learning_rate" in error
    assert (run_dir / "diagnosis.txt").read_text().strip() in error.replace("--", "")  # the command names the flags


@pytest.mark.parametrize("split", ["bounding_box_train", "bounding_box_test", "query"])
def test_an_empty_split(data_dir, tmp_path, refused, split):
    for file in (data_dir / split).iterdir():
        file.unlink()
    error = refused(train.main, train_arguments(data_dir, tmp_path / "run"))
    assert "split is empty" in error and str(data_dir / split) in error


@pytest.mark.parametrize("split", ["bounding_box_train", "query"])
def test_a_truncated_image_is_named(data_dir, tmp_path, refused, split):
    victim = sorted((data_dir / split).iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:400])
    # The baselines read query and gallery before training reads the rest.
    flag = "--score_baselines" if split == "query" else "--noscore_baselines"
    error = refused(train.main, train_arguments(data_dir, tmp_path / "run", "--epochs=1", flag))
    assert str(victim) in error and "1 of " in error


def test_a_folder_with_other_files_is_left_alone(synthetic_dir, tmp_path, refused):
    (tmp_path / "notes.txt").write_text("mine")
    assert "not empty and holds no run" in refused(train.main, train_arguments(synthetic_dir, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_folder_that_is_a_file(synthetic_dir, tmp_path, refused):
    (tmp_path / "run").write_text("mine")
    assert "is a file, expected a folder" in refused(train.main, train_arguments(synthetic_dir, tmp_path / "run"))


def test_a_checkpoint_of_another_architecture(finished_run, synthetic_dir, tmp_path, refused):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    before = snapshot(run_dir / "checkpoints")
    changed = ["--epochs=3", "--embedding_size=64", "--allow_flag_changes"]
    error = refused(train.main, train_arguments(synthetic_dir, run_dir, *changed))
    assert "step-00000012' belongs to another architecture or optimizer" in error
    assert snapshot(run_dir / "checkpoints") == before
    # What the run was stays on record: the old command still goes on with it.
    assert "--embedding_size=128" in (run_dir / "run.flags").read_text()


def test_a_run_without_its_checkpoints_is_not_trained_over(finished_run, synthetic_dir, tmp_path, refused):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    shutil.rmtree(run_dir / "checkpoints")
    before = snapshot(run_dir)
    assert "has no checkpoint" in refused(train.main, train_arguments(synthetic_dir, run_dir, "--epochs=3"))
    assert snapshot(run_dir) == before


@pytest.mark.parametrize("name", ["other.keras", "no_such.keras"])
def test_weights_of_another_network_or_of_none(resnet50, synthetic_dir, tmp_path, refused, name):
    save_keras(tiny_embedder(), tmp_path / "other.keras")
    arguments = train_arguments(synthetic_dir, tmp_path / "run", f"--backbone_weights={tmp_path / name}")
    assert name in refused(train.main, arguments)
    assert not (tmp_path / "run").exists()


def test_no_network_for_the_imagenet_weights(resnet50, synthetic_dir, tmp_path, refused, monkeypatch):
    # A proxy that refuses at once stands for having no network, on machines that have one too.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    arguments = train_arguments(synthetic_dir, tmp_path / "run", "--backbone_weights=imagenet")
    error = refused(train.main, arguments)
    assert "--backbone_weights=none" in error
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line_and_leaves_no_half_files(synthetic_dir, tmp_path):
    """No file may grow beyond 1 MB, a network with so large an embedding has 4: the first epoch cannot be saved."""
    flags = ["--epochs=1", "--noscore_baselines", "--embedding_size=100000"]
    limit = 1_000_000
    run = subprocess.run(
        [*TINY_TRAIN, *train_arguments(synthetic_dir, tmp_path / "run", *flags)[1:]],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith("error: the disk is full")
    left = [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()]
    left = {name for name in left if not name.startswith("events.")} - {"run_card.json", "run_card.md", "curves.png"}
    assert left == {"run.flags", "metrics.csv", "times.csv"}


def test_a_read_only_place(synthetic_dir, refused):
    error = refused(train.main, train_arguments(synthetic_dir, "/proc/run"))
    assert "/proc/run" in error


@pytest.mark.parametrize("name", ["nothing", "folder", "photo.jpg", "half.tflite", "half.keras"])
def test_no_such_artifact(synthetic_dir, tmp_path, refused, name):
    (tmp_path / "folder").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.jpg")
    for file in ("half.tflite", "half.keras"):
        (tmp_path / file).write_bytes(b"\x1c\x00\x00\x00TFL3" + os.urandom(50))
    arguments = ["evaluate", f"--artifact={tmp_path / name}", f"--data_dir={synthetic_dir}"]
    assert name in refused(evaluate.main, arguments)


@pytest.mark.parametrize("place", ["", "missing/scores.json"])
def test_a_place_that_cannot_be_written_is_refused_before_the_scoring(synthetic_dir, tmp_path, refused, place):
    arguments = ["evaluate", "--artifact=x", f"--data_dir={synthetic_dir}", f"--json={tmp_path / place}"]
    assert "--json=" in refused(evaluate.main, arguments)


def test_evaluate_and_export_name_what_is_missing(synthetic_dir, finished_run, tmp_path, refused):
    assert "--artifact is not set" in refused(evaluate.main, ["evaluate", f"--data_dir={synthetic_dir}"])
    assert "--data_dir is not set" in refused(evaluate.main, ["evaluate", "--artifact=x"])
    assert "no trained run at" in refused(export.main, ["export", f"--run_dir={tmp_path}"])
    arguments = ["export", f"--run_dir={finished_run}", f"--export_dir={tmp_path}", "--formats=savedmodel,onnxx"]
    assert "--formats=savedmodel,onnxx, expected" in refused(export.main, arguments)
    assert list(tmp_path.iterdir()) == []
