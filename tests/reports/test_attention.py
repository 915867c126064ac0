"""Attention: against the closed form of a linear network, and on a network that looks at one corner alone."""

import numpy as np
import pytest

from keras_reid.artifacts import Artifact, artifact_of, describe_embedder
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models.structure import last_feature_map
from keras_reid.reports.attention import attention_maps, overlay

HEIGHT, WIDTH = 8, 6


def linear_network(*, normalize=False, metric="euclidean") -> Artifact:
    """Features of single pixels, global average pooling, a linear layer: no BatchNormalization anywhere."""
    images = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Conv2D(7, 1, activation="relu", bias_initializer="random_normal")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(5, bias_initializer="random_normal")(x)
    x = keras.layers.UnitNormalization()(x) if normalize else x
    embedder = keras.Model(images, x)
    return artifact_of(embedder, describe_embedder(embedder, metric=metric))


def closed_form(artifact, image, partner, center):
    """In NumPy: of place p, the share a_p W (y - c) / (h w |u|) of the product of both embeddings."""
    kernel, shift, weights, bias = (weight.astype(np.float64) for weight in artifact.embedder.get_weights())
    unit = artifact.metric == "cosine" or len(artifact.embedder.layers) == 5

    def embedded(pixels):
        features = np.maximum(pixels.reshape(-1, 3).astype(np.float64) @ kernel[0, 0] + shift, 0)
        return features, features.mean(axis=0) @ weights + bias

    (features, own), (_, other) = embedded(image), embedded(partner)
    other = other / np.linalg.norm(other) if unit else other
    parts = features @ (weights @ (other - center)) / len(features) / (np.linalg.norm(own) if unit else 1)
    parts = np.maximum(parts, 0).reshape(HEIGHT, WIDTH)
    return parts / parts.max()


@pytest.mark.parametrize("normalize, metric", [(False, "euclidean"), (True, "euclidean"), (False, "cosine")])
def test_a_linear_network_has_the_map_of_the_closed_form(normalize, metric):
    artifact, random = linear_network(normalize=normalize, metric=metric), np.random.default_rng(0)
    first, second = (random.integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2))
    others = random.normal(size=(20, 5)) + 1
    unit = others / np.linalg.norm(others, axis=1, keepdims=True) if normalize or metric == "cosine" else others
    for given, center in ((None, 0), (others, unit.mean(axis=0))):
        maps = attention_maps(artifact, first, second, others=given)
        assert maps[0].shape == maps[1].shape == (3, HEIGHT, WIDTH)
        for n in range(3):
            np.testing.assert_allclose(maps[0][n], closed_form(artifact, first[n], second[n], center), atol=1e-4)
            np.testing.assert_allclose(maps[1][n], closed_form(artifact, second[n], first[n], center), atol=1e-4)


def red_in_a_corner() -> Artifact:
    """A network that sees red, and of that the upper left corner of 4 x 2 pixels alone."""
    images = keras.Input((HEIGHT, WIDTH, 3))
    red = keras.layers.Conv2D(1, 1, use_bias=False, activation="relu")
    corner = keras.layers.Dense(2, use_bias=False)
    embedder = keras.Model(images, corner(keras.layers.Flatten()(red(images))))
    red.set_weights([np.array([1.0, -1.0, -1.0]).reshape(1, 1, 3, 1)])
    weights = np.zeros((HEIGHT, WIDTH, 2))
    weights[:4, :2] = 1
    corner.set_weights([weights.reshape(-1, 2)])
    return artifact_of(embedder)


def test_a_network_that_sees_red_in_one_corner_has_its_map_there():
    red, blue = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    expected = np.zeros((HEIGHT, WIDTH))
    expected[:4, :2] = 1
    ((own, against_blue), (other, of_blue)) = attention_maps(red_in_a_corner(), [red, red], [red.copy(), blue])
    np.testing.assert_array_equal(own, expected)  # of two equal photos, whose distance has no gradient
    np.testing.assert_array_equal(other, expected)
    assert not of_blue.any() and not against_blue.any()  # blue has nothing in common with red


def test_a_last_map_of_few_places_gives_way_to_an_earlier_one_that_all_passes_through():
    images = keras.Input((32, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", activation="relu")(images)  # 8 x 4 places
    around = keras.layers.Conv2D(4, 1, strides=4)(x)
    aside = keras.layers.Conv2D(4, 1)(x)  # of 8 x 4, too, but a part of the embedding goes around it
    x = keras.layers.Add()([around, keras.layers.Conv2D(4, 1, strides=4)(aside)])  # 2 x 1
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, x)
    assert tuple(last_feature_map(model).shape) == (None, 2, 1, 4)
    assert last_feature_map(model, least_places=32) is model.layers[1].output
    assert last_feature_map(model, least_places=10**6) is model.layers[1].output
    photos = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), dtype=np.uint8)
    assert attention_maps(artifact_of(model), photos, photos[::-1])[0].shape == (2, 8, 4)


def test_photos_may_have_any_size_and_there_may_be_none():
    large, small = np.full((80, 60, 3), 200, np.uint8), np.full((5, 9, 3), 200, np.uint8)
    first, second = attention_maps(linear_network(), [large, small], [small, large])
    assert first.shape == (2, HEIGHT, WIDTH) and first.min() >= 0 and first.max() == 1
    assert [len(maps) for maps in attention_maps(linear_network(), [], [])] == [0, 0]


def test_what_has_no_gradients_or_no_feature_map_is_refused():
    lite = Artifact("embedder.tflite", "tflite", {"embedding_size": 2, "image_size": [8, 6]}, lambda images: images)
    with pytest.raises(ReidError, match=r"'embedder.tflite' \(tflite\) has none: expected a run folder"):
        attention_maps(lite, [], [])
    images = keras.Input((HEIGHT, WIDTH, 3))
    flat = artifact_of(keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images))))
    with pytest.raises(ReidError, match="needs a feature map"):
        attention_maps(flat, [], [])


def test_an_overlay_leaves_gray_what_the_map_leaves_out():
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[..., 1] = 100
    places = np.zeros((4, 2))
    places[0, 0] = 1
    under = overlay(pixels, places)
    assert under.shape == pixels.shape and under.dtype == np.uint8
    gray = round(0.587 * 100)
    assert (np.abs(under[25:].astype(int) - gray) <= 1).all()
    assert under[2, 2].astype(int).sum() > 2 * 3 * gray
