"""Flags and flagfiles: where they are looked up, who wins, what is kept."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keras_reid import (
    choices,
    command,
    compare,
    embed,
    evaluate,
    export,
    launch,
    options,
    prepare,
    reproduce,
    search,
    train,
)
from keras_reid.__main__ import COMMANDS, entry_point
from keras_reid.errors import ReidError
from keras_reid.flag_values import find_flagfile


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
    names = "market.flags, market_scratch.flags, market_strong.flags, own.flags, quick"
    with pytest.raises(ReidError, match=rf"no flagfile 'marked.flags'.*{names}"):
        parsed("--flagfile=marked.flags")


def test_every_shipped_flagfile_parses_and_opens_with_source_command_and_cost():
    folder = find_flagfile("market.flags").parent
    for path in folder.glob("*.flags"):
        parsed(f"--flagfile={path.name}")
        comment = path.read_text().split("\n--")[0]
        for word in ("Source:", "Command:", "Cost:"):
            assert word in comment, f"{path.name} does not state its {word}"


def test_flags_as_text_read_back_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = parsed("--data_dir=data", "--run_dir=run", "--normalize_embedding", "--margin=soft", "--nodeterministic")
    text = train.read_settings(given).as_text()
    assert text["data_dir"] == str(tmp_path / "data")
    assert text["normalize_embedding"] == "true" and text["deterministic"] == "false"
    again = parsed(*(f"--{name}={value}" for name, value in text.items()))
    assert train.read_settings(again).as_text() == text


def test_a_command_gives_the_same_flags_again_with_paths_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--dataset=mars", "--data_dir=my data", "--data_dir=b", "--run_dir=run", "--margin=soft", "--epochs=150"]
    line = train.read_settings(parsed(*given)).as_command()
    words = shlex.split(line.replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "keras_reid.train"]
    assert "--data_dir=my data" in words and "--epochs=150" not in words  # the default
    assert train.read_settings(parsed(*words[3:])).as_text() == train.read_settings(parsed(*given)).as_text()


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
    text = train.read_settings(flags).as_text()
    assert text["data_dir"] == f"{tmp_path}/a\ngs://bucket/b" and text["dataset"] == "mars\nmars"
    assert options.data_sets(flags) == [("mars", "a"), ("mars", "gs://bucket/b")]
    assert "camera_pattern" not in text and text["train_images"] == "0"


def test_flags_with_commas_are_lists_and_numbers_by_name():
    flags = parsed("--decay_epochs=40, 70.5", "--layer_learning_rates=backbone=0.1, head=2")
    assert flags.decay_epochs == [40, 70.5]
    assert flags.layer_learning_rates == {"backbone": 0.1, "head": 2.0}
    text = train.read_settings(flags).as_text()
    assert (text["decay_epochs"], text["layer_learning_rates"]) == ("40,70.5", "backbone=0.1,head=2")
    assert (parsed().decay_epochs, parsed("--decay_epochs=").decay_epochs) == ([], [])
    assert parsed("--layer_learning_rates=").layer_learning_rates == {}
    export = options.export_flags()
    export(["export", "--formats=savedmodel,,onnx"])
    assert export.formats == ["savedmodel", "onnx"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("--decay_epochs=soon", "flag --decay_epochs=soon: expected numbers by commas, such as 40,70"),
        ("--layer_learning_rates=stem", "flag --layer_learning_rates=stem: expected part=factor by commas"),
        ("--layer_learning_rates=stem=fast", "flag --layer_learning_rates=stem=fast: expected part=factor"),
        ("--layer_learning_rates=stem=1=2", "flag --layer_learning_rates=stem=1=2: expected part=factor"),
    ],
)
def test_flags_with_commas_of_another_form_are_refused(given, text, refused):
    assert text in refused(train.main, ["train", given])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("--dataset=mars --dataset=viper --data_dir=a", "2 datasets are named for 1 data_dir"),
        ("--dataset=mars --data_dir=a --data_dir=a", "data_dir=a is given twice"),
    ],
)
def test_data_sets_that_do_not_pair_up_are_refused(given, text):
    with pytest.raises(ReidError, match=text):
        options.data_sets(parsed(*given.split()))


def test_what_is_looked_up_by_a_choice_is_there_for_each():
    from keras_reid import addons
    from keras_reid.data.readers.by_name import READERS
    from keras_reid.losses import LOSSES

    assert tuple(READERS) == choices.DATASETS
    assert (*LOSSES, *addons.LOSSES) == choices.LOSSES
    assert ("adam", "adamw", "sgd", *addons.OPTIMIZERS) == choices.OPTIMIZERS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("images_per_identity=1, expected at least 2", "--images_per_identity=1, expected at least 2"),
        ("margin='wide', or seed=3", "--margin='wide', or --seed=3"),
        ("Check data_dir. Set run_dir to a new one", "Check --data_dir. Set --run_dir to a new one"),
        ("'runs/seed=3' has no data_dir", "'runs/seed=3' has no --data_dir"),
        ("'seed=3 epochs=4' holds data_dir's images", "'seed=3 epochs=4' holds --data_dir's images"),
        (
            "\"Anna's run_dir\" is Market-1501's, seed=3, the run's",
            "\"Anna's run_dir\" is Market-1501's, --seed=3, the run's",
        ),
        (
            "runs/seed=3/data_dir and data_dir/x and data_dir.csv",
            "runs/seed=3/data_dir and data_dir/x and data_dir.csv",
        ),
        ("--seed=3 and --data_dir, my_seed=3, x.seed=3", "--seed=3 and --data_dir, my_seed=3, x.seed=3"),
        ("layer_learning_rates=head=0,loss=1", "--layer_learning_rates=head=0,loss=1"),
        ("the loss, the margin and image_size=(256, 128)", "the loss, the margin and image_size=(256, 128)"),
    ],
)
def test_arguments_of_the_library_are_named_as_flags(text, shown):
    assert command.name_flags(text, options.train_flags()) == shown


def test_an_error_of_the_library_names_the_flag_and_one_of_the_machine_stays(capsys):
    for error, line in {
        ReidError("batch_size=0 for '/x/batch_size=0'"): "error: --batch_size=0 for '/x/batch_size=0'\n",
        OSError("no file batch_size=0"): "error: no file batch_size=0\n",
    }.items():

        def main(flags, error=error):
            raise error

        assert command.run_command(main, options.evaluate_flags(), ["evaluate"]) == 1
        assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("flags", "old", "new"),
    [
        (options.evaluate_flags, "views", "test_time_augmentation"),
        (options.embed_flags, "views", "test_time_augmentation"),
        (options.compare_flags, "views", "test_time_augmentation"),
        (options.export_flags, "neighbours", "neighbors"),
    ],
)
def test_the_old_name_of_a_flag_is_accepted_with_a_notice(flags, old, new, tmp_path, capsys):
    value = "flip" if old == "views" else "3"
    (tmp_path / "old.flags").write_text(f"--{old}={value}\n")
    for given in ([f"--{old}={value}"], [f"--{old}", value], [f"-{old}={value}"], [f"--flagfile={tmp_path}/old.flags"]):
        values = flags()
        values(["command", *given])
        assert str(values[new].value) == value
        assert capsys.readouterr().err == f"notice: --{old} is now called --{new}.\n"
    values = flags()
    values(["command", f"--{new}={value}"])
    assert capsys.readouterr().err == "" and old not in values


def test_arguments_of_another_command_keep_their_names(capsys):
    values = command.Flags(takes_arguments=True, renamed={"views": "looks"})
    assert values(["command", "--", "--views=flip"])[1:] == ["--views=flip"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_a_command_turns_onednn_on_unless_the_user_has_set_it(before, after, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if before is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before)
    seen = []
    command.run_command(lambda flags: seen.append(os.environ["TF_ENABLE_ONEDNN_OPTS"]), command.Flags(), ["command"])
    assert seen == [after]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_turns_onednn_on(name, monkeypatch, capsys):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert entry_point(name).main([name, "--help"]) == 0
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


@pytest.mark.parametrize("name", ["evaluation", "export_memory", "input_pipeline", "losses", "train_step"])
def test_a_benchmark_turns_onednn_on_before_tensorflow_is_loaded(name):
    text = Path(__file__, "../../benchmarks", f"{name}.py").resolve().read_text()
    before = text.index('os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")')
    assert not re.search("^(import|from) (tensorflow|keras_reid)", text[:before], re.MULTILINE)


def test_the_image_turns_onednn_on():
    assert "ENV TF_ENABLE_ONEDNN_OPTS=1\n" in Path(__file__, "../../Dockerfile").resolve().read_text()


def test_what_one_call_asks_for_is_not_kept():
    assert {"resume", "allow_flag_changes", "help", "h"}.isdisjoint(
        train.read_settings(parsed("--allow_flag_changes")).as_text()
    )


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
        (search, options.search_flags),
    ],
)
def test_help_lists_every_flag_and_ends_well(command, flags, capsys):
    assert command.main([command.__name__, "--help"]) == 0
    output = capsys.readouterr().out
    assert f"python -m {command.__name__}" in output
    assert f"keras-reid {command.__name__.split('.')[-1]} " in output
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
