"""The five kinds of TFLite: what is rounded in each, and what is not."""

import numpy as np
import pytest

from keras_reid.artifacts import artifact_of, open_artifact
from keras_reid.artifacts.formats import tflite
from keras_reid.artifacts.formats.tflite import KINDS
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from tests.conftest import tiny_embedder

METADATA = {"format_version": 1, "embedding_size": 16, "image_size": [32, 16], "metric": "euclidean"}
# Size of a weight in bytes; what else a file holds is small beside them.
BYTES = {"float32": 4, "float16": 2, "dynamic_range": 1, "int8": 1, "int16": 1}


def images(height: int, width: int, count: int = 6) -> np.ndarray:
    """Smooth random images: a network that is calibrated on noise would see no other range than noise has."""
    coarse = np.random.default_rng(height).integers(0, 256, (count, 4, 2, 3), np.uint8)
    return tf.cast(tf.image.resize(coarse, (height, width)), tf.uint8).numpy()


def network(normalize: bool) -> keras.Model:
    """Convolution, BatchNormalization, ReLU and Dense in ResNet's order."""
    pixels = keras.Input((32, 16, 3))
    x = keras.layers.Rescaling(1 / 64, -2.0)(pixels)
    for _ in range(2):
        x = keras.layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(16)(x)
    return keras.Model(pixels, keras.layers.UnitNormalization()(x) if normalize else x)


@pytest.fixture(scope="module", params=[False, True], ids=["any length", "normalized"])
def converted(request, tmp_path_factory):
    keras.utils.set_random_seed(0)
    embedder, folder = network(request.param), tmp_path_factory.mktemp("tflite")
    calibration = images(32, 16, 40)
    paths = {
        kind: tflite.write(embedder, folder / f"{kind}.tflite", METADATA, kind=kind, calibration_images=calibration)
        for kind in KINDS
    }
    return embedder, request.param, paths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 16), (90, 41)])
def test_each_kind_answers_as_the_reference_model(converted, kind, size):
    embedder, normalized, paths = converted
    expected = artifact_of(embedder).embed(images(*size)).astype(float)
    actual = open_artifact(paths[kind]).embed(images(*size)).astype(float)
    lengths = np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(1) / lengths / np.linalg.norm(expected, axis=1)
    assert cosines.min() > {"float32": 0.9999999, "float16": 0.99999}.get(kind, 0.99)
    if normalized:  # also where everything before was rounded to int8
        np.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_take_the_bytes_of_their_kind(converted, kind):
    embedder, _, paths = converted
    # Convolutions of 27 x 64 and 9 x 64 x 64 weights, a Dense of 64 x 16.
    weights = 27 * 64 + 9 * 64 * 64 + 64 * 16
    assert weights * BYTES[kind] < paths[kind].stat().st_size < weights * BYTES[kind] + 25_000


def tensors(path) -> list:
    return tf.lite.Interpreter(str(path)).get_tensor_details()


@pytest.mark.parametrize(("kind", "activation"), [("int8", np.int8), ("int16", np.int16)])
def test_calibrated_kinds_compute_in_integers_with_a_scale_for_each_channel(converted, kind, activation):
    details = tensors(converted[2][kind])
    kernels = [one for one in details if list(one["shape"]) == [64, 3, 3, 64]]
    assert [one["dtype"] for one in kernels] == [np.int8]
    assert len(kernels[0]["quantization_parameters"]["scales"]) == 64
    maps = [one for one in details if list(one["shape_signature"])[1:] == [32, 16, 64]]
    assert maps and {one["dtype"] for one in maps} == {activation}


@pytest.mark.parametrize("kind", KINDS)
def test_the_signature_is_that_of_the_savedmodel(converted, kind):
    runner = tf.lite.Interpreter(str(converted[2][kind])).get_signature_runner("serving_default")
    (name, given), (output, result) = *runner.get_input_details().items(), *runner.get_output_details().items()
    assert (name, output) == ("images", "embedding")
    assert list(given["shape_signature"]) == [-1, -1, -1, 3] and list(result["shape_signature"]) == [-1, 16]
    assert given["dtype"] == (np.float32 if kind == "int16" else np.uint8) and result["dtype"] == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_an_ordinary_client_resizes_to_the_shape_that_it_reads(converted, kind):
    """As TensorFlow's examples do: the input's shape is the size of the photo to give, and nothing else is known."""
    client = tf.lite.Interpreter(str(converted[2][kind]))
    client.allocate_tensors()
    given, result = client.get_input_details()[0], client.get_output_details()[0]
    assert given["shape"].tolist() == [1, 32, 16, 3] and result["shape"].tolist() == [1, 16]
    photo = tf.image.resize(images(90, 41, 1), given["shape"][1:3]).numpy().astype(given["dtype"])
    client.set_tensor(given["index"], photo)
    client.invoke()
    expected = artifact_of(converted[0]).embed(photo.astype(np.uint8))
    answer, exact = client.get_tensor(result["index"]), {"float32": 1e-4, "float16": 1e-2}.get(kind)
    if exact:
        np.testing.assert_allclose(answer, expected, atol=exact)
    assert (answer * expected).sum() / np.linalg.norm(answer) / np.linalg.norm(expected) > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 32, 16), (5, 90, 41), (2, 7, 64)])
def test_any_batch_and_size_may_still_be_given(converted, kind, shape):
    client = tf.lite.Interpreter(str(converted[2][kind]))
    given, photos = client.get_input_details()[0], images(*shape[1:], shape[0])
    client.resize_tensor_input(given["index"], photos.shape, strict=True)
    client.allocate_tensors()
    client.set_tensor(given["index"], photos.astype(given["dtype"]))
    client.invoke()
    answer = client.get_tensor(client.get_output_details()[0]["index"])
    # Kernels on one thread and on several may round to neighboring steps of int8.
    np.testing.assert_allclose(
        answer, open_artifact(converted[2][kind]).embed(photos), atol=0.02 if kind == "int8" else 1e-5
    )


def test_unknown_kinds_and_missing_images_are_refused(tmp_path):
    with pytest.raises(ReidError, match="'int4' is unknown: expected one of float32, float16"):
        tflite.write(network(False), tmp_path / "a.tflite", METADATA, kind="int4")
    with pytest.raises(ReidError, match="int8 is calibrated on images"):
        tflite.write(network(False), tmp_path / "a.tflite", METADATA, kind="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_converted_is_one_error_and_no_file(tmp_path, capfd):
    pixels = keras.Input((32, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(tf.math.igamma(pixels, pixels))
    with pytest.raises(ReidError, match="cannot convert the network to float32"):
        tflite.write(keras.Model(pixels, x), tmp_path / "a.tflite", METADATA)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_would_end_its_process_is_refused(tmp_path):
    """A shift of zeros after the ReLU: TensorFlow 2.15 writes it with scale 0; later ones write one that answers."""
    keras.utils.set_random_seed(0)
    embedder, path = tiny_embedder(), tmp_path / "a.tflite"
    metadata = {**METADATA, "embedding_size": 8}
    try:
        tflite.write(embedder, path, metadata, kind="int16", calibration_images=images(32, 16, 10))
    except ReidError as error:
        assert "cannot quantize this network to int16" in str(error) and not path.exists()
        assert tf.__version__.startswith("2.15")
    else:
        np.testing.assert_allclose(
            open_artifact(path).embed(images(32, 16)), artifact_of(embedder).embed(images(32, 16)), atol=0.05
        )
