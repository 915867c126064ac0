"""The table of formats: its names are the choices, each has a module with the three functions, and limits by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_reid.artifacts import artifact_of, describe_embedder
from keras_reid.artifacts.formats import savedmodel, tflite
from keras_reid.artifacts.formats.table import DEFAULT_FORMATS, FORMATS, check_formats, module_of
from keras_reid.artifacts.formats.tflite import KINDS
from keras_reid.choices import FORMATS as CHOICES
from keras_reid.errors import ReidError
from tests.conftest import tiny_embedder
from tests.losses.test_host_project import only_keras_3, run_python


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


@only_keras_3
@pytest.mark.parametrize(("name", "write"), [("embedder", savedmodel.write), ("embedder.tflite", tflite.write)])
def test_what_holds_no_keras_opens_while_keras_3_is_active(tmp_path, name, write):
    embedder, images = tiny_embedder(), np.arange(2 * 9 * 9 * 3, dtype=np.uint8).reshape(2, 9, 9, 3)
    path = write(embedder, tmp_path / name, describe_embedder(embedder))
    code = f"""
import json, keras, numpy as np
from keras_reid.artifacts import open_artifact
artifact = open_artifact({str(path)!r})
images = np.arange(2 * 9 * 9 * 3, dtype=np.uint8).reshape(2, 9, 9, 3)
print(json.dumps([keras.__version__[0], artifact.embed(images).tolist()]))
"""
    version, embeddings = json.loads(run_python(code, TF_USE_LEGACY_KERAS="0"))
    assert version == "3"
    np.testing.assert_allclose(embeddings, artifact_of(embedder).embed(images), rtol=1e-4, atol=1e-5)
