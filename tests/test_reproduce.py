"""What a run shipped, scored again: the same, or one line on why not."""

import json
import shutil

import pytest

from keras_reid import reproduce


@pytest.fixture
def run_dir(finished_run, tmp_path):
    """The record of a finished run, whose exports may be taken away but not changed."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.flags", "evaluation.json", "run_card.json", "metrics.csv"):
        shutil.copy(finished_run / name, folder)
    (folder / "export").symlink_to(finished_run / "export")
    return folder


def change_record(run_dir, change) -> None:
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    change(evaluation)
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation))


def test_a_run_is_reproduced(run_dir, synthetic_dir, tmp_path, capsys):
    shutil.copytree(synthetic_dir, tmp_path / "moved", ignore=shutil.ignore_patterns("*_train"))
    shutil.copytree(synthetic_dir / "bounding_box_train", tmp_path / "moved" / "bounding_box_train")
    arguments = [str(run_dir), f"--data_dir={tmp_path / 'moved'}", f"--json={tmp_path / 'again.json'}"]
    assert reproduce.main(["reproduce", *arguments]) == 0
    assert "reproduced: scores differ from those recorded by at most 0.00 points" in capsys.readouterr().out
    content = json.loads((tmp_path / "again.json").read_text())
    recorded = json.loads((run_dir / "evaluation.json").read_text())["scores"]
    assert content["reproduced"] and len(content["scores"]) == 2 * 6
    row = next(row for row in content["scores"] if (row["artifact"], row["score"]) == ("tflite", "mAP %"))
    assert row["recorded"] == 100 * recorded["tflite"]["mean_average_precision"]
    assert row["again"] == pytest.approx(row["recorded"], abs=0.05) and abs(row["difference"]) < 0.05


def test_other_scores_are_not_reproduced_but_within_the_tolerance(run_dir, refused, capsys):
    def change(record):
        record["scores"]["tflite"]["top5"] -= 0.02

    change_record(run_dir, change)
    error = refused(reproduce.main, ["reproduce", run_dir])
    assert "by up to 2.00 points (top-5 % of tflite), more than --tolerance=0.1" in error
    assert reproduce.main(["reproduce", str(run_dir), "--tolerance=2.1"]) == 0
    assert "at most 2.00 points (top-5 % of tflite)" in capsys.readouterr().out


def test_what_is_missing_or_damaged_is_named(run_dir, refused, tmp_path):
    record = (run_dir / "evaluation.json").read_text()
    for change, text in (
        (lambda record: record.pop("epochs"), "is not finished"),
        (lambda record: record.pop("exports"), "is damaged"),
        (lambda record: record["scores"].pop("tflite"), "is damaged"),
        (lambda record: record["scores"]["tflite"].update(top1="high"), "tflite has no top1"),
        (lambda record: record["exports"].update(tflite="gone.tflite"), "gone.tflite', which the run shipped, is gone"),
    ):
        change_record(run_dir, change)
        assert text in refused(reproduce.main, ["reproduce", run_dir])
        (run_dir / "evaluation.json").write_text(record)
    assert "holds no run" in refused(reproduce.main, ["reproduce", tmp_path])
    assert "expected one run folder, got none" in refused(reproduce.main, ["reproduce"])
    assert "does not exist" in refused(reproduce.main, ["reproduce", run_dir, f"--data_dir={tmp_path / 'none'}"])
    assert "has 1 datasets" in refused(reproduce.main, ["reproduce", run_dir, "--data_dir=a", "--data_dir=b"])


def test_a_changed_data_set_is_named_unless_only_training_images_changed(run_dir, synthetic_dir, refused, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(synthetic_dir, moved)
    sorted((moved / "bounding_box_test").iterdir())[0].unlink()
    for image in (moved / "bounding_box_train").iterdir():  # what it was trained on does not matter here
        image.rename(image.with_name(f"0{image.name}"))
    error = refused(reproduce.main, ["reproduce", run_dir, f"--data_dir={moved}"])
    assert "train" not in error.split("scored on:")[1].split("Set")[0]
    assert "gallery had 28 images of 6 people and has 27 images of 6 people" in error


def test_a_damaged_artifact_is_named(run_dir, finished_run, refused):
    (run_dir / "export").unlink()
    shutil.copytree(finished_run / "export", run_dir / "export", ignore=shutil.ignore_patterns("*.tflite"))
    content = (finished_run / "export" / "embedder.tflite").read_bytes()
    (run_dir / "export" / "embedder.tflite").write_bytes(content[: len(content) // 2])
    change_record(run_dir, lambda record: record["exports"].pop("savedmodel"))
    assert "embedder.tflite" in refused(reproduce.main, ["reproduce", run_dir])
