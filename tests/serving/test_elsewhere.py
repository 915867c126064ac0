"""What ships answers as the reference model where it is used: in environments of others, without keras_reid.

`.ci/run` makes them and names their interpreters: KERAS_REID_PYTHON_TENSORFLOW (TensorFlow 2.21 alone),
KERAS_REID_PYTHON_KERAS2 (TensorFlow 2.15), KERAS_REID_PYTHON_KERAS3 (Keras 3.15 on TensorFlow 2.21),
KERAS_REID_PYTHON_LITERT (ai-edge-litert), KERAS_REID_PYTHON_ONNXRUNTIME (onnxruntime).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reid import export
from keras_reid.artifacts import open_artifact, update_metadata
from keras_reid.data.images import decode_image
from keras_reid.keras2 import tf

SCRIPT = Path(__file__).with_name("elsewhere.py")
HAS_TF2ONNX = importlib.util.find_spec("tf2onnx") is not None
OF_RESNET50 = ["tflite_int8"] + ["onnx"] * HAS_TF2ONNX  # beside what its run has shipped
OF_SMALL = ["keras", "tflite_float16", "tflite_dynamic_range", "tflite_int16"]  # of the tests' network: seconds each


def interpreter(name: str) -> str:
    python = os.environ.get(f"KERAS_REID_PYTHON_{name}")
    if not python:
        pytest.skip(f"KERAS_REID_PYTHON_{name} names no interpreter")
    return python


@pytest.fixture(scope="module")
def exported(finished_resnet50, tmp_path_factory) -> Path:
    """A ResNet-50 after two epochs, in the formats that differ most: what its run shipped, and more of the same."""
    folder = tmp_path_factory.mktemp("elsewhere") / "export"
    shutil.copytree(finished_resnet50 / "export", folder)
    shutil.copy(finished_resnet50 / "last.keras", folder / "embedder.keras")
    command = [sys.executable, "-m", *arguments_of_export(finished_resnet50, folder, OF_RESNET50)]
    # In a process of its own, which gives back what the converters take.
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def exported_small(finished_run, tmp_path_factory) -> Path:
    """The tests' network after two epochs, in the other kinds of TFLite."""
    folder = tmp_path_factory.mktemp("elsewhere") / "small"
    assert export.main(arguments_of_export(finished_run, folder, OF_SMALL)) == 0
    return folder


def arguments_of_export(run_dir, folder, formats) -> list[str]:
    places = [f"--run_dir={run_dir}", f"--export_dir={folder}"]
    # Six people and two epochs: a mAP of noise, which rounding moves. The cosines are what counts here.
    return ["keras_reid.export", *places, f"--formats={','.join(formats)}", "--max_map_drop=100"]


@pytest.fixture(scope="module")
def images(tiny_catalog) -> np.ndarray:
    """Photos of the size that the network was trained on."""
    photos = [decode_image(tf.io.read_file(path)) for path in tiny_catalog.image_path]
    return np.stack([tf.cast(tf.image.resize(photo, (32, 16)), tf.uint8).numpy() for photo in photos])


def ask(exported, images, tmp_path, python: str, kind: str, place: str, **environment) -> tuple[np.ndarray, float]:
    """Returns the cosine of each image's embedding, made by another interpreter, to that of the reference model.

    And the share of images whose nearest reference embedding is their own: so young a network places all images so
    close together that a cosine hardly tells one from another.
    """
    np.save(tmp_path / "images.npy", images)
    command = [python, SCRIPT, kind, exported / place, tmp_path / "images.npy", tmp_path / "embeddings.npy"]
    # Neither our path nor our choice of Keras may reach the other interpreter.
    ours = ("PYTHONPATH", "TF_USE_LEGACY_KERAS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    environment = {**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    asked = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert asked.returncode == 0, asked.stderr
    actual = np.load(tmp_path / "embeddings.npy").astype(float)
    reference = open_artifact(exported / "embedder.keras").embed(images).astype(float)
    actual, reference = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (actual, reference))
    own = ((actual[:, None] - reference[None]) ** 2).sum(-1).argmin(axis=1) == np.arange(len(reference))
    return (actual * reference).sum(1), own.mean()


def test_the_savedmodel_in_plain_tensorflow(exported, images, tmp_path):
    python = interpreter("TENSORFLOW")
    found, own = ask(exported, images, tmp_path, python, "savedmodel", "embedder/1")
    assert found.min() > 0.9999 and own == 1


@pytest.mark.parametrize(("name", "legacy"), [("KERAS2", "1"), ("KERAS3", "0")])
def test_the_keras_file_in_both_keras(exported, images, tmp_path, name, legacy):
    python = interpreter(name)
    # TensorFlow 2.15 is Keras 2 by itself; the variable would ask it for tf_keras, which is not installed.
    variable = {"TF_USE_LEGACY_KERAS": legacy} if name == "KERAS3" else {}
    found, own = ask(exported, images, tmp_path, python, "keras", "embedder.keras", **variable)
    assert found.min() > 0.9999 and own == 1


@pytest.mark.parametrize("kind", ["", "_int8", "_float16", "_dynamic_range", "_int16"])
def test_the_tflite_files_in_litert(request, images, tmp_path, kind):
    python = interpreter("LITERT")
    exported = request.getfixturevalue("exported" if kind in ("", "_int8") else "exported_small")
    found, own = ask(exported, images, tmp_path, python, "tflite", f"embedder{kind}.tflite")
    assert found.min() > (0.9999 if kind in ("", "_float16") else 0.98)
    assert own > 0.95


@pytest.mark.skipif(not HAS_TF2ONNX, reason="tf2onnx is not installed")
def test_the_onnx_file_in_onnxruntime(exported, images, tmp_path):
    found, own = ask(exported, images, tmp_path, interpreter("ONNXRUNTIME"), "onnx", "embedder.onnx")
    assert found.min() > 0.9999 and own == 1


@pytest.mark.skipif(not HAS_TF2ONNX, reason="tf2onnx is not installed")
def test_the_onnx_file_is_an_artifact_whose_threshold_can_be_calibrated(exported, images, tmp_path):
    path = shutil.copy(exported / "embedder.onnx", tmp_path / "copy.onnx")
    update_metadata(path, {"threshold": 0.25})
    artifact, keras = open_artifact(path), open_artifact(exported / "embedder.keras")
    assert (artifact.kind, artifact.threshold, artifact.image_size) == ("onnx", 0.25, keras.image_size)
    for batch in (images[:3], images[:3, ::2], images[:0]):
        np.testing.assert_allclose(artifact.embed(batch), keras.embed(batch), rtol=1e-3, atol=1e-4)
