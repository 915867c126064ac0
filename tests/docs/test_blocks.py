"""Code blocks of README.md and docs/: Python runs, commands run or at least parse, and what is not run says why."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keras_reid import options
from keras_reid.__main__ import entry_point
from tests.docs.pages import PAGES, ROOT, blocks

COMMANDS = (
    *("train", "evaluate", "export", "embed", "compare", "describe", "visualize", "doctor", "prepare"),
    *("gallery", "search", "tracks", "reproduce", "launch"),
)
# The tests of the kit run the rest of its page.
PYTHON = [*blocks("python"), *blocks("python", pages=["export/README.md"])[:1]]
TRAINING = next(block for block in PYTHON if "Run(settings).train()" in block.code)
# The pages speak of the quickstart's run; the tests' has fewer people, smaller images and one epoch.
SMALLER = {
    "identities_per_batch=18": "identities_per_batch=3",
    "epochs=8": "epochs=1",
    "image_height=64": "image_height=32",
    "image_width=32": "image_width=16",
    "image_size=(64, 32)": "image_size=(32, 16)",
    "random_crop_padding=2": "random_crop_padding=2, identities_per_batch=3, images_per_identity=2",
    "--calibrate_fpr=1e-3": "--calibrate_fpr=0.05",  # so few pairs cannot show less
}
SMALLER_COMMAND = {"doctor": ["--identities_per_batch=3"], "evaluate": ["--bootstrap=100"]}
# Options of Apache Beam's runners, which follow after --.
BEAM = {"direct_num_workers", "direct_running_mode", "job_endpoint", "flink_master", "spark_master_url", "project"}
BEAM |= {"region", "temp_location", "environment_type", "environment_config", "sdk_container_image"}
BENCHMARKS = {  # path -> its flags
    f"benchmarks/{file.name}": set(re.findall(r'"--(\w+)"', file.read_text(encoding="utf-8")))
    for file in (ROOT / "benchmarks").glob("*.py")
}
TRAIN_FLAGS = {*options.train_flags(), "flagfile"}
EXIT_CODES = {"doctor": (0, 2)}  # so few people may be worth a warning


@pytest.fixture(scope="module")
def place(synthetic_dir, tmp_path_factory) -> Path:
    """A folder with what the pages name: data/synthetic, photos, and the run that docs/python.md trains."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "data").mkdir()
    (folder / "data" / "synthetic").symlink_to(synthetic_dir)
    photos = sorted((synthetic_dir / "query").glob("*.jpg"))
    (folder / "photos" / "may").mkdir(parents=True)
    for photo in photos[:3]:
        shutil.copy(photo, folder / "photos" / "may")
    for name, photo in zip(("first.jpg", "second.jpg"), photos):
        shutil.copy(photo, folder / name)
    with pytest.MonkeyPatch.context() as patch:  # here, where the network is small: a ResNet-50 takes a minute
        patch.chdir(folder)
        exec(smaller(TRAINING.code), {})
    assert (folder / "runs" / "first" / "evaluation.json").exists()
    (folder / "runs" / "quickstart").symlink_to("first")
    return folder


def run_python(block, folder) -> str:
    """Runs it in a process of its own, as a reader would; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_USE_LEGACY_KERAS", None)  # the tests have set it; a reader has not
    command = [sys.executable, "-c", smaller(block.code)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def smaller(code: str) -> str:
    for text, replacement in SMALLER.items():
        code = code.replace(text, replacement)
    return code


def commands_of(code: str) -> list[tuple[str, list[str]]]:
    """Returns name and arguments of each command of the package in a block, also of those inside another's quotes."""
    found = []
    for name, rest in re.findall(r"python -m keras_reid\.(\w+)((?:\\\n|[^\n])*)", code):
        rest = rest.replace("\\\n", " ")
        if rest.count("'") % 2:
            rest = rest[: rest.rindex("'")]
        found.append((name, shlex.split(rest)))
    return found


def test_every_block_names_its_language_and_no_python_is_left_out():
    for block in blocks():
        assert block.language in ("bash", "python", "text", "yaml"), block
        assert not (block.language == "python" and block.not_run), block
    assert len(blocks("python")) >= 6 and len([block for block in blocks("bash") if not block.not_run]) >= 5


@pytest.mark.parametrize("block", [block for block in PYTHON if block != TRAINING], ids=str)
def test_the_python_runs(block, place):
    if "keras_reid.gallery" in block.code:
        pytest.importorskip("lancedb", reason="the extra gallery is not installed")
    assert run_python(block, place) or (place / "embedder.keras").exists()


@pytest.mark.parametrize("page", list(dict.fromkeys(block.page for block in blocks("bash") if not block.not_run)))
def test_the_commands_run(page, place, monkeypatch, capfd):
    """In the page's order: a later command may read what an earlier one wrote."""
    monkeypatch.chdir(place)
    for block in blocks("bash", pages=[page]):
        for name, arguments in commands_of(smaller(block.code)) if not block.not_run else []:
            if name in ("gallery", "search"):
                pytest.importorskip("lancedb", reason="the extra gallery is not installed")
            exit_code = entry_point(name).main([name, *arguments, *SMALLER_COMMAND.get(name, [])])
            assert exit_code in EXIT_CODES.get(name, (0,)), (block, capfd.readouterr().err)


@pytest.mark.parametrize("block", [block for block in blocks("bash", "yaml") if commands_of(block.code)], ids=str)
def test_the_commands_have_flags_that_exist(block):
    for name, arguments in commands_of(block.code):
        if "--" in arguments:
            separator = arguments.index("--")
            if name == "launch":  # those of embed are Apache Beam's
                parse("train", arguments[separator + 1 :])
            arguments = arguments[:separator]
        parse(name, arguments)


def parse(name, arguments):
    flags = getattr(options, f"{name}_flags")()
    others = flags([name, *arguments])[1:]
    assert not [argument for argument in others if argument.startswith("-")], others
    assert not others or flags.takes_arguments, others


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_other_commands_name_what_is_there(block):
    """Targets of the Makefile, and the benchmarks with their flags; every line begins with a program we know."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in block.code.replace("\\\n", " ").splitlines():
        program, *words = line.split()
        if program == "make":
            assert set(words) <= set(targets), line
        elif words and words[0].startswith("benchmarks/"):
            own, _, of_train = line.partition(" -- ")
            for arguments, flags in ((own.split()[2:], BENCHMARKS[words[0]]), (of_train.split(), TRAIN_FLAGS)):
                assert {word.split("=")[0] for word in arguments} <= {f"--{name}" for name in flags}, line
        else:
            known = ("python -m keras_reid.", "export HOSTS=", "srun ", "exec ", '"task', '\\"task', "docker ")
            known += ('python -c "import torch', "s.save_file(")  # where there is torch
            assert line.strip().startswith(known), line


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_a_page_names_exists(page):
    known = {"logdir", "help", "flagfile", "name", "noname"}
    for command in COMMANDS:
        flags = getattr(options, f"{command}_flags")()
        known |= {text for name in flags for text in (name, f"no{name}")}
    known |= set().union(*BENCHMARKS.values()) | BEAM | {"nodes", "ntasks", "gpus"}  # the last are sbatch's
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--([a-z]\w*)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    assert named <= known, named - known


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert ((ROOT / page).parent / target).exists(), target
