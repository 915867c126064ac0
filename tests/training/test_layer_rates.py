"""Factors on the rate and the frozen backbone, against SGD and Adam in NumPy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reid import TripletTrainer, build_embedder
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import FreezeBackbone
from keras_reid.training.layer_rates import part_of
from tests.conftest import tiny_embedder
from tests.training.test_optimizers import ADDONS, build_optimizer, values
from tests.training.test_trainer import PERSON_IDS, images, one_batch

RATES = {"backbone": 0.1, "stage4": 0.5, "head": 3.0}
BACKWARD = []


@keras.utils.register_keras_serializable(package="tests")
class Watched(keras.layers.Layer):
    """Passes on what it gets, and notes a backward pass where one is traced or run."""

    def call(self, x):
        @tf.custom_gradient
        def identity(x):
            return tf.identity(x), lambda gradient: BACKWARD.append(1) or gradient

        return identity(x)


def parted_embedder() -> keras.Model:
    """A stem, one layer of a stage, and a head, with the names of `build_embedder`.

    Without the biases that change nothing, before BatchNormalization and of the embedding: Adam moves them by rounding.
    """
    x = inputs = keras.Input((32, 16, 3))
    x = keras.layers.Rescaling(1 / 128, -1.0, dtype="float32")(x)
    x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False, name="conv1_conv")(x)
    x = Watched()(x)
    x = keras.layers.BatchNormalization(momentum=0.5, name="conv1_bn")(x)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="v2_stack_3_block1_1_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, use_bias=False, name="head_embedding")(x), name="embedder")


def trainer_of(optimizer, **arguments) -> TripletTrainer:
    keras.utils.set_random_seed(1)
    trainer = TripletTrainer(parted_embedder(), **arguments)
    trainer.compile(optimizer, loss=BatchHardTripletLoss(margin="soft"))
    return trainer


def gradients(trainer: TripletTrainer) -> list:
    """Of the loss at the weights as they are; moving statistics are put back."""
    kept = trainer.embedder.get_weights()
    with tf.GradientTape() as tape:
        loss = trainer.loss(PERSON_IDS, trainer.embedder(images(), training=True))
    gradient = tape.gradient(loss, trainer.embedder.trainable_weights)
    trainer.embedder.set_weights(kept)
    return [np.float64(one) for one in gradient]


class Adam:
    """Kingma, Ba 2015, algorithm 1 in its efficient order, as in Keras."""

    def __init__(self):
        self.m = self.v = 0
        self.count = 0

    def change(self, gradient, rate=0.01):
        self.count += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        rate *= np.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
        return -rate * self.m / (np.sqrt(self.v) + 1e-7)


class SGD:
    def change(self, gradient, rate=0.01):
        return -rate * gradient


@pytest.mark.parametrize(
    ("optimizer", "oracle"), [(keras.optimizers.SGD, SGD), (keras.optimizers.Adam, Adam)], ids=["sgd", "adam"]
)
def test_each_part_moves_by_its_factor(optimizer, oracle):
    trainer = trainer_of(optimizer(0.01), layer_learning_rates=RATES)
    weights = trainer.embedder.trainable_weights
    factors = [0.1] * 3 + [0.5] * 2 + [3.0]  # conv1_conv and conv1_bn; stage 4; head
    assert len(weights) == 6
    oracles = [oracle() for _ in weights]
    for _ in range(3):
        expected = [
            weight.numpy() + factor * one.change(gradient)
            for weight, factor, one, gradient in zip(weights, factors, oracles, gradients(trainer))
        ]
        trainer.fit(one_batch(), steps_per_epoch=1, verbose=0)
        for weight, value in zip(weights, expected):
            np.testing.assert_allclose(weight, value, atol=2e-4)


@pytest.mark.parametrize("name", ["adamw", *ADDONS[:2]])
def test_a_factor_is_a_rate_for_other_optimizers_too(name):
    """One step from the same start: the change of the factor-0.25 run is a quarter of that of the plain one."""
    begin = values(trainer_of("sgd").embedder.trainable_weights)
    moved = []
    for rates in (None, {"backbone": 0.25, "head": 0.25}):
        trainer = trainer_of(build_optimizer(name, 0.01, weight_decay=0.1), layer_learning_rates=rates)
        trainer.fit(one_batch(), steps_per_epoch=1, verbose=0)
        moved.append(values(trainer.embedder.trainable_weights) - begin)
    assert np.abs(moved[0]).max() > 1e-4
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], atol=1e-7)


@pytest.mark.parametrize("name", ADDONS[2:])
def test_optimizers_with_a_second_copy_of_the_weights_are_refused(name):
    with pytest.raises(ReidError, match="layer_learning_rates goes with optimizer=adam, .* tfa_lamb, not with"):
        trainer_of(build_optimizer(name, 0.01), layer_learning_rates=RATES)


def test_parts_of_the_resnet():
    parts = [part_of(layer.name) for layer in build_embedder(image_size=(16, 16)).layers if layer.weights]
    assert list(dict.fromkeys(parts)) == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    # a block has 3 convolutions, the first of a stage 4, each with its BatchNormalization
    assert [parts.count(f"stage{number}") for number in (1, 2, 3, 4)] == [20, 26, 38, 20]
    assert (parts.count("stem"), parts.count("head")) == (2, 3)


@pytest.mark.parametrize(
    ("rates", "text"),
    [
        ({"stage2": 0.1}, "no part 'stage2': expected backbone, stem, stage4, head"),
        ({"head": 0.0}, "layer_learning_rates=head=0, expected above 0; freeze_backbone_epochs freezes"),
        ({"head": float("nan")}, "layer_learning_rates=head=nan"),
    ],
)
def test_wrong_factors_are_named(rates, text):
    with pytest.raises(ReidError, match=text):
        trainer_of("sgd", layer_learning_rates=rates)


def test_a_frozen_backbone_does_not_move_and_no_gradient_runs_through_it():
    trainer = trainer_of(keras.optimizers.Adam(0.01))
    before, head = trainer.embedder.get_weights(), trainer.embedder.get_layer("head_embedding")
    head_before = head.kernel.numpy()
    BACKWARD.clear()
    trainer.fit(one_batch(), steps_per_epoch=3, epochs=2, verbose=0, callbacks=[FreezeBackbone(6)])
    assert not BACKWARD
    assert not np.allclose(head.kernel, head_before)
    for layer in trainer.embedder.layers[:-1]:  # moving statistics, too
        for weight in layer.weights:
            assert any(one.shape == weight.shape and np.array_equal(one, weight) for one in before), weight.name
    assert len(trainer.optimizer.variables) == 1 + 2 * 6  # the state of all weights is there
    shipped = trainer.shipped_embedder()
    assert len(shipped.trainable_weights) == 6  # what ships is not frozen
    np.testing.assert_allclose(shipped(images()), trainer.embedder(images()), rtol=1e-4)
    np.testing.assert_allclose(trainer.embedder(images(), training=True), trainer.embedder(images()))

    # Three more frozen steps, then three that are not.
    trainer.fit(one_batch(), steps_per_epoch=3, initial_epoch=2, epochs=4, verbose=0, callbacks=[FreezeBackbone(9)])
    assert BACKWARD
    assert not np.array_equal(trainer.embedder.get_layer("conv1_conv").kernel, before[0])
    assert not np.allclose(trainer.embedder.get_layer("conv1_bn").moving_mean, 0)


def test_a_backbone_is_freed_between_two_fits():
    """As where a run goes on from a stop in its last frozen epoch, or where another phase begins."""
    trainer = trainer_of(keras.optimizers.Adam(0.01))
    trainer.freeze_backbone(3)
    before, freeze = trainer.embedder.get_layer("conv1_conv").kernel.numpy(), FreezeBackbone(3)
    for epoch, moves in enumerate([False, True]):
        which = {"initial_epoch": epoch, "epochs": epoch + 1}
        trainer.fit(one_batch(), steps_per_epoch=3, **which, verbose=0, callbacks=[freeze])
        assert np.array_equal(trainer.embedder.get_layer("conv1_conv").kernel, before) != moves


@pytest.mark.parametrize("rates", [None, RATES])
def test_freed_weights_move_as_by_an_adam_that_begins_there(rates):
    """Keras's own count would make these changes 3 to 6 times as large."""
    trainer = trainer_of(keras.optimizers.Adam(0.01), layer_learning_rates=rates)
    freeze = FreezeBackbone(20)
    trainer.fit(one_batch(), steps_per_epoch=20, verbose=0, callbacks=[freeze])
    kernel = trainer.embedder.get_layer("v2_stack_3_block1_1_conv").kernel
    oracle = Adam()
    for epoch in range(1, 4):
        freeze.set_model(trainer)
        freeze.on_epoch_begin(epoch)
        place = next(i for i, weight in enumerate(trainer.embedder.trainable_weights) if weight is kernel)
        factor = rates["stage4"] if rates else 1.0
        expected = kernel.numpy() + factor * oracle.change(gradients(trainer)[place])
        trainer.fit(
            one_batch(), steps_per_epoch=1, initial_epoch=epoch, epochs=epoch + 1, verbose=0, callbacks=[freeze]
        )
        np.testing.assert_allclose(kernel, expected, atol=2e-4)


def test_freezing_needs_a_head_and_an_optimizer_that_can():
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile("sgd", loss=BatchHardTripletLoss())
    with pytest.raises(ReidError, match="no layer named head_"):
        trainer.freeze_backbone(1)
    trainer.compile(keras.optimizers.legacy.SGD(), loss=BatchHardTripletLoss())
    with pytest.raises(ReidError, match="freeze_backbone_epochs goes with optimizer=adam, adamw, sgd, not"):
        trainer.freeze_backbone(1)


@pytest.mark.slow
def test_two_replicas_make_the_update_of_one():
    """SGD, exactly; Adam's moves of 0.01 follow the sign of what rounding leaves of a gradient."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(root)}
    command = [sys.executable, str(Path(__file__).with_name("replicated_updates.py"))]
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    differences = json.loads(run.stdout.splitlines()[-1])
    assert differences["sgd"] < 1e-6
    assert differences["adam"] < 1e-3
