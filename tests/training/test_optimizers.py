"""Optimizers: their names, clipping against NumPy, addons' averages; precision against the machine."""

import importlib.util

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints
from keras_reid.training.optimizers import build_optimizer, decay_kernels_only
from keras_reid.training.precision import resolve_precision
from keras_reid.training.schedules import CosineSchedule
from tests.conftest import tiny_embedder
from tests.training.test_trainer import images, one_batch

NEEDS_ADDONS = pytest.mark.skipif(importlib.util.find_spec("tensorflow_addons") is None, reason="no tensorflow-addons")
ADDONS = [pytest.param(name, marks=NEEDS_ADDONS) for name in ("tfa_radam", "tfa_lamb", "tfa_lookahead", "tfa_swa")]


def trained(optimizer, steps=1, policy="float32", scale=None, **arguments) -> TripletTrainer:
    """A trainer after some steps on one batch; the initial weights are always the same."""
    keras.mixed_precision.set_global_policy(policy)
    keras.utils.set_random_seed(3)
    trainer = TripletTrainer(tiny_embedder(), **arguments)
    if scale:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=scale)
    trainer.compile(optimizer, loss=BatchHardTripletLoss(margin="soft"))
    if steps:
        trainer.fit(one_batch(), steps_per_epoch=steps, verbose=0)
    return trainer


def values(variables) -> np.ndarray:
    return np.concatenate([variable.numpy().astype(np.float64).ravel() for variable in variables])


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_optimizers_by_name(name, kind):
    optimizer = build_optimizer(name, 0.5, weight_decay=0.01)
    assert type(optimizer).__name__ == kind
    assert float(keras.backend.get_value(optimizer.learning_rate)) == 0.5
    assert optimizer.weight_decay == (0.01 if name == "adamw" else None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (lambda: build_optimizer("lion", 0.1), "optimizer=lion, expected one of adam"),
        (lambda: build_optimizer("adamw", 0.1, weight_decay=-1), "weight_decay=-1"),
        (lambda: build_optimizer("adam", 0.1, clip_norm=-1), "clip_norm=-1"),
        (
            lambda: build_optimizer("adam", 0.1, decayed_weights="kernels"),
            "kernels goes with optimizer=adamw or sgd",
        ),
        (lambda: resolve_precision("float16", gpus=0, cpu_has_bfloat16=True), "mixed_precision=float16, expected"),
    ],
)
def test_wrong_values_are_named(arguments, text):
    with pytest.raises(ReidError, match=text):
        arguments()


@pytest.mark.parametrize(
    ("flag", "gpus", "cpu_has_bfloat16", "policy"),
    [
        ("auto", 1, False, "mixed_float16"),
        ("auto", 1, True, "mixed_float16"),
        ("auto", 0, True, "mixed_bfloat16"),
        ("auto", 0, False, "float32"),
        ("float32", 1, True, "float32"),
        ("mixed_bfloat16", 1, False, "mixed_bfloat16"),
    ],
)
def test_auto_precision(flag, gpus, cpu_has_bfloat16, policy):
    assert resolve_precision(flag, gpus=gpus, cpu_has_bfloat16=cpu_has_bfloat16) == policy


@pytest.mark.parametrize(("policy", "scale"), [("float32", None), ("mixed_float16", 2.0**10)])
def test_the_gradient_is_clipped_as_a_whole_and_unscaled(policy, scale):
    """One step of SGD without momentum moves the weights by the gradient: g, and g * 0.01 / |g| when it is clipped."""
    begin = values(trained(keras.optimizers.SGD(0.0), policy=policy, scale=scale).trainable_variables)
    free, clipped = (
        values(trained(optimizer, policy=policy, scale=scale).trainable_variables) - begin
        for optimizer in (keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0, global_clipnorm=0.01))
    )
    length = np.sqrt(np.sum(free**2))
    assert length > 0.1
    np.testing.assert_allclose(clipped, free * 0.01 / length, rtol=2e-3, atol=1e-7)
    assert build_optimizer("sgd", 1.0, clip_norm=0.01).global_clipnorm == 0.01
    assert build_optimizer("adam", 1.0).global_clipnorm is None


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_kernels_alone_decay(name, scales):
    """Without a gradient a kernel of 2 goes to 2 - 0.5 * 0.1 * 2, in two steps; a bias and a scale stay."""
    optimizer = build_optimizer(name, 0.5, weight_decay=0.1, decayed_weights="kernels")
    variables = [tf.Variable(tf.fill(shape, 2.0)) for shape in ([3, 3, 4, 4], [4], [4, 2], [])]
    decay_kernels_only(optimizer, variables)
    if scales:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    for _ in range(2):
        optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in variables])
    for variable, expected in zip(variables, (1.805, 2.0, 1.805, 2.0)):
        np.testing.assert_allclose(variable, np.full(variable.shape, expected), rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", ADDONS)
def test_addons_optimizers_clip_too(name, policy):
    """After one step Adam's first moments are 0.1 * gradient."""
    if (name, policy) == ("tfa_swa", "mixed_float16"):
        pytest.skip("refused")
    scale = 2.0**10 if policy == "mixed_float16" else None
    trainer = trained(build_optimizer(name, 1e-3, clip_norm=0.01), policy=policy, scale=scale)
    optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
    optimizer = getattr(optimizer, "_optimizer", optimizer)
    moments = values([optimizer.get_slot(variable, "m") for variable in trainer.trainable_variables])
    assert np.sqrt(np.sum(moments**2)) == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", *ADDONS])
def test_a_restored_optimizer_goes_on_bit_by_bit(tmp_path, name, policy):
    if (name, policy) == ("tfa_swa", "mixed_float16"):
        pytest.skip("refused")

    def build():
        schedule = CosineSchedule(0.01, total_steps=100, warmup_steps=8)
        return build_optimizer(name, schedule, weight_decay=0.01, clip_norm=1.0, epochs=2, steps_per_epoch=4)

    whole = trained(build(), steps=0, policy=policy)
    checkpoints = Checkpoints(tmp_path, whole)
    whole.fit(one_batch(), steps_per_epoch=7, verbose=0)  # Lookahead has looked once
    checkpoints.save(7)
    rates = whole.fit(one_batch(), steps_per_epoch=7, verbose=0).history["learning_rate"]

    other = trained(build(), steps=0, policy=policy)
    assert Checkpoints(tmp_path, other).restore_newest() == 7
    assert other.fit(one_batch(), steps_per_epoch=7, verbose=0).history["learning_rate"] == rates
    assert rates[0] == pytest.approx(float(CosineSchedule(0.01, total_steps=100, warmup_steps=8)(13)))
    for one, two in zip(whole.embedder.get_weights(), other.embedder.get_weights()):
        np.testing.assert_array_equal(one, two)
    one, two = (trainer.optimizer.variables for trainer in (whole, other))
    one, two = (variables() if callable(variables) else variables for variables in (one, two))
    assert len(one) > 6
    np.testing.assert_array_equal(values(one), values(two))


@NEEDS_ADDONS
def test_swa_ships_the_mean_of_its_snapshots_with_statistics_of_its_own():
    """3 of 8 epochs of 3 steps are averaged: after steps 18, 21 and 24, and nothing before."""
    trainer = trained(build_optimizer("tfa_swa", 0.01, epochs=8, steps_per_epoch=3), steps=0)
    snapshots = []
    for _ in range(8):
        trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
        snapshots.append([weight.numpy() for weight in trainer.embedder.trainable_weights])
        if len(snapshots) < 6:
            shipped = trainer.shipped_embedder().trainable_weights
            np.testing.assert_array_equal(values(shipped), values(trainer.embedder.trainable_weights))
    with pytest.raises(ReidError, match="set trainer.statistics_batches"):
        trainer.shipped_embedder()
    batches = [images(), 255 - images()]
    trainer.statistics_batches = batches

    shipped = trainer.shipped_embedder()

    for place, weight in enumerate(shipped.trainable_weights):
        np.testing.assert_allclose(weight, np.mean([one[place] for one in snapshots[5:]], axis=0), atol=1e-6)
    norm = next(layer for layer in shipped.layers if isinstance(layer, keras.layers.BatchNormalization))
    before = keras.Model(shipped.input, norm.input)
    means = [before(np.float32(batch)).numpy().mean((0, 1, 2)) for batch in batches]
    np.testing.assert_allclose(norm.moving_mean, np.mean(means, axis=0), rtol=1e-4)
    assert norm.momentum == 0.99
    assert not np.allclose(norm.moving_mean, trainer.embedder.get_layer(norm.name).moving_mean, rtol=1e-2)


@NEEDS_ADDONS
def test_swa_is_refused_where_its_average_would_be_another():
    with pytest.raises(ReidError, match="^ema and optimizer=tfa_swa both average"):
        trained(build_optimizer("tfa_swa", 0.01), ema=0.9)
    with pytest.raises(ReidError, match="use mixed_precision=mixed_bfloat16 or float32"):
        trained(build_optimizer("tfa_swa", 0.01), policy="mixed_float16")


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_addons") is not None, reason="tensorflow-addons is there")
def test_without_addons_it_says_what_to_use():
    with pytest.raises(ReidError, match="tfa_swa needs tensorflow-addons.* Use optimizer=adam with ema=0.999"):
        build_optimizer("tfa_swa", 0.01)
