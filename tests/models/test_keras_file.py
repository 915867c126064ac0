"""One `.keras` file for plain Keras 2 and Keras 3, written in one step, read back equal, refused when it is not one."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models import build_embedder, load_keras, read_metadata, save_keras

HAS_KERAS_3 = importlib.util.find_spec("tf_keras") is not None and importlib.util.find_spec("keras") is not None


@pytest.fixture(autouse=True)
def float32_policy():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def small():
    """The kinds of layers that an embedder consists of, in a network that is built at once."""
    return _small_network()


def _small_network(by_image=False):
    layers = keras.layers
    images = keras.Input((8, 8, 3))
    features = layers.Rescaling([0.1, 0.2, 0.3], [0.0, 1.0, 2.0], dtype="float32")(images)
    features = layers.ZeroPadding2D(1)(features)
    features = layers.BatchNormalization(axis=3)(layers.Conv2D(4, 3, use_bias=False)(features))
    if by_image:  # as in IBN-a
        moments = layers.LayerNormalization([1, 2], center=False, scale=False, dtype="float32")(features)
        features = layers.Concatenate()([layers.DepthwiseConv2D(1)(moments), features])
    features = layers.Add()([features, layers.Activation("relu")(features)])
    features = layers.GlobalAveragePooling2D(dtype="float32")(layers.MaxPooling2D(3, 2, padding="same")(features))
    features = layers.Dense(5, kernel_initializer="orthogonal", dtype="float32")(features)
    return keras.Model(images, layers.UnitNormalization(dtype="float32")(features))


def _images(*size):
    return np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")


def test_reads_back_equal_without_the_optimizer_and_leaves_the_model_alone(small, tmp_path):
    small.compile("adam", "mse")
    optimizer, config = small.optimizer, small.get_config()
    small.fit(_images(8, 8), np.ones((2, 5)), verbose=0)
    loaded = load_keras(save_keras(small, tmp_path / "new" / "last.keras"))
    np.testing.assert_array_equal(loaded(_images(8, 8)), small(_images(8, 8)))
    assert getattr(loaded, "optimizer", None) is None
    assert small.optimizer is optimizer and small.get_config() == config
    with zipfile.ZipFile(tmp_path / "new" / "last.keras") as archive:
        assert json.loads(archive.read("config.json")).get("compile_config") is None


def test_config_has_the_spelling_that_every_keras_reads(small, tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    with zipfile.ZipFile(save_keras(_small_network(), tmp_path / "a.keras")) as archive:
        config = json.loads(archive.read("config.json"))
        # A fourth member makes Keras 2 unpack everything, which fails on early Python 3.12.
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
    layers = {layer["class_name"]: layer["config"] for layer in config["config"]["layers"]}
    assert (config["module"], config["class_name"], config["registered_name"]) == ("keras", "Model", None)
    assert layers["BatchNormalization"]["axis"] == 3
    assert (layers["Conv2D"]["dtype"], layers["Dense"]["dtype"]) == ("mixed_bfloat16", "float32")
    assert "optional" not in layers["InputLayer"]


def test_mixed_precision_survives(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = _small_network()
    keras.mixed_precision.set_global_policy("float32")
    loaded = load_keras(save_keras(model, tmp_path / "a.keras"))
    assert [layer.compute_dtype for layer in loaded.layers] == [layer.compute_dtype for layer in model.layers]
    np.testing.assert_array_equal(loaded(_images(8, 8)), model(_images(8, 8)))


def test_metadata_travels_inside(small, tmp_path):
    metadata = {"metric": "euclidean", "image_size": [8, 8], "nested": {"top1": 0.5}, "name": "Zoë"}
    assert read_metadata(save_keras(small, tmp_path / "a.keras", metadata=metadata)) == metadata
    assert read_metadata(save_keras(small, tmp_path / "b.keras")) is None


def test_failure_keeps_the_old_file_and_leaves_nothing_behind(small, tmp_path, monkeypatch):
    path = save_keras(small, tmp_path / "last.keras", metadata={"step": 1})
    with pytest.raises(TypeError):
        save_keras(small, path, metadata={"step": object()})
    monkeypatch.setattr(os, "replace", lambda *arguments: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_keras(small, path, metadata={"step": 2})
    assert os.listdir(tmp_path) == ["last.keras"]
    assert read_metadata(path) == {"step": 1}


def test_wrong_files_are_refused_by_name(small, tmp_path):
    whole = save_keras(small, tmp_path / "whole.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.keras").write_text("hello")
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
    (tmp_path / "damaged.keras").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("hello.txt", "hello")
    for name in ("missing.keras", "cut.keras", "text.keras", "damaged.keras", "zip.keras"):
        with pytest.raises(ReidError, match=name):
            load_keras(tmp_path / name)
    for name in ("missing.keras", "cut.keras", "zip.keras"):
        with pytest.raises(ReidError, match=name):
            read_metadata(tmp_path / name)
    with pytest.raises(ReidError, match="model.h5.*ends in .keras"):
        save_keras(small, tmp_path / "model.h5")


def test_model_with_foreign_code_is_refused(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    image = keras.Input((4,))
    keras.Model(image, Doubled()(image)).save(tmp_path / "foreign.keras")
    with pytest.raises(ReidError, match="foreign.keras.*stock layers"):
        load_keras(tmp_path / "foreign.keras")


OPEN_ELSEWHERE = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("keras_reid", "keras_cv"):
                raise ImportError(f"blocked: {name}")

    sys.meta_path.insert(0, Blocker())
    import numpy as np
    if sys.argv[1] == "keras3":
        import keras
        assert keras.__version__.startswith("3."), keras.__version__
    else:
        from tensorflow import keras
        assert ".engine." in keras.Model.__module__
    model = keras.models.load_model(sys.argv[2])
    np.save(sys.argv[3], np.asarray(model(np.load(sys.argv[4]), training=False)))
"""


def _output_elsewhere(which, path, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if importlib.util.find_spec("tf_keras") is not None:
        environment["TF_USE_LEGACY_KERAS"] = "0" if which == "keras3" else "1"
    command = [sys.executable, "-c", textwrap.dedent(OPEN_ELSEWHERE), which, path, tmp_path / "out.npy"]
    result = subprocess.run(
        [*map(str, command), str(tmp_path / "images.npy")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return np.load(tmp_path / "out.npy")


needs_keras_3 = pytest.mark.skipif(not HAS_KERAS_3, reason="Keras 3 is not installed beside tf_keras")
EVERY_KERAS = [("keras2", 1e-6), pytest.param("keras3", 1e-5, marks=needs_keras_3)]


@pytest.mark.parametrize(("which", "tolerance"), EVERY_KERAS)
def test_opens_without_our_code(tmp_path, which, tolerance):
    small = _small_network(by_image=True)
    path = save_keras(small, tmp_path / "last.keras", metadata={"metric": "euclidean"})
    images = _images(8, 8)
    output = _output_elsewhere(which, path, images, tmp_path)
    np.testing.assert_allclose(output, small(images), rtol=0, atol=tolerance)


@pytest.mark.slow  # Keras itself takes 10 seconds to open a ResNet-50.
@pytest.mark.parametrize(("which", "tolerance"), EVERY_KERAS)
def test_embedder_opens_without_our_code(tmp_path, which, tolerance):
    embedder = build_embedder(embedding_size=8, image_size=(64, 32))
    path = save_keras(embedder, tmp_path / "last.keras", metadata={"metric": "euclidean"})
    images = _images(64, 32)
    output = _output_elsewhere(which, path, images, tmp_path)
    np.testing.assert_allclose(output, embedder(images), rtol=0, atol=tolerance)
