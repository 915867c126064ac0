"""The package as others get it: what is installed, and that the main job finds its flagfile."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package as `pip install` lays it down, from a copy: the build leaves files behind."""
    folder = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns(".*", "runs", "data", "build", "*.egg-info", "__pycache__")
    for name in ("configs", "export", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    shutil.copytree(ROOT / "keras_reid", folder / "source" / "keras_reid", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run(command, check=True)
    return folder / "site"


def test_only_keras_reid_is_installed_with_its_configs(installed):
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"keras_reid", "bin"}  # bin/keras-reid
    shipped = {path.name for path in (installed / "keras_reid" / "configs").iterdir()}
    assert shipped == {path.name for path in (ROOT / "configs").glob("*.flags")}
    assert (installed / "keras_reid" / "py.typed").exists()
    modules = {path.relative_to(ROOT) for path in (ROOT / "keras_reid").rglob("*.py*")}
    modules = {path for path in modules if path.suffix in (".py", ".pyi")}
    there = {path.relative_to(installed) for path in (installed / "keras_reid").rglob("*.py*")}
    assert modules == {path for path in there if path.suffix in (".py", ".pyi")}


def test_the_console_command_is_installed(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [str(installed / "bin" / "keras-reid"), "train", "--flagfile=no_such.flags"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: no flagfile 'no_such.flags'") and run.stderr.count("\n") == 1


def test_the_main_job_finds_its_flagfile_from_any_folder_after_installation(installed, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "keras_reid.train", "--flagfile=market.flags"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr == (
        "error: data folder 'data/Market-1501-v15.09.15' does not exist. Expected Market-1501's folder, holding "
        "bounding_box_train, query, bounding_box_test: set --data_dir to it.\n"
    )
    assert list(tmp_path.iterdir()) == []


POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
WINDOWS_SIGNALS = {"SIGABRT", "SIGBREAK", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}


def run_at_import(tree: ast.AST):
    """Yields the nodes of a module that run when it is imported: not the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from run_at_import(node)


def needs_posix(source: str) -> list[str]:
    found = []
    for node in run_at_import(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name in POSIX_ONLY]
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "signal":
            found += [node.attr] if node.attr.startswith("SIG") and node.attr not in WINDOWS_SIGNALS else []
    return found


def test_nothing_fails_at_import_on_windows():
    assert needs_posix("import os, fcntl\nX = signal.SIGKILL\ndef f():\n    import pwd") == ["fcntl", "SIGKILL"]
    paths = sorted((ROOT / "keras_reid").rglob("*.py"))
    assert {path.name: needs for path in paths if (needs := needs_posix(path.read_text(encoding="utf-8")))} == {}
