"""The record of a run: what the card says, and what is added when a run goes on."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from keras_reid.errors import ReidError
from keras_reid.training.environment import environment, git_state
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_card import begin_card, read_card, update_card
from keras_reid.training.run_folder import RunFolder

SPLIT = {"images": 36, "people": 6, "cameras": 2, "bytes": 1_500_000, "sha256": "ab" * 32}
DATA = {"covers": "everything", "splits": {"train": SPLIT}}
FACTS = {
    "dataset": "synthetic",
    "command": "python -m keras_reid.train",
    "flags": {"epochs": "3", "dataset": "synthetic"},
    "seed": 7,
    "steps_per_epoch": 6,
    "started_from": "from scratch",
    "licence_notes": "Rendered.",
}


def place(**changes) -> dict:
    return {**environment(), "precision": "float32", **changes}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path)
    assert begin_card(run, FACTS, step=0, data=DATA, environment=place()) is None
    return run


def test_the_card_of_a_finished_run(finished_run, synthetic_dir):
    card = json.loads((finished_run / "run_card.json").read_text())
    evaluation = json.loads((finished_run / "evaluation.json").read_text())
    assert card["finished"] and card["epochs"] == 2 and card["steps_per_epoch"] == 6
    assert card["started_from"] == "from scratch" and card["flags"]["data_dir"] == str(synthetic_dir)
    assert set(card["scores"]) == {"live", "savedmodel", "tflite", "untrained", "mean colour"}
    for name in ("live", "savedmodel", "tflite"):
        low, high = card["intervals"][name]["mean_average_precision"]
        assert 0 <= low <= evaluation["scores"][name]["mean_average_precision"] <= high <= 1
    assert card["data"][0]["splits"]["train"]["images"] == 36
    assert card["speed"]["steps_timed"] == 12 and card["speed"]["images_per_second"] > 0
    text = (finished_run / "run_card.md").read_text()
    live = evaluation["scores"]["live"]["mean_average_precision"]
    assert f"| mAP % | {100 * live:.2f} (" in text
    assert "A finished run, trained from scratch, seed 0" in text and "nobody else's terms apply" in text


def test_a_run_that_is_not_finished_says_how_far_it_is(run):
    assert "**Not finished**: 0 of 3 epochs" in run.card_text.read_text()
    times = {"steps": 2, "seconds": 3.0, "seconds_between": 61.0, "seconds_per_step": 1.5, "images_per_second": 8.0}
    EpochLog(run).record({"epoch": 1, "step": 6, "loss": 1.0, **times, "waiting_share": 0.25})
    run.record_diagnosis("step 5: collapse.")
    update_card(run)
    text = run.card_text.read_text()
    assert "**Not finished**: 1 of 3 epochs" in text and "- step 5: collapse." in text
    assert "3.0 s (2 of 6 steps timed)" in text and "1 min 1 s" in text and "25.0%" in text
    assert "## Scores" not in text


def test_the_same_start_again_adds_nothing(run):
    assert begin_card(run, FACTS, step=6, data=DATA, environment=place()) is None
    card = read_card(run)
    assert [entry["from_step"] for entry in card["data"] + card["environments"]] == [0, 0]


def test_other_data_and_another_machine_are_told_and_kept(run):
    other = {**DATA, "splits": {"train": {**SPLIT, "images": 35, "sha256": "cd" * 32}}}
    line = begin_card(run, FACTS, step=6, data=other, environment=place(python="3.9.0"))
    assert "up to step 6: train had 36 images of 6 people and has 35 images of 6 people" in line
    card = read_card(run)
    assert [entry["from_step"] for entry in card["environments"]] == [0, 6]
    text = run.card_text.read_text()
    assert "**The dataset was another one before step 6.**" in text and "From step 6 on:" in text
    # Killed before it saved anything: steps from 6 on are made again, with the data of before.
    assert begin_card(run, FACTS, step=6, data=DATA, environment=place()) is None
    assert len(read_card(run)["data"]) == len(read_card(run)["environments"]) == 1


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"data": [], "environments": []}', '{"format_version": 9}'])
def test_a_damaged_card_is_named(run, content):
    run.card.write_text(content)
    with pytest.raises(ReidError, match="run_card.json' is damaged.* Delete it"):
        read_card(run)


def test_nothing_is_written_where_no_card_was_begun(tmp_path):
    update_card(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_version_of_a_checkout(tmp_path):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True)

    (tmp_path / "keras_reid").mkdir()
    module = Path(tmp_path, "keras_reid", "train.py")
    module.write_text("a = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert git_state(tmp_path) is None  # somebody's checkout that an environment lies in
    (tmp_path / "setup.py").touch()  # not committed, but no part of the package
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert git_state(tmp_path) == {"commit": commit, "modified": False}
    module.write_text("a = 2\n")
    assert git_state(tmp_path) == {"commit": commit, "modified": True}
