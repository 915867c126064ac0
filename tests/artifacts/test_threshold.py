"""Threshold of a run: in all of its artifacts that hold one network, or in none; which are left out is said."""

import os
import shutil

import pytest

from keras_reid import evaluate, export
from keras_reid.artifacts import describe_embedder, open_artifact, threshold_lines, write_threshold
from keras_reid.artifacts.formats import tflite
from keras_reid.models import save_keras
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder

CALIBRATION = {"threshold": 0.5, "false_positive_rate": 0.01, "threshold_dataset": "x", "threshold_views": "none"}
PLACES = ("last.keras", "best.keras", "export/embedder/1", "export/embedder/2", "export/embedder.tflite")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a run leaves: best.keras and the first version are of an earlier epoch."""
    folder, now, before = tmp_path_factory.mktemp("made") / "run", tiny_embedder(), tiny_embedder()
    about = describe_embedder(now)
    save_keras(now, folder / "last.keras", metadata=about)
    save_keras(before, folder / "best.keras")
    write_version(before, folder / "export" / "embedder", describe_embedder(before))
    write_version(now, folder / "export" / "embedder", about)
    tflite.write(now, folder / "export" / "embedder.tflite", about)
    return folder


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def thresholds(run) -> list:
    return [open_artifact(run / place).threshold for place in PLACES]


def test_all_that_hold_the_network_get_it_and_the_others_are_named(run):
    kept = write_threshold(run, CALIBRATION)
    assert thresholds(run) == [0.5, None, None, 0.5, 0.5]
    assert threshold_lines(kept) == [
        f"also written into {run / 'export/embedder/2'}, {run / 'export/embedder.tflite'}",
        f"not written into {run / 'best.keras'}: it is another network",
        f"not written into {run / 'export/embedder/1'}: it is another network",
    ]


def test_the_best_epoch_has_it_where_it_is_the_last(run):
    shutil.copy(run / "last.keras", run / "best.keras")
    write_threshold(run, CALIBRATION)
    assert thresholds(run) == [0.5, 0.5, None, 0.5, 0.5]


@pytest.mark.parametrize("place", ["last.keras", "export/embedder", "export/embedder.tflite"])
def test_one_artifact_is_changed_alone(run, place):
    assert threshold_lines(write_threshold(run / place, CALIBRATION)) == []
    assert sorted(filter(None, thresholds(run))) == [0.5]


def test_what_ships_keeps_its_own_where_this_one_is_for_augmented_images(run):
    write_threshold(run, CALIBRATION)
    kept = write_threshold(run, {**CALIBRATION, "threshold": 0.25, "threshold_views": "flip"})
    assert thresholds(run) == [0.25, None, None, 0.5, 0.5]
    assert "without test-time augmentation" in kept[run / "export/embedder.tflite"]


def test_damaged_older_and_otherwise_compared_files_are_named(run):
    (run / "best.keras").write_bytes(b"no archive")
    older = run / "export/embedder/1/assets/reid.json"
    older.write_text(older.read_text().replace("network_fingerprint", "something_else"))
    now = run / "export/embedder/2/assets/reid.json"
    now.write_text(now.read_text().replace("euclidean", "cosine"))
    kept = write_threshold(run, CALIBRATION)
    assert "cut short" in kept[run / "best.keras"]
    assert kept[run / "export/embedder/1"] == "it holds no network fingerprint: export it again"
    assert kept[run / "export/embedder/2"] == "it is compared by cosine, not by euclidean"
    assert open_artifact(run / "export/embedder.tflite").threshold == 0.5


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_full_disk_leaves_all_as_they_were(run, monkeypatch, fails):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    write_threshold(run, {**CALIBRATION, "threshold": 0.75})
    moves, move = [], os.replace

    def full(source, target):
        moves.append(target)
        if len(moves) == fails:
            raise OSError("No space left on device")
        move(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_threshold(run, CALIBRATION)
    assert thresholds(run) == [0.75, None, None, 0.75, 0.75] and len(before) == len(
        list(filter(os.path.isfile, run.rglob("*")))
    )


def test_the_command_calibrates_the_whole_run(run, synthetic_dir, capsys):
    given = ["--dataset=synthetic", f"--data_dir={synthetic_dir}", "--calibrate_fpr=0.05", "--bootstrap=0"]
    assert evaluate.main(["evaluate", f"--artifact={run}", *given]) == 0
    said = capsys.readouterr().out
    assert f"also written into {run / 'export/embedder/2'}" in said
    assert f"not written into {run / 'best.keras'}: it is another network" in said
    assert f"compare of {run / 'export/embedder/2'} was written without a threshold" in said
    found = thresholds(run)
    assert found[0] is not None and found == [found[0], None, None, found[0], found[0]]


def test_an_export_that_calibrates_does_so_too_unless_it_goes_elsewhere(run, synthetic_dir, tmp_path, capsys):
    (run / "run.flags").write_text(f"--dataset=synthetic\n--data_dir={synthetic_dir}\n")
    given = [f"--run_dir={run}", "--formats=tflite", "--calibrate_fpr=0.05"]
    assert export.main(["export", *given, f"--export_dir={tmp_path / 'elsewhere'}"]) == 0
    assert f"{run} itself keeps what it has" in capsys.readouterr().out
    assert thresholds(run) == [None] * 5 and open_artifact(tmp_path / "elsewhere" / "embedder.tflite").threshold
    assert export.main(["export", *given]) == 0
    assert f"not written into {run / 'export/embedder/1'}: it is another network" in capsys.readouterr().out
    found = thresholds(run)
    assert found[0] is not None and found == [found[0], None, None, found[0], found[0]]
