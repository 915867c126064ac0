"""The table of formats: its names are the choices, each has a module with the three functions, and limits by hand."""

import subprocess
import sys

import pytest

from keras_reid.artifacts.formats.table import DEFAULT_FORMATS, FORMATS, check_formats, module_of
from keras_reid.artifacts.formats.tflite import KINDS
from keras_reid.choices import FORMATS as CHOICES
from keras_reid.errors import ReidError


def test_the_formats_are_the_choices_and_their_places_differ():
    assert tuple(FORMATS) == CHOICES and set(DEFAULT_FORMATS) <= FORMATS.keys()
    assert len({one.place for one in FORMATS.values()}) == len(FORMATS)
    assert {one.place: one.tflite_kind for one in FORMATS.values() if one.module == "tflite"} == {
        "embedder.tflite": "float32",
        **{f"embedder_{kind}.tflite": kind for kind in KINDS[1:]},
    }


@pytest.mark.parametrize("kind", sorted({one.module for one in FORMATS.values()}))
def test_each_format_is_written_loaded_and_described_by_its_module(kind):
    module = module_of(kind)
    assert all(callable(getattr(module, name)) for name in ("write", "load", "replace_metadata"))


def test_the_limits_of_rounding():
    assert {name for name, one in FORMATS.items() if one.min_cosine == 0.98} == {
        "tflite_dynamic_range",
        "tflite_int8",
        "tflite_int16",
    }
    assert {name for name, one in FORMATS.items() if one.needs_calibration} == {"tflite_int8", "tflite_int16"}
    assert [name for name, one in FORMATS.items() if one.judged_by_first_percentile] == ["tflite_int8"]


def test_the_table_takes_no_tensorflow():
    code = "import sys, keras_reid.artifacts.formats.table; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("formats", [[], ["tflite", "onnxx"]])
def test_unknown_formats_are_refused(formats):
    with pytest.raises(ReidError, match="^formats=.*expected one or more of savedmodel, keras"):
        check_formats(formats)
