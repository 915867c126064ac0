"""One console command for all: `keras-reid NAME ...` is `python -m keras_reid.NAME ...`."""

import subprocess
import sys
from pathlib import Path

import pytest

import keras_reid
from keras_reid.__main__ import COMMANDS, main


def keras_reid_command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "keras_reid", *arguments], capture_output=True, text=True)


def test_every_entry_point_is_a_command():
    modules = [*Path(keras_reid.__file__).parent.glob("*.py"), *Path(keras_reid.__file__).parent.glob("*/__main__.py")]
    names = {path: path.parent.name if path.stem == "__main__" else path.stem for path in modules}
    entry_points = {name for path, name in names.items() if "command.run_command(" in path.read_text()}
    assert set(COMMANDS) == entry_points


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_without_a_command_they_are_listed(arguments):
    run = keras_reid_command(*arguments)
    assert (run.returncode, run.stderr) == (0, "")
    for name, does in COMMANDS.items():
        assert f"  {name:<10} {does}\n" in run.stdout


def test_an_unknown_command_is_one_line():
    run = keras_reid_command("trian", "--epochs=1")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"error: no command 'trian', expected one of {', '.join(COMMANDS)}.\n"


def test_a_command_gets_its_arguments_and_gives_its_exit_code():
    run = keras_reid_command("compare", "--artifact=x", "one.jpg")
    assert run.returncode == 1
    assert run.stderr.startswith("error: expected two images") and run.stderr.count("\n") == 1
    assert "--artifact [not set]" in keras_reid_command("embed", "--help").stdout


def test_doctor_keeps_its_exit_codes(synthetic_dir, tmp_path, capsys):
    from keras_reid import doctor

    arguments = [f"--data_dir={synthetic_dir}", "--dataset=synthetic", "--images_per_identity=100"]
    code = main(["keras-reid", "doctor", *arguments])
    assert code == doctor.main(["doctor", *arguments]) and code in (2, 3)
