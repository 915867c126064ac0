"""What ships: each format against the reference model, in a process of its own, and written whole or not at all."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_reid.artifacts import artifact_of, open_artifact
from keras_reid.artifacts.formats import tflite
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.models import rebuild_in_float32, save_keras
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder

METADATA = {"format_version": 1, "embedding_size": 8, "image_size": [32, 16], "metric": "euclidean"}


def images(height: int, width: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)


def export_all(embedder, folder) -> dict:
    folder.mkdir(exist_ok=True)
    save_keras(embedder, folder / "model.keras", metadata=METADATA)
    return {
        "keras": folder / "model.keras",
        "savedmodel": write_version(embedder, folder / "embedder", METADATA),
        "tflite": tflite.write(embedder, folder / "embedder.tflite", METADATA),
    }


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    embedder = tiny_embedder()
    return embedder, export_all(embedder, tmp_path_factory.mktemp("shipped"))


@pytest.mark.parametrize("kind", ["keras", "savedmodel", "tflite"])
@pytest.mark.parametrize("size", [(32, 16), (128, 64), (7, 11)])
def test_every_format_gives_the_live_answer_for_any_size(shipped, kind, size):
    embedder, paths = shipped
    artifact = open_artifact(paths[kind])
    assert artifact.kind == kind
    assert artifact.image_size == (32, 16)
    assert artifact.metric == "euclidean"
    expected = artifact_of(embedder).embed(images(*size))
    actual = artifact.embed(images(*size))
    assert actual.dtype == np.float32 and actual.shape == (5, 8)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(artifact.embed(images(*size)[:2]), expected[:2], rtol=1e-4, atol=1e-5)


def test_the_resize_in_the_graph_leaves_images_of_its_own_size_alone(shipped):
    embedder, _ = shipped
    exact = embedder(images(32, 16).astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(artifact_of(embedder).embed(images(32, 16)), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["keras", "savedmodel", "tflite"])
def test_reid_json_travels_inside(shipped, kind):
    """A `.keras` file gets a fingerprint of its network, where it has none, when it is opened."""
    metadata = open_artifact(shipped[1][kind]).metadata
    assert ("network_fingerprint" in metadata) == (kind == "keras")
    assert {name: metadata[name] for name in metadata.keys() - {"network_fingerprint"}} == METADATA


def test_a_folder_of_versions_opens_the_highest_number(tmp_path):
    for version in (2, 10, 9):
        write_version(tiny_embedder(), tmp_path / "one", {**METADATA, "dataset": str(version)}).rename(
            tmp_path / str(version)
        )
    (tmp_path / "one").rmdir()
    assert open_artifact(tmp_path).metadata["dataset"] == "10"
    assert write_version(tiny_embedder(), tmp_path, METADATA).name == "11"


def test_the_savedmodel_answers_where_only_tensorflow_is(shipped):
    embedder, paths = shipped
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras_reid", "keras_cv"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import json, numpy as np, tensorflow as tf
signature = tf.saved_model.load({str(paths["savedmodel"])!r}).signatures["serving_default"]
assert list(signature.structured_input_signature[1]) == ["images"], signature
images = np.arange(2 * 9 * 9 * 3, dtype=np.uint8).reshape(2, 9, 9, 3)
print(json.dumps(signature(images=tf.constant(images))["embedding"].numpy().tolist()))
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert output.returncode == 0, output.stderr
    batch = np.arange(2 * 9 * 9 * 3, dtype=np.uint8).reshape(2, 9, 9, 3)
    np.testing.assert_allclose(json.loads(output.stdout), artifact_of(embedder).embed(batch), rtol=1e-4, atol=1e-5)


def test_a_mixed_precision_embedder_ships_in_float32(tmp_path):
    from keras_reid.keras2 import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    embedder = rebuild_in_float32(tiny_embedder())
    loaded = tf.saved_model.load(str(write_version(embedder, tmp_path, METADATA)))
    operations = loaded.signatures["serving_default"].graph.get_operations()
    assert {tensor.dtype for operation in operations for tensor in operation.outputs}.isdisjoint({tf.bfloat16})


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    for export, place in ((write_version, "embedder"), (tflite.write, "embedder.tflite")):
        with pytest.raises(OSError, match="No space"):
            export(tiny_embedder(), tmp_path / place, METADATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "batch",
    [np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)],
    ids=["float", "one image", "four channels"],
)
def test_wrong_images_are_refused(shipped, batch):
    with pytest.raises(ReidError, match=r"expected uint8 \[N, H, W, 3\] RGB"):
        artifact_of(shipped[0]).embed(batch)


def test_no_images_give_no_embeddings(shipped):
    assert open_artifact(shipped[1]["tflite"]).embed(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 8)


@pytest.mark.parametrize("name", ["nothing", "model.keras", "model.tflite", "folder", "saved", "file.bin"])
def test_no_such_artifact_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "saved").mkdir()
    for file in ("model.keras", "model.tflite", "saved/saved_model.pb", "file.bin"):
        (tmp_path / file).write_bytes(b"TFL3 no such thing")
    with pytest.raises(ReidError, match=name):
        open_artifact(tmp_path / name)


@pytest.mark.parametrize("content", ["[]", "no json", '{"format_version": 99}'])
def test_a_reid_json_that_is_none_is_named(tmp_path, content):
    folder = write_version(tiny_embedder(), tmp_path, METADATA)
    (folder / "assets" / "reid.json").write_text(content)
    with pytest.raises(ReidError, match="reid.json"):
        open_artifact(folder)


@pytest.mark.parametrize("damage", ["truncated", "one byte"])
def test_a_damaged_tflite_is_named_and_never_reaches_the_interpreter(shipped, tmp_path, damage):
    damaged, content = tmp_path / "damaged.tflite", bytearray(shipped[1]["tflite"].read_bytes())
    content[1500] ^= 255
    damaged.write_bytes(content[:2000] if damage == "truncated" else content)
    with pytest.raises(ReidError, match="damaged.tflite"):
        open_artifact(damaged)
