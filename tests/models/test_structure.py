"""Embedders that users bring: each is trained, averaged and shipped right, or refused at construction in one line."""

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.artifacts import artifact_of, describe_embedder, open_artifact
from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.models import rebuild_in_float32
from keras_reid.models.structure import weights_of
from tests.conftest import tiny_embedder

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 16, 3), np.uint8)
PERSON_IDS = np.repeat([1, 2, 3, 4], 2)
layers = keras.layers


def sequential() -> keras.Model:
    network = [layers.Rescaling(1 / 128), layers.Conv2D(8, 3, strides=2), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((32, 16, 3)), *network, layers.GlobalAveragePooling2D(), layers.Dense(8)])


def sequential_of_models() -> keras.Model:
    return keras.Sequential([tiny_embedder(), layers.Dense(8)])


def model_of_models() -> keras.Model:
    images = keras.Input((32, 16, 3))
    return keras.Model(images, layers.Dense(8)(tiny_embedder()(images)))


def with_operations() -> keras.Model:
    images = keras.Input((32, 16, 3))
    return keras.Model(images, tf.math.l2_normalize(layers.Dense(8)(layers.GlobalAveragePooling2D()(images)), axis=1))


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 8))

    def call(self, features):
        return 2 * features @ self.kernel


def with_a_layer_of_its_own() -> keras.Model:
    images = keras.Input((32, 16, 3))
    return keras.Model(images, Doubled()(layers.GlobalAveragePooling2D()(images)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "model", [sequential, sequential_of_models, model_of_models, with_operations, with_a_layer_of_its_own]
)
def test_any_graph_of_layers_is_trained_and_shipped(tmp_path, model, policy):
    keras.mixed_precision.set_global_policy(policy)
    trainer = TripletTrainer(model())
    trainer.compile(keras.optimizers.SGD(0.1), loss=BatchHardTripletLoss(margin="soft"))
    trainer.fit(IMAGES, PERSON_IDS, batch_size=8, verbose=0)
    shipped = trainer.shipped_embedder()
    expected = artifact_of(shipped).embed(IMAGES)
    rounding = 1e-5 if policy == "float32" else 0.1
    np.testing.assert_allclose(trainer(IMAGES), expected, atol=rounding * np.abs(expected).max())
    for name in ("savedmodel", "keras", "tflite"):
        path = FORMATS[name].write(shipped, tmp_path / FORMATS[name].place, describe_embedder(shipped))
        np.testing.assert_allclose(open_artifact(path).embed(IMAGES), expected, rtol=1e-4, atol=1e-4, err_msg=name)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.pool, self.dense = layers.GlobalAveragePooling2D(), layers.Dense(8)

    def call(self, images, training=False):
        return self.dense(self.pool(tf.cast(images, tf.float32)))


def built_subclassed() -> keras.Model:
    model = Subclassed()
    model(IMAGES)
    return model


def from_to(shape: tuple, network) -> keras.Model:
    images = keras.Input(shape)
    return keras.Model(images, network(images))


REFUSED = {
    "subclassed": (Subclassed, "embedder is a Subclassed without an input"),
    "subclassed, built": (built_subclassed, "embedder is a Subclassed without an input"),
    "no Input": (
        lambda: keras.Sequential([layers.GlobalAveragePooling2D()]),
        "embedder is a Sequential without an input",
    ),
    "any size": (
        lambda: from_to((None, None, 3), layers.GlobalAveragePooling2D()),
        r"embedder goes from .any, any, any, 3. to .any, 3.: .*images of one size",
    ),
    "gray": (lambda: from_to((32, 16, 1), layers.GlobalAveragePooling2D()), r"goes from .any, 32, 16, 1. to .any, 1."),
    "a map": (lambda: from_to((32, 16, 3), layers.Conv2D(8, 3)), r"goes from .any, 32, 16, 3. to .any, 30, 14, 8."),
    "two outputs": (
        lambda: from_to((32, 16, 3), lambda images: [layers.Flatten()(images), layers.GlobalMaxPool2D()(images)]),
        r"goes from .any, 32, 16, 3. to .any, 1536., .any, 3.",
    ),
    "a lambda": (
        lambda: from_to((32, 16, 3), layers.Lambda(lambda images: tf.reduce_mean(images, axis=(1, 2)))),
        "embedder cannot be built anew from its configuration",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_ship_is_refused_at_construction(name):
    model, message = REFUSED[name]
    with pytest.raises(ReidError, match=message) as error:
        TripletTrainer(model())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["subclassed, built", "any size", "gray", "a map"])
def test_export_refuses_it_too(tmp_path, name):
    model = REFUSED[name][0]()
    for refused in (
        lambda: describe_embedder(model),
        lambda: artifact_of(model),
        lambda: FORMATS["tflite"].write(model, tmp_path / "a.tflite", {}),
    ):
        with pytest.raises(ReidError, match="expected a functional or Sequential model from keras.Input"):
            refused()


# --- Weights in an order that stays ---


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """Three layers in one."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inside = [layers.Conv2D(3, 1) for _ in range(3)]

    def call(self, images):
        for layer in self.inside:
            images = layer(images)
        return images


def partly_frozen() -> keras.Model:
    """Keras lists the weights of a block with a frozen layer in another order than those of a free one."""
    block = Block()
    block.inside[0].trainable = False
    return keras.Sequential([keras.Input((32, 16, 3)), block, layers.GlobalAveragePooling2D(), layers.Dense(8)])


def test_a_copy_is_brought_up_to_date_where_layers_inside_are_frozen():
    model = partly_frozen()
    copy = rebuild_in_float32(model)
    for frees in (False, True):
        copy.trainable = copy.trainable or frees
        model.set_weights([np.random.default_rng(1).normal(size=one.shape) for one in model.get_weights()])
        rebuild_in_float32(model, into=copy)
        np.testing.assert_allclose(copy(IMAGES), model(IMAGES), rtol=1e-5)
    assert [one.shape for one in weights_of(copy)] == [one.shape for one in weights_of(model)]


def test_what_ships_of_a_partly_frozen_network_is_that_network():
    """The second time, too: what ships is free, and no longer lists its weights as what trains does."""
    for ema in (0.0, 0.5):
        trainer = TripletTrainer(partly_frozen(), ema=ema)
        trainer.compile(keras.optimizers.SGD(0.0), loss=BatchHardTripletLoss(margin="soft"))
        for _ in range(2):
            trainer.fit(IMAGES, PERSON_IDS, batch_size=8, verbose=0)
            np.testing.assert_allclose(trainer.shipped_embedder()(IMAGES), trainer(IMAGES), rtol=1e-5)
