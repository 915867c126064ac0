"""Processor of a training run: whether TensorFlow's fast kernels are on, and which numbers it computes in.

What makes training several times slower is said in one line, once in a process.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from keras_reid.keras2 import tf

_CPUINFO = Path("/proc/cpuinfo")  # of Linux
# dtype -> how the CPU instructions that compute in it end there, least compute capability of such a GPU.
_COMPUTES_IN = {"bfloat16": ("bf16", (8, 0)), "float16": ("fp16", (7, 0))}


def onednn_is_on() -> bool | None:
    """Whether TensorFlow computes by its oneDNN kernels; None where it does not tell."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):  # no public function tells
        return None


def cpu_computes_in(dtype: str) -> bool:
    """Whether the CPU has instructions for bfloat16 or float16, and TensorFlow's kernels use them.

    False where Linux's /proc cannot tell: on macOS, whose TensorFlow has no such kernels, and on Windows.
    """
    text = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    instructions = rf"^flags.*\b(avx512|amx)_{_COMPUTES_IN[dtype][0]}\b"
    return re.search(instructions, text, re.MULTILINE) is not None and onednn_is_on() is not False


def say_what_is_slow(dtypes: Iterable[str]) -> None:
    """Prints a line, once in a process, for each thing that makes training slow on this machine.

    Args:
        dtypes: that the network computes in, such as "float32" and "bfloat16".
    """
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    if not gpus and onednn_is_on() is False and sys.platform != "darwin":  # macOS's TensorFlow has none
        _say_once(
            "TensorFlow's oneDNN kernels are off on this CPU: training takes several times as long as with them. Set "
            "TF_ENABLE_ONEDNN_OPTS=1 in the environment before TensorFlow is imported."
        )
    for dtype in sorted(_COMPUTES_IN.keys() & set(dtypes)):
        least = _COMPUTES_IN[dtype][1]
        if not (all(gpu.get("compute_capability", least) >= least for gpu in gpus) if gpus else cpu_computes_in(dtype)):
            _say_once(
                f"{dtype} is asked for, but this {'GPU' if gpus else 'CPU'} is not known to compute in it: a step may "
                "take many times as long as with mixed_precision=float32. auto takes what the machine computes in."
            )


@functools.cache
def _say_once(line: str) -> None:
    print(line, flush=True)
