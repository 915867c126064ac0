"""The embedder's graph: normalization, backbone, pooling, heads, dtypes, and what it refuses."""

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models import build_embedder, rebuild_in_float32
from keras_reid.models.backbone import keras_cv_resnet50, set_last_stride
from tests.models.torch_layout import make_small

SIZE = (64, 32)


@pytest.fixture(autouse=True)
def float32_policy():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (3, *SIZE, 3)).astype("float32")


@pytest.fixture(scope="module")
def trinet():
    return _with_random_statistics(build_embedder(embedding_size=8, image_size=SIZE))


@pytest.fixture(scope="module")
def bnneck():
    return _with_random_statistics(build_embedder(embedding_size=8, image_size=SIZE, head="bnneck", last_stride=1))


@pytest.fixture(scope="module")
def linear():
    return build_embedder(embedding_size=8, image_size=SIZE, head="linear", last_stride=1, normalize_embedding=True)


def _with_random_statistics(model):
    """Fresh BatchNormalizations are almost the identity, and would hide a wrong mean, variance or order."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, array.shape) for array in layer.get_weights()])
    return model


def _value_at(model, name, images):
    return keras.Model(model.input, model.get_layer(name).output)(images).numpy()


def _arrays(model, name):
    return {weight.name.split("/")[-1][:-2]: weight.numpy() for weight in model.get_layer(name).weights}


def _normalized(features, moving_mean, moving_variance, gamma, beta=0.0):
    return (features - moving_mean) / np.sqrt(moving_variance + 1.001e-5) * gamma + beta


def test_input_is_normalized_by_imagenet_mean_and_standard_deviation(trinet, images):
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(_value_at(trinet, "input_normalization", images), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "stride", "shape"), [("trinet", 2, (2, 1)), ("bnneck", 1, (4, 2))])
def test_backbone_computes_what_keras_cv_computes(request, images, name, stride, shape):
    """64 x 32 pixels at stride 32 are 2 x 1 cells; the last stride of 1 doubles both sides."""
    embedder = request.getfixturevalue(name)
    reference = keras_cv_resnet50(last_stride=stride, input_shape=(*SIZE, 3))
    for layer in reference.layers[1:]:
        layer.set_weights(embedder.get_layer(layer.name).get_weights())
    expected = reference(_value_at(embedder, "input_normalization", images)).numpy()
    assert expected.shape[1:3] == shape
    np.testing.assert_allclose(_value_at(embedder, "v2_stack_3_block3_out", images), expected, rtol=1e-6)
    pooled = _value_at(embedder, "pooled_features", images)
    np.testing.assert_allclose(pooled, expected.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet50_ibn_a"])  # the stride in a 1x1, and in a 3x3 convolution
def test_a_network_whose_last_stride_is_set_is_the_one_made_with_it(images, monkeypatch, backbone):
    make_small(monkeypatch)
    same = {"embedding_size": 8, "image_size": SIZE, "head": "linear", "backbone": backbone}
    embedder, made_with_1 = (build_embedder(last_stride=stride, **same) for stride in (2, 1))
    made_with_1.set_weights(embedder.get_weights())
    before, expected = embedder(images).numpy(), made_with_1(images).numpy()
    assert np.abs(before - expected).max() > 0.01 * np.abs(expected).max()
    set_last_stride(embedder, 1)
    for model in (embedder, rebuild_in_float32(embedder)):
        np.testing.assert_allclose(model(images), expected, rtol=1e-6)
    set_last_stride(embedder, 2)
    np.testing.assert_array_equal(embedder(images), before)


def test_trinet_head_is_dense_normalized_rectified_dense(trinet, images):
    hidden = _value_at(trinet, "pooled_features", images) @ _arrays(trinet, "head_hidden")["kernel"]
    hidden = np.maximum(_normalized(hidden, **_arrays(trinet, "head_hidden_bn")), 0)
    last = _arrays(trinet, "head_embedding")
    expected = hidden @ last["kernel"] + last["bias"]
    assert hidden.shape == (3, 1024)
    np.testing.assert_allclose(trinet(images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_bnneck_feature_is_after_a_normalization_without_shift(bnneck, images):
    features = _value_at(bnneck, "pooled_features", images) @ _arrays(bnneck, "head_embedding")["kernel"]
    neck = _arrays(bnneck, "head_neck_bn")
    assert set(neck) == {"gamma", "moving_mean", "moving_variance"}
    expected = _normalized(features, **neck)
    np.testing.assert_allclose(bnneck(images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_bnneck_of_the_backbones_own_size_has_no_dense_layer():
    model = build_embedder(embedding_size=2048, image_size=(32, 16), head="bnneck")
    assert model.output_shape == (None, 2048)
    assert not any(isinstance(layer, keras.layers.Dense) for layer in model.layers)


def test_linear_head_and_unit_length(linear, images):
    last = _arrays(linear, "head_embedding")
    expected = _value_at(linear, "pooled_features", images) @ last["kernel"] + last["bias"]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(linear(images), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["trinet", "bnneck", "linear"])
def test_one_flat_graph_of_stock_layers(request, name):
    model = request.getfixturevalue(name)
    stock = keras.layers.Dense.__module__.split(".")[0]
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {stock}
    assert not any(isinstance(layer, (keras.Model, keras.layers.Lambda)) for layer in model.layers)
    assert model.layers[-1].name == "embedding"
    assert (model.input_shape, model.output_shape) == ((None, *SIZE, 3), (None, 8))


def test_uint8_images_give_the_same_embedding(trinet, images):
    whole = np.round(images)
    np.testing.assert_array_equal(trinet(whole.astype("uint8")), trinet(whole))


def test_embedding_does_not_depend_on_its_batch(trinet, images):
    """In training mode a BatchNormalization would mix the images; here each must stand alone."""
    alone = np.concatenate([trinet(images[i : i + 1]).numpy() for i in range(3)])
    np.testing.assert_allclose(trinet(images), alone, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_only_the_backbone_follows_the_dtype_policy(images, policy):
    keras.mixed_precision.set_global_policy(policy)
    model = build_embedder(embedding_size=8, image_size=SIZE)
    low = policy[len("mixed_") :]
    assert model.get_layer("conv1_conv").compute_dtype == low
    assert model.get_layer("v2_stack_3_block3_out").output.dtype == low
    for name in ("input_normalization", "pooled_features", "head_hidden", "head_hidden_bn", "embedding"):
        assert model.get_layer(name).output.dtype == "float32", name
    copy = rebuild_in_float32(model)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    for ours, theirs in zip(copy.weights, model.weights):
        np.testing.assert_array_equal(ours, theirs)
    if policy == "mixed_float16":
        return  # Slow on a CPU; once is enough for what follows.
    exact, rounded = copy(images).numpy(), model(images).numpy()
    assert rounded.dtype == "float32"
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_float32_copy_of_a_float32_model_has_its_own_weights(trinet, images):
    before = trinet(images).numpy()
    copy = rebuild_in_float32(trinet)
    np.testing.assert_array_equal(copy(images), before)
    copy.get_layer("head_embedding").set_weights([np.zeros((1024, 8)), np.ones(8)])
    np.testing.assert_array_equal(copy(images), np.ones((3, 8)))
    np.testing.assert_array_equal(trinet(images), before)


def test_float32_copy_keeps_frozen_layers_and_their_weights(trinet):
    """A frozen layer moves to the end of `model.weights`: copying that list in order would mix up the layers."""
    trinet.get_layer("conv1_bn").trainable = False
    try:
        copy = rebuild_in_float32(trinet)
    finally:
        trinet.get_layer("conv1_bn").trainable = True
    assert not copy.get_layer("conv1_bn").trainable
    for layer in trinet.layers:
        for ours, theirs in zip(copy.get_layer(layer.name).get_weights(), layer.get_weights()):
            np.testing.assert_array_equal(ours, theirs)


def test_smallest_image():
    assert build_embedder(image_size=[16, 16], head="linear", embedding_size=1).output_shape == (None, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embedding_size": 0}, "embedding_size=0, expected.*at least 1"),
        ({"embedding_size": 1.5}, "embedding_size=1.5, expected"),
        ({"embedding_size": True}, "embedding_size=True, expected"),
        ({"image_size": 64}, r"image_size=64, expected \(height, width\)"),
        ({"image_size": (64, 32, 3)}, r"image_size=\(64, 32, 3\), expected"),
        ({"image_size": (64, 15)}, r"image_size=\(64, 15\), expected.*at least 16"),
        ({"image_size": (64.0, 32)}, r"image_size=\(64.0, 32\), expected"),
        ({"head": "fc"}, "head='fc', expected.*trinet, bnneck, linear"),
        ({"last_stride": 3}, "last_stride=3, expected.*1, 2"),
        ({"last_stride": True}, "last_stride=True, expected"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ReidError, match=message):
        build_embedder(**arguments)
