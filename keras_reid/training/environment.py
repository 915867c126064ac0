"""Decides what is said of where a run is made: the code's version, the packages, Python, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import keras_reid
from keras_reid.artifacts.metadata import installed_versions
from keras_reid.data.cache import memory_limit

# Those whose versions can change what a run learns, or how it is scored.
_PACKAGES = (
    "tensorflow",
    "tf_keras",
    "keras",
    "keras-cv",
    "tensorflow-addons",
    "numpy",
    "pandas",
    "pillow",
    "scipy",
)
_ROOT = Path(keras_reid.__file__).resolve().parent.parent


def environment() -> dict:
    """Returns code, packages, Python, operating system and hardware of this process; it loads TensorFlow.

    No name of a machine, a user or a folder is among it.
    """
    return {
        "keras_reid": keras_reid.__version__,
        "git": git_state(_ROOT),
        "python": platform.python_version(),
        "packages": installed_versions(_PACKAGES),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "hardware": _hardware(),
    }


def git_state(root: Path) -> dict | None:
    """Returns `commit` and `modified` of the checkout that the package is imported from; None where it is none.

    Args:
        root: the folder that holds the package. An installed package may lie in somebody else's checkout: only where
            setup.py and .git lie beside it are they its own.
    """
    if not ((root / "setup.py").exists() and (root / ".git").exists()):
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        modified = _git(root, "status", "--porcelain", "--", "keras_reid", "configs")
    except (OSError, subprocess.SubprocessError):  # no git, or one that does not trust the folder
        return None
    return {"commit": commit, "modified": bool(modified)}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _hardware() -> dict:
    from keras_reid.keras2 import tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    memory = memory_limit()
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "memory_gb": memory and round(memory / 1e9, 1),
        "gpus": [gpu.get("device_name", "unknown") for gpu in gpus],
        "cuda": tf.sysconfig.get_build_info().get("cuda_version") if gpus else None,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
