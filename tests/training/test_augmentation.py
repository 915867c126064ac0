"""Augmentation on the device: what each strength does, when, and that a run that goes on draws what it would have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reid import TripletTrainer, train
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints, DeviceAugmentation, build_augmentation
from keras_reid.training.color_changes import color_jitter, rand_augment, random_blur
from tests.conftest import tiny_embedder, train_arguments
from tests.training.augmented_runs import STRENGTHS
from tests.training.test_trainer import PERSON_IDS, images, one_batch

ROOT = Path(__file__).parents[2]


def numbers(*values: float, count: int = 1) -> list:
    """The uniform draws of a change: 0.5 leaves a signed change at nothing, 0 and 1 are its ends."""
    return [tf.fill([count, 1, 1, 1], value) for value in values]


def trainer_of(augmentation=None, learning_rate=0.1, **kwargs) -> TripletTrainer:
    trainer = TripletTrainer(tiny_embedder(), augmentation=augmentation)
    trainer.compile(keras.optimizers.SGD(learning_rate), loss=BatchHardTripletLoss(margin=0.3), **kwargs)
    return trainer


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_changes_images_of_a_batch_in_different_ways(name):
    """16 copies of one image, so that only the draws differ; all black and all white ones stay within 0..255."""
    one = images(1).astype(np.float32)
    copies = np.concatenate([np.repeat(one, 16, 0), np.zeros_like(one), np.full_like(one, 255)])
    layer = build_augmentation(**{name: STRENGTHS[name]}, seed=1)
    changed = layer(copies, training=True).numpy()
    assert changed.dtype == np.float32 and changed.shape == copies.shape
    assert changed.min() >= 0 and changed.max() <= 255
    kinds = len({image.tobytes() for image in changed[:16]})
    assert kinds == 2 if name == "random_grayscale" else kinds > 4
    again = layer(copies, training=True).numpy()
    assert np.abs(again - changed).max() > 1  # another batch, another draw


@pytest.mark.once
def test_color_jitter_moves_what_it_says():
    """At 0.5: brightness by 255 * 0.4 * 0.5 = 51 levels, contrast and saturation by 0.6 to 1.4, hue by 18 degrees."""
    change = color_jitter(0.5)
    gray = tf.concat([tf.fill([1, 2, 4, 3], 80.0), tf.fill([1, 2, 4, 3], 120.0)], 1)
    np.testing.assert_allclose(change(gray, numbers(0.5, 0.5, 0.5, 0.5)), gray, atol=0.01)
    np.testing.assert_allclose(change(gray, numbers(1.0, 0.5, 0.5, 0.5)), gray + 51, atol=0.01)
    np.testing.assert_allclose(change(gray, numbers(0.5, 1.0, 0.5, 0.5))[0, ::2, 0, 0], [72, 128], atol=0.01)
    red = tf.fill([1, 2, 2, 3], 100.0) * [2.0, 1.0, 1.0]
    # Saturation of (200, 100, 100) is a half: 0.3 of it leaves 200 * (1 - 0.3) = 140. Hue by 18 degrees of the 60 to
    # yellow: green rises by 0.3 of the way from 100 to 200.
    np.testing.assert_allclose(change(red, numbers(0.5, 0.5, 0.0, 0.5))[0, 0, 0], [200, 140, 140], atol=0.1)
    np.testing.assert_allclose(change(red, numbers(0.5, 0.5, 0.5, 1.0))[0, 0, 0], [200, 130, 100], atol=0.1)


@pytest.mark.once
def test_rand_augment_makes_the_change_that_is_drawn():
    """Six choices share 0..1; the first draw of a pair says which, the second how much. 0.99 is no change."""
    change = rand_augment(1.0)
    picture = tf.constant([[60.0, 60, 60], [100, 50, 50], [110, 110, 110], [90, 90, 90]])[None, None] * tf.ones(
        [1, 4, 1, 1]
    )
    for which, expected in {
        0.99: picture[0, 0],
        0.2: picture[0, 0] + 127.5,  # brightness
        # Color, 1.9 times as far from gray, which is 0.2989 * 100 + (0.587 + 0.114) * 50 = 64.94 there.
        0.6: [[60, 60, 60], [64.94 + 1.9 * 35.06, 64.94 - 1.9 * 14.94, 64.94 - 1.9 * 14.94], [110] * 3, [90] * 3],
    }.items():
        amount = 0.0 if which == 0.6 else 1.0
        changed = change(picture, numbers(which, 0.99, amount, 0.5))[0, 0]
        np.testing.assert_allclose(changed, expected, atol=0.05)
    # Auto-contrast spreads red from 60..110 over 0..255, whatever the second draw.
    np.testing.assert_allclose(change(picture, numbers(0.1, 0.99, 0.5, 0.5))[0, 0, :, 0], [0, 204, 255, 153], atol=0.1)


def test_blur_keeps_the_mean_and_the_border():
    """keras-cv alone takes black for what lies beyond the border; a flat picture must stay as it is."""
    flat = tf.fill([2, 32, 16, 3], 200.0)
    np.testing.assert_allclose(random_blur(1.0)(flat, numbers(0.5, 1.0, count=2)), flat, atol=1e-3)
    noise = tf.constant(images(2).astype(np.float32))
    blurred = random_blur(1.0)(noise, [numbers(0.5, count=2)[0], tf.reshape([0.0, 1.0], [2, 1, 1, 1])]).numpy()
    np.testing.assert_allclose(blurred[0], noise[0], atol=1e-3)  # a deviation of 0.1 pixels
    assert blurred[1].std() < 0.8 * images(2)[1].std()


def test_probabilities_are_shares_of_the_images():
    """400 images at 0.3: 120 expected, standard deviation 9.2."""
    layer = build_augmentation(random_grayscale=0.3, seed=1)
    changed = layer(np.repeat(images(1), 400, 0), training=True).numpy()
    assert 84 <= sum(np.ptp(image, axis=-1).max() < 0.01 for image in changed) <= 156


@pytest.mark.once
def test_the_same_seed_draws_the_same_again_eagerly_and_in_graphs():
    def drawn(seed, in_graph=False):
        layer = build_augmentation(**STRENGTHS, seed=seed)

        def step():
            return layer(images(), training=True)

        step = tf.function(step) if in_graph else step
        return step().numpy()

    eager = drawn(4)
    np.testing.assert_array_equal(drawn(4), eager)
    np.testing.assert_allclose(drawn(4, in_graph=True), eager, atol=0.01)
    assert np.mean(np.abs(drawn(5) - eager) > 1) > 0.5


def test_under_xla_draws_come_again_too():
    """Its generator gives other numbers than TensorFlow's for the same seed, but the same each time."""
    layer = build_augmentation(**STRENGTHS, seed=4)
    start = layer.get_weights()

    @tf.function(jit_compile=True)
    def step():
        return layer(tf.constant(images()), training=True)

    first, second = step().numpy(), step().numpy()
    layer.set_weights(start)
    np.testing.assert_array_equal(step(), first)
    assert np.mean(np.abs(first - second) > 1) > 0.5


@pytest.mark.once
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_it_computes_in_float32_under_every_policy(policy):
    expected = build_augmentation(**STRENGTHS, seed=2)(images(), training=True).numpy()
    keras.mixed_precision.set_global_policy(policy)
    trainer = trainer_of(build_augmentation(**STRENGTHS, seed=2))
    changed = trainer.augmentation(images(), training=True)
    assert changed.dtype == tf.float32
    np.testing.assert_array_equal(changed, expected)
    # And the trainer does not round what it hands on: 254.4 is 254 in bfloat16, and in float16 254.375.
    fine = np.full((1, 32, 16, 3), 254.4, np.float32)
    np.testing.assert_array_equal(trainer(fine), trainer.embedder(fine))
    assert np.isfinite(trainer.fit(one_batch(), steps_per_epoch=2, verbose=0).history["loss"][0])


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_a_step_trains_on_the_changed_images(run_eagerly):
    """Its loss is that of a trainer without augmentation on images changed beforehand."""
    changed = build_augmentation(color_jitter=0.5, seed=2)(images(), training=True).numpy()
    trainer = trainer_of(build_augmentation(color_jitter=0.5, seed=2), run_eagerly=run_eagerly)
    plain = trainer_of()
    plain.embedder.set_weights(trainer.embedder.get_weights())
    plain_loss = plain.train_on_batch(images(), PERSON_IDS, return_dict=True)["loss"]
    plain.embedder.set_weights(trainer.embedder.get_weights())
    plain.reset_metrics()
    expected = plain.train_on_batch(changed, PERSON_IDS, return_dict=True)["loss"]
    loss = trainer.train_on_batch(images(), PERSON_IDS, return_dict=True)["loss"]
    assert loss == pytest.approx(expected, rel=1e-4)
    assert abs(loss - plain_loss) > 1e-3


def test_nothing_is_changed_or_drawn_out_of_training():
    trainer, plain = trainer_of(build_augmentation(**STRENGTHS)), trainer_of()
    plain.embedder.set_weights(trainer.embedder.get_weights())
    assert len(trainer.embedder.weights) == len(plain.embedder.weights)  # what ships has no part of it
    np.testing.assert_array_equal(trainer.predict(images(), verbose=0), plain.predict(images(), verbose=0))
    reports = [t.evaluate(images(), PERSON_IDS, batch_size=12, verbose=0, return_dict=True) for t in (trainer, plain)]
    assert reports[0] == reports[1]
    assert trainer.augmentation.get_weights()[0].tolist() == [0, 0]


@pytest.mark.once
def test_without_strength_there_is_no_layer_and_nothing_in_graph_or_checkpoint(tmp_path):
    assert build_augmentation(color_jitter=0.0, random_blur=0.0, seed=3) is None

    def graph(trainer):
        step = tf.function(lambda: trainer.train_step((tf.constant(images()), tf.constant(PERSON_IDS))))
        return [node.op for node in step.get_concrete_function().graph.as_graph_def().node]

    assert not any("StatelessRandom" in op for op in graph(trainer_of(None)))
    assert any("StatelessRandom" in op for op in graph(trainer_of(build_augmentation(random_grayscale=0.5))))
    # A checkpoint of before has these parts and no others.
    trainer = trainer_of(None)
    assert list(trainer.learned_parts) == ["embedder"]
    Checkpoints(tmp_path, trainer).save(1)
    with pytest.raises(ReidError, match="Give the flags that it was made with"):
        Checkpoints(tmp_path, trainer_of(build_augmentation(random_blur=0.5))).restore_newest()


def test_its_state_is_one_variable_in_the_checkpoint(tmp_path):
    trainer = trainer_of(build_augmentation(random_grayscale=0.5, seed=5))
    checkpoints = Checkpoints(tmp_path, trainer)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    checkpoints.save(3)
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "step-00000003" / "checkpoint"))]
    assert sum(name.startswith("augmentation") for name in names) == 1
    other = trainer_of(build_augmentation(random_grayscale=0.5, seed=6))
    assert Checkpoints(tmp_path, other).restore_newest() == 3
    assert other.augmentation.get_weights()[0].tolist() == [5, 3]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("augmented_runs.py")), str(tmp_path_factory.mktemp("run"))]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.once
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(alone):
    assert alone["step"] == 2
    assert alone["resumed"] == alone["uninterrupted"] != alone["halfway"]


@pytest.mark.once
def test_replicas_draw_apart(alone):
    """Two batches on two replicas are four draws, of two batches."""
    assert alone["replicas"] == {"different": 4, "state": [3, 2]}


def test_every_argument_survives_its_config():
    layer = build_augmentation(**STRENGTHS, seed=9)
    again = DeviceAugmentation.from_config(layer.get_config())
    np.testing.assert_array_equal(again(images(), training=True), layer(images(), training=True))


@pytest.mark.parametrize("name", STRENGTHS)
@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_out_of_range_are_refused(name, strength):
    with pytest.raises(ReidError, match=f"{name}={strength}, expected a number from 0 to 1"):
        build_augmentation(**{name: strength})


def test_the_flags_reach_the_trainer(monkeypatch, synthetic_dir, tmp_path, refused):
    def trainer(embedder, *, augmentation, **kwargs):
        raise ReidError("no augmentation" if augmentation is None else json.dumps(augmentation.get_config()))

    monkeypatch.setattr("keras_reid.training.run_network.build_embedder", lambda **kwargs: None)
    monkeypatch.setattr("keras_reid.training.run_network.TripletTrainer", trainer)
    arguments = train_arguments(synthetic_dir, tmp_path / "run", "--seed=8")
    assert "no augmentation" in refused(train.main, arguments)
    config = refused(train.main, [*arguments, *(f"--{name}={strength}" for name, strength in STRENGTHS.items())])
    assert {**STRENGTHS, "seed": 8}.items() <= json.loads(config[len("error: ") :]).items()
    for name in STRENGTHS:
        assert name in refused(train.main, [*arguments, f"--{name}=1.5"])
