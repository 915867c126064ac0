"""ONNX format: the answer of the network for any size, `reid.json` inside, and changes of it."""

import importlib.util

import numpy as np
import pytest

from keras_reid.artifacts import artifact_of, describe_embedder, open_artifact, update_metadata
from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.errors import ReidError
from tests.conftest import tiny_embedder

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))), reason="tf2onnx or onnxruntime is not installed"
)


@needs_onnx
def test_a_file_answers_as_the_network_and_its_threshold_can_be_calibrated(tmp_path):
    embedder = tiny_embedder()
    path = FORMATS["onnx"].write(embedder, tmp_path / "embedder.onnx", describe_embedder(embedder, dataset="synthetic"))
    before = open_artifact(path)
    assert before.kind == "onnx" and before.metadata == describe_embedder(embedder, dataset="synthetic")
    update_metadata(path, {"threshold": 0.25})
    after = open_artifact(path)
    assert after.metadata == {**before.metadata, "threshold": 0.25}
    for count, height, width in ((3, 32, 16), (2, 50, 9), (0, 8, 8)):
        images = np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)
        np.testing.assert_allclose(after.embed(images), artifact_of(embedder).embed(images), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(after.embed(images), before.embed(images))


@needs_onnx
def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no such thing")
    with pytest.raises(ReidError, match="damaged.onnx' is no ONNX model of keras_reid, or is damaged"):
        open_artifact(tmp_path / "damaged.onnx")
