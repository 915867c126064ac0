"""The package as others get it: what is installed, and that the main job finds its flagfile."""

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
    assert names == {"keras_reid"}
    shipped = {path.name for path in (installed / "keras_reid" / "configs").iterdir()}
    assert shipped == {path.name for path in (ROOT / "configs").glob("*.flags")}
    assert (installed / "keras_reid" / "py.typed").exists()
    modules = {path.relative_to(ROOT) for path in (ROOT / "keras_reid").rglob("*.py")}
    assert modules == {path.relative_to(installed) for path in (installed / "keras_reid").rglob("*.py")}


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
