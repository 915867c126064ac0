"""The run folder: whose it is, what is refused, what is written."""

import pytest

from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all
from keras_reid.training.run_folder import RunFolder

FLAGS = {"loss": "batch_hard", "epochs": "3", "data_dir": "/a", "dataset": "market1501"}
DEFAULTS = {"resume": "auto", "allow_flag_changes": False}


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.check(FLAGS, **DEFAULTS)
    run.begin(FLAGS)
    return run


def test_the_same_flags_go_on(run):
    run.check(FLAGS, **DEFAULTS)
    assert run.read_flags() == FLAGS


def test_paths_and_epochs_may_differ(run):
    run.check({**FLAGS, "epochs": "9", "data_dir": "/b"}, **DEFAULTS)


def test_other_flags_are_named_and_refused_unless_allowed(run):
    other = {**FLAGS, "loss": "circle", "margin": "soft"}
    named = "loss=batch_hard there and loss=circle now; margin not set there and margin=soft now"
    with pytest.raises(ReidError, match=named):
        run.check(other, **DEFAULTS)
    run.check(other, resume="auto", allow_flag_changes=True)
    assert run.read_flags() == FLAGS  # checking writes nothing


def test_a_flag_that_the_run_did_not_know_had_its_default(run):
    """As in a run that an older version began."""
    newer = {**FLAGS, "sampler": "identity"}
    run.check(newer, **DEFAULTS, defaults={"sampler": "identity"})
    with pytest.raises(ReidError, match="sampler=identity there and sampler=camera now"):
        run.check({**newer, "sampler": "camera"}, **DEFAULTS, defaults={"sampler": "identity"})


def test_repeated_flags_are_lines_and_their_change_is_named(tmp_path):
    run = RunFolder(tmp_path / "two")
    flags = {**FLAGS, "dataset": "mars\ncsv", "data_dir": "/a\n/b.csv"}
    run.begin(flags)
    assert run.flags.read_text().splitlines()[:4] == [
        "--data_dir=/a",
        "--data_dir=/b.csv",
        "--dataset=mars",
        "--dataset=csv",
    ]
    assert run.read_flags() == flags
    run.check({**flags, "data_dir": "/c\n/b.csv"}, **DEFAULTS)
    with pytest.raises(ReidError, match="dataset=mars, csv there and dataset=csv, mars now"):
        run.check({**flags, "dataset": "csv\nmars"}, **DEFAULTS)


@pytest.mark.parametrize(("resume", "there", "text"), [("never", True, "holds a run"), ("required", False, "no run")])
def test_resume(tmp_path, run, resume, there, text):
    folder = run if there else RunFolder(tmp_path / "new")
    with pytest.raises(ReidError, match=text):
        folder.check(FLAGS, resume=resume, allow_flag_changes=False)


def test_two_processes_do_not_train_in_one_folder(run):
    other = RunFolder(run.path)
    with pytest.raises(ReidError, match="another process trains in .*: wait for it, stop it"):
        other.begin(FLAGS)
    path = run.path
    run.begin(FLAGS)  # its own it may begin again
    run.close()
    other.begin(FLAGS)
    assert other.path == path


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ReidError, match="not empty and holds no run"):
        RunFolder(tmp_path).check(FLAGS, **DEFAULTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_nearly_full_disk_is_refused_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000_000})())
    with pytest.raises(ReidError, match="0.0 GB are free"):
        RunFolder(tmp_path / "run").check(FLAGS, **DEFAULTS)


def test_evaluation_json_gains_keys(run):
    run.record_evaluation({"a": 1})
    run.record_evaluation({"b": [2]})
    assert run.read_evaluation() == {"a": 1, "b": [2]}


HALF = '{"epochs": 2, "dataset": "x", "exports": {}, "scores": {"live": {}}}'


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"epochs": 2}', HALF])
def test_a_damaged_evaluation_json_is_named(run, content):
    run.evaluation.write_text(content)
    with pytest.raises(ReidError, match="evaluation.json' is damaged.* Delete it"):
        run.read_evaluation()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe--data_dir=x"])
def test_damaged_flags_are_named(run, content):
    run.flags.write_bytes(content)
    with pytest.raises(ReidError, match="run.flags' is damaged"):
        run.check(FLAGS, **DEFAULTS)


def test_files_are_whole_or_not_at_all(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_or_not_at_all(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with whole_or_not_at_all(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
