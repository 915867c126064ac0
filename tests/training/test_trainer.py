"""The trainer: one step against the same step by hand, in each precision, and what it reports."""

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss, batch_hard_triplet_loss
from tests.conftest import tiny_embedder

PERSON_IDS = np.repeat([3, 5, 9], 4).astype(np.int32)


def images(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 16, 3), np.uint8)


def compiled(margin=0.3, learning_rate=0.1, **kwargs) -> TripletTrainer:
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(learning_rate), loss=BatchHardTripletLoss(margin=margin), **kwargs)
    return trainer


def one_batch() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors((images(), PERSON_IDS)).repeat()


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_a_step_is_plain_gradient_descent_on_the_loss(run_eagerly):
    trainer = compiled(run_eagerly=run_eagerly)
    twin = keras.models.clone_model(trainer.embedder)
    twin.set_weights(trainer.embedder.get_weights())
    with tf.GradientTape() as tape:
        loss = batch_hard_triplet_loss(PERSON_IDS, twin(images(), training=True), margin=0.3)
    for variable, gradient in zip(twin.trainable_variables, tape.gradient(loss, twin.trainable_variables)):
        variable.assign_sub(0.1 * gradient)

    history = trainer.fit(one_batch(), steps_per_epoch=1, verbose=0).history

    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    for expected, actual in zip(twin.get_weights(), trainer.embedder.get_weights()):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_reported_statistics_match_naive_loops():
    trainer = compiled(learning_rate=0.0)
    embeddings = trainer.embedder(images(), training=True).numpy().astype(np.float64)
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)
    same = PERSON_IDS[:, None] == PERSON_IDS[None]
    positives = [max(distances[a, p] for p in range(12) if same[a, p] and p != a) for a in range(12)]
    negatives = [min(distances[a, n] for n in range(12) if not same[a, n]) for a in range(12)]

    logs = trainer.fit(one_batch(), steps_per_epoch=2, verbose=0).history

    assert logs["hardest_positive_distance"][0] == pytest.approx(np.mean(positives), rel=1e-4)
    assert logs["hardest_negative_distance"][0] == pytest.approx(np.mean(negatives), rel=1e-4)
    assert logs["active_triplets"][0] == pytest.approx(np.mean(np.subtract(positives, negatives) + 0.3 > 0))
    assert logs["embedding_norm"][0] == pytest.approx(np.linalg.norm(embeddings, axis=1).mean(), rel=1e-4)
    assert logs["learning_rate"][0] == 0.0


def test_active_triplets_of_the_soft_margin_are_those_in_the_wrong_order():
    """Identities 1 and 2 at 0, 1 and 10, 14: no anchor has a negative nearer than its positive, all losses are > 0."""
    points = keras.Sequential([keras.layers.InputLayer((1,)), keras.layers.Activation("linear")])
    trainer = TripletTrainer(points)
    trainer.compile(keras.optimizers.SGD(0.0), loss=BatchHardTripletLoss(margin="soft"))
    logs = trainer.evaluate(np.float32([[0], [1], [10], [14]]), np.int32([1, 1, 2, 2]), batch_size=4, verbose=0)
    report = dict(zip(trainer.metrics_names, logs))
    assert report["active_triplets"] == 0.0
    # softplus of 1 - 10, 1 - 9, 4 - 9, 4 - 13
    assert report["loss"] == pytest.approx(np.log1p(np.exp([-9.0, -8.0, -5.0, -9.0])).mean(), rel=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_it_learns_color_despite_brightness_in_every_precision(policy):
    keras.mixed_precision.set_global_policy(policy)
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.Adam(0.003), loss=BatchHardTripletLoss(margin="soft"))
    tint = np.int64([[0, 0, 6], [6, 0, 0], [0, 6, 0]]).repeat(4, 0)[:, None, None]
    brightness = np.random.default_rng(1).integers(0, 200, (12, 1, 1, 1))
    colored = (images().astype(np.int64) // 8 + brightness + tint).astype(np.uint8)
    dataset = tf.data.Dataset.from_tensors((colored, PERSON_IDS)).repeat()
    losses = trainer.fit(dataset, steps_per_epoch=20, epochs=5, verbose=0).history["loss"]
    assert losses[0] > 0.5
    assert losses[-1] < 0.5 * losses[0]
    assert trainer(colored).dtype == tf.float32
    scales = isinstance(trainer.optimizer, keras.mixed_precision.LossScaleOptimizer)
    assert scales == (policy == "mixed_float16")


def test_loss_scaling_follows_the_embedder_not_the_policy_of_the_moment():
    keras.mixed_precision.set_global_policy("mixed_float16")
    embedder = tiny_embedder()
    keras.mixed_precision.set_global_policy("float32")
    trainer = TripletTrainer(embedder)
    trainer.compile(keras.optimizers.SGD(0.1), loss=BatchHardTripletLoss())
    assert isinstance(trainer.optimizer, keras.mixed_precision.LossScaleOptimizer)


@pytest.mark.parametrize("schedule", [0.5, keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.1)])
def test_legacy_optimizers_report_their_learning_rate_too(schedule):
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.legacy.SGD(schedule), loss=BatchHardTripletLoss())
    logs = trainer.fit(one_batch(), steps_per_epoch=1, verbose=0).history
    assert logs["learning_rate"][0] == 0.5  # of the step that was made, as the other class gives it


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ReidError, match="reports its own metrics"):
        TripletTrainer(tiny_embedder()).compile("sgd", BatchHardTripletLoss(), metrics=["accuracy"])
    with pytest.raises(ReidError, match="without sample weights"):
        compiled(run_eagerly=True).fit(images(), PERSON_IDS, sample_weight=np.ones(12), batch_size=12, verbose=0)


def test_statistics_start_anew_each_epoch():
    trainer = compiled(learning_rate=0.0)
    history = trainer.fit(one_batch(), steps_per_epoch=1, epochs=3, verbose=0).history
    assert len(set(np.round(history["hardest_positive_distance"], 6))) == 1


def test_a_step_compiled_by_xla_is_the_same_step():
    histories, weights = [], []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        trainer = TripletTrainer(
            tiny_embedder(), person_ids=PERSON_IDS, identity_loss_weight=1.0, center_loss_weight=0.1, ema=0.9
        )
        # Not Adam, which moves by the sign where a gradient vanishes (a bias before BatchNormalization).
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=1.0)
        trainer.compile(optimizer, loss=BatchHardTripletLoss(), jit_compile=jit_compile)
        histories.append(trainer.fit(one_batch(), steps_per_epoch=3, epochs=2, verbose=0).history)
        weights.append(trainer.embedder.get_weights())
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-3, err_msg=name)
    for one, two in zip(*weights):
        np.testing.assert_allclose(two, one, atol=1e-4)
