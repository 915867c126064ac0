"""The processor: what slows training there is said once, in one line, by the numbers it computes in and its kernels."""

import os
import platform

import pytest

from keras_reid.training import processor
from keras_reid.training.environment import environment
from tests.training.test_progress import compiled
from tests.training.test_trainer import one_batch

AVX2 = "processor : 0\nflags\t\t: fpu sse avx avx2 fma\n"
ZEN4 = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n"
SAPPHIRE_RAPIDS = "flags\t\t: fpu avx512_bf16 avx512_fp16 amx_bf16 amx_tile\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets what the machine has: the text of /proc/cpuinfo (None: no such file), the kernels, compute capabilities."""
    processor._say_once.cache_clear()

    def set_up(cpuinfo=AVX2, onednn=True, gpus=(), platform="linux"):
        monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
        if cpuinfo is not None:
            (tmp_path / "cpuinfo").write_text(cpuinfo)
        monkeypatch.setattr(processor, "onednn_is_on", lambda: onednn)
        monkeypatch.setattr(processor.sys, "platform", platform)
        monkeypatch.setattr(processor.tf.config, "list_physical_devices", lambda kind: list(gpus))
        details = {"get_device_details": lambda gpu: {"compute_capability": gpu} if gpu else {}}
        monkeypatch.setattr(processor.tf.config, "experimental", type("Experimental", (), details))

    yield set_up
    processor._say_once.cache_clear()


@pytest.mark.parametrize(
    ("cpuinfo", "onednn", "bfloat16", "float16"),
    [
        (AVX2, True, False, False),
        (ZEN4, True, True, False),
        (SAPPHIRE_RAPIDS, True, True, True),
        (ZEN4, None, True, False),  # a TensorFlow that does not tell
        (ZEN4, False, False, False),  # Eigen's kernels know no such instructions
        (None, True, False, False),  # macOS, Windows
        ("", True, False, False),
    ],
)
def test_what_a_cpu_computes_in(machine, cpuinfo, onednn, bfloat16, float16):
    machine(cpuinfo, onednn)
    assert (processor.cpu_computes_in("bfloat16"), processor.cpu_computes_in("float16")) == (bfloat16, float16)


@pytest.mark.parametrize(
    ("options", "dtypes", "said"),
    [
        ({}, ["float32"], []),
        ({"onednn": None}, ["float32"], []),
        ({"onednn": False}, ["float32"], ["TF_ENABLE_ONEDNN_OPTS=1"]),
        ({"onednn": False, "platform": "darwin"}, ["float32"], []),
        ({"onednn": False, "gpus": [(8, 0)]}, ["float32", "float16"], []),
        ({}, ["float32", "bfloat16"], ["bfloat16 is asked for, but this CPU"]),
        ({}, ["float16"], ["float16 is asked for, but this CPU"]),
        ({"cpuinfo": ZEN4}, ["bfloat16"], []),
        ({"cpuinfo": None}, ["bfloat16"], ["bfloat16 is asked for, but this CPU"]),
        ({"onednn": False}, ["bfloat16"], ["TF_ENABLE_ONEDNN_OPTS=1", "bfloat16 is asked for, but this CPU"]),
        ({"gpus": [(8, 0), (7, 0)]}, ["bfloat16"], ["bfloat16 is asked for, but this GPU"]),
        ({"gpus": [(7, 0)]}, ["float16"], []),
        ({"gpus": [None]}, ["float16", "bfloat16"], []),  # not NVIDIA's
    ],
)
def test_what_is_slow_is_said_once_in_a_line(machine, capsys, options, dtypes, said):
    machine(**options)
    for _ in range(2):
        processor.say_what_is_slow(dtypes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines))


def test_training_in_a_program_of_ones_own_says_it(monkeypatch, capsys):
    processor._say_once.cache_clear()
    monkeypatch.setattr(processor, "onednn_is_on", lambda: False)
    trainer = compiled()
    assert capsys.readouterr().out == ""
    for _ in range(2):
        trainer.fit(one_batch(), steps_per_epoch=1, verbose=0)
    processor._say_once.cache_clear()
    assert capsys.readouterr().out.count("TF_ENABLE_ONEDNN_OPTS=1") == 1


@pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="not known there")
def test_the_kernels_are_those_that_tensorflow_was_told_to_take():
    """tests/conftest.py turns them on before TensorFlow is loaded, unless the variable was set."""
    assert processor.onednn_is_on() == (os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1")
    assert environment()["hardware"]["onednn"] == processor.onednn_is_on()
