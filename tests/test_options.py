"""Flags and flagfiles: where they are looked up, who wins, what is kept."""

import shlex
import subprocess
import sys

import pytest

from keras_reid import command, compare, embed, evaluate, export, launch, options, prepare, reproduce, train
from keras_reid.errors import ReidError


def parsed(*arguments: str) -> command.Flags:
    values = options.train_flags()
    values(["train", *arguments])
    return values


def test_a_shipped_flagfile_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = parsed("--flagfile=market.flags")
    patent = (flags.identities_per_batch, flags.images_per_identity, flags.epochs, flags.loss, flags.margin)
    assert patent == (18, 4, 150, "batch_hard", "0.3")
    assert (flags.image_height, flags.image_width, flags.backbone_weights) == (256, 128, "imagenet")


def test_a_flagfile_as_given_comes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "market.flags").write_text("# mine\n--epochs=7\n\n--flagfile=quickstart.flags\n--seed=3\n")
    flags = parsed("--flagfile=market.flags")
    assert (flags.epochs, flags.seed, flags.loss) == (8, 3, "circle")  # a nested flagfile stands where it is named


def test_later_flags_override(tmp_path):
    flags = parsed("--flagfile=market.flags", "--epochs=3", "--epochs=4", "--margin=soft")
    assert (flags.epochs, flags.margin) == (4, "soft")


def test_an_unknown_flagfile_names_those_that_ship():
    names = "market.flags, market_scratch.flags, market_strong.flags, quick"
    with pytest.raises(ReidError, match=rf"no flagfile 'marked.flags'.*{names}"):
        parsed("--flagfile=marked.flags")


def test_every_shipped_flagfile_parses_and_opens_with_source_command_and_cost():
    folder = command.find_flagfile("market.flags").parent
    for path in folder.glob("*.flags"):
        parsed(f"--flagfile={path.name}")
        comment = path.read_text().split("\n--")[0]
        for word in ("Source:", "Command:", "Cost:"):
            assert word in comment, f"{path.name} does not state its {word}"


def test_flags_as_text_read_back_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = parsed("--data_dir=data", "--run_dir=run", "--normalize_embedding", "--margin=soft", "--nodeterministic")
    text = command.as_text(given)
    assert text["data_dir"] == str(tmp_path / "data")
    assert text["normalize_embedding"] == "true" and text["deterministic"] == "false"
    again = parsed(*(f"--{name}={value}" for name, value in text.items()))
    assert command.as_text(again) == text


def test_a_command_gives_the_same_flags_again_with_paths_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--dataset=mars", "--data_dir=my data", "--data_dir=b", "--run_dir=run", "--margin=soft", "--epochs=150"]
    line = command.as_command("keras_reid.train", parsed(*given), options.train_flags())
    words = shlex.split(line.replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "keras_reid.train"]
    assert "--data_dir=my data" in words and "--epochs=150" not in words  # the default
    assert command.as_text(parsed(*words[3:])) == command.as_text(parsed(*given))


def test_repeated_flags_replace_those_of_a_flagfile_and_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.flags").write_text("--dataset=viper\n--data_dir=a\n--data_dir=b\n")
    (tmp_path / "b.flags").write_text("--flagfile=a.flags\n--data_dir=c\n")
    for given, folders in {
        "--flagfile=a.flags": ["a", "b"],
        "--flagfile=b.flags": ["c"],
        "--flagfile=a.flags --data_dir=d --data_dir=e": ["d", "e"],
        "--data_dir=d --flagfile=b.flags": ["d"],
        "--flagfile=b.flags --flagfile=a.flags": ["a", "b"],
        "--flagfile=a.flags --data_dir d": ["d"],
    }.items():
        flags = parsed(*given.split())
        assert (flags.dataset, flags.data_dir) == (["viper"], folders), given


def test_several_data_sets_are_kept_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = parsed("--dataset=mars", "--data_dir=a", "--data_dir=gs://bucket/b")
    text = command.as_text(flags)
    assert text["data_dir"] == f"{tmp_path}/a\ngs://bucket/b" and text["dataset"] == "mars\nmars"
    assert options.data_sets(flags) == [("mars", "a"), ("mars", "gs://bucket/b")]
    assert "camera_pattern" not in text and text["train_images"] == "0"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("--dataset=mars --dataset=viper --data_dir=a", "--dataset is given 2 times and --data_dir 1 times"),
        ("--dataset=mars --data_dir=a --data_dir=a", "--data_dir=a is given twice"),
    ],
)
def test_data_sets_that_do_not_pair_up_are_refused(given, text):
    with pytest.raises(ReidError, match=text):
        options.data_sets(parsed(*given.split()))


def test_the_choices_are_those_of_the_library():
    from keras_reid.data.readers.by_name import READERS
    from keras_reid.losses.batch_loss import MINING_SCOPES
    from keras_reid.losses.by_name import ADDONS_LOSSES, LOSSES
    from keras_reid.models.embedder import HEADS
    from keras_reid.training import optimizers, precision, schedules

    values = options.train_flags()
    for name, choices in {
        "dataset": READERS,
        "loss": [*LOSSES, *ADDONS_LOSSES],
        "mining_scope": MINING_SCOPES,
        "head": HEADS,
        "optimizer": optimizers.OPTIMIZERS,
        "schedule": schedules.SCHEDULES,
        "mixed_precision": precision.POLICIES,
    }.items():
        assert values[name].parser.enum_values == list(choices)


def test_the_choices_of_evaluate_are_those_of_the_library():
    from keras_reid.choices import METRICS, TEST_TIME_AUGMENTATIONS
    from keras_reid.data.readers.by_name import READERS
    from keras_reid.evaluation.inputs import IGNORE_RULES, MISSING_CAMERAS
    from keras_reid.evaluation.pooling import POOLINGS

    values = options.evaluate_flags()
    for name, choices in {
        "dataset": READERS,
        "ignore": IGNORE_RULES,
        "metric": METRICS,
        "missing_cameras": MISSING_CAMERAS,
        "multi_query": POOLINGS,
        "tracklets": POOLINGS,
        "views": TEST_TIME_AUGMENTATIONS,
    }.items():
        assert values[name].parser.enum_values == list(choices)


def test_what_one_call_asks_for_is_not_kept():
    assert {"resume", "allow_flag_changes", "help", "h"}.isdisjoint(command.as_text(parsed("--allow_flag_changes")))


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (train, options.train_flags),
        (evaluate, options.evaluate_flags),
        (export, options.export_flags),
        (embed, options.embed_flags),
        (compare, options.compare_flags),
        (prepare, options.prepare_flags),
        (reproduce, options.reproduce_flags),
        (launch, options.launch_flags),
    ],
)
def test_help_lists_every_flag_and_ends_well(command, flags, capsys):
    assert command.main([command.__name__, "--help"]) == 0
    output = capsys.readouterr().out
    assert f"python -m {command.__name__}" in output
    for name in flags():
        assert f"--{name} [" in output


def test_a_bug_keeps_its_traceback():
    def main(flags):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        command.run_command(main, options.evaluate_flags(), ["evaluate"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (RuntimeError("OOM when allocating tensor with shape[72]"), "memory is full: lower --identities_per_batch"),
        (ReidError("two\nlines"), "error: two lines"),
        (PermissionError(13, "Permission denied", "/x"), "Permission denied: '/x'"),
    ],
)
def test_errors_of_the_machine_are_one_line(error, text, capsys):
    def main(flags):
        raise error

    assert command.run_command(main, options.evaluate_flags(), ["evaluate"]) == 1
    message = capsys.readouterr().err
    assert text in message and message.count("\n") == 1


def test_ctrl_c_before_the_training_ends_in_130(capsys):
    def main(flags):
        raise KeyboardInterrupt

    assert command.run_command(main, options.evaluate_flags(), ["evaluate"]) == 130


def test_an_entry_point_may_be_main_and_imported_again():
    """absl's global FLAGS would raise DuplicateFlagError on the second definition."""
    code = (
        "import sys, runpy; sys.argv = ['train', '--help']\n"
        "import keras_reid.train, importlib; importlib.reload(keras_reid.train)\n"
        "try: runpy.run_module('keras_reid.train', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "from absl import flags; assert 'run_dir' not in flags.FLAGS\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
