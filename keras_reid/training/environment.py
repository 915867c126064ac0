"""Environment of a run, for its card: the code's version, the packages, Python, the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import keras_reid
from keras_reid.artifacts.metadata import installed_versions
from keras_reid.data.cache import memory_limit

# Their versions can change what a run learns, or how it is scored.
_PACKAGES = ("tensorflow", "tf_keras", "keras", "keras-cv", "tensorflow-addons")
_PACKAGES += ("numpy", "pandas", "pillow", "scipy")
_ROOT = Path(keras_reid.__file__).resolve().parent.parent


def environment() -> dict:
    """Returns code, packages, Python, system and hardware, without names of machine, user or folder."""
    return {
        "keras_reid": keras_reid.__version__,
        "git": git_state(_ROOT),
        "python": platform.python_version(),
        "packages": installed_versions(_PACKAGES),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "hardware": _hardware(),
    }


def git_state(root: Path) -> dict | None:
    """Returns `commit` and `modified` of the checkout whose root is the package's folder; None where it is none."""
    # An installed package may lie in somebody else's checkout: its own has setup.py and .git beside it.
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
    from keras_reid.training.processor import onednn_is_on

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    has_affinity, memory = hasattr(os, "sched_getaffinity"), memory_limit()  # macOS has no affinity
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "onednn": onednn_is_on(),  # TensorFlow's kernels for this CPU
        "memory_gb": memory and round(memory / 1e9, 1),
        "gpus": [gpu.get("device_name", "unknown") for gpu in gpus],
        "cuda": tf.sysconfig.get_build_info().get("cuda_version") if gpus else None,
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+?)\s*$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()
