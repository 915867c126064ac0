"""The moving average of the weights: its formula, what ships, what is left alone."""

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.evaluation import RetrievalEvaluation
from keras_reid.evaluation.scoring import score
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch

NAMES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "kernel", "bias")


def trainer_of(ema: float, *, policy: str = "float32", **compiled) -> TripletTrainer:
    keras.mixed_precision.set_global_policy(policy)
    trainer = TripletTrainer(tiny_embedder(), ema=ema)
    trainer.compile(keras.optimizers.SGD(0.5), loss=BatchHardTripletLoss(margin="soft"), **compiled)
    return trainer


class Weights(keras.callbacks.Callback):
    """Keeps the embedder's weights after each step."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_train_batch_end(self, batch, logs=None):
        self.kept.append(self.model.embedder.get_weights())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
def test_it_is_the_exponential_moving_average_of_weights_and_statistics(policy, compiled):
    """By hand: a_0 = w_0, a_t = 0.8 a_(t-1) + 0.2 w_t, for BatchNormalization's statistics as for weights."""
    trainer, weights = trainer_of(0.8, policy=policy, **compiled), Weights()
    expected = trainer.embedder.get_weights()
    trainer.fit(one_batch(), steps_per_epoch=4, verbose=0, callbacks=[weights])
    for newest in weights.kept:
        expected = [0.8 * average + 0.2 * weight for average, weight in zip(expected, newest)]
    shipped = trainer.shipped_embedder()
    assert len(expected) == 8 and {layer.compute_dtype for layer in shipped.layers} == {"float32"}
    for by_hand, weight in zip(expected, shipped.get_weights()):
        np.testing.assert_allclose(weight, by_hand, rtol=1e-5, atol=1e-7)
    live = zip(shipped.get_weights(), trainer.embedder.get_weights())
    assert max(np.abs(weight - newest).max() for weight, newest in live) > 1e-4  # those that train are not the average


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_before_its_start_it_is_the_weights_themselves(policy):
    """By hand, from step 2 on: a_2 = w_2, a_t = 0.8 a_(t-1) + 0.2 w_t."""
    keras.mixed_precision.set_global_policy(policy)
    trainer, weights = TripletTrainer(tiny_embedder(), ema=0.8, ema_start_step=2), Weights()
    trainer.compile(keras.optimizers.SGD(0.5), loss=BatchHardTripletLoss(margin="soft"))
    trainer.fit(one_batch(), steps_per_epoch=2, verbose=0, callbacks=[weights])
    for weight, live in zip(trainer.shipped_embedder().get_weights(), weights.kept[1]):
        np.testing.assert_array_equal(weight, live)
    trainer.fit(one_batch(), steps_per_epoch=2, verbose=0, callbacks=[weights])
    expected = weights.kept[1]
    for newest in weights.kept[2:]:
        expected = [0.8 * average + 0.2 * weight for average, weight in zip(expected, newest)]
    for by_hand, weight in zip(expected, trainer.shipped_embedder().get_weights()):
        np.testing.assert_allclose(weight, by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_statistics_are_renewed_under_the_weights_that_ship(ema):
    """The mean over batches of the mean and (unbiased) variance of what the normalization gets, in NumPy."""
    trainer = trainer_of(ema)
    batches = [np.random.default_rng(seed).integers(0, 256, (6, 32, 16, 3)).astype("float32") for seed in (1, 2, 3)]
    trainer.statistics_batches = batches
    untrained = trainer.shipped_embedder().get_weights()
    for weight, live in zip(untrained, trainer.embedder.get_weights()):  # a network that has not learned stays as it is
        np.testing.assert_array_equal(weight, live)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    moving = trainer.shipped_embedder(renewed=False).get_weights()
    shipped = trainer.shipped_embedder()
    (norm,) = (layer for layer in shipped.layers if isinstance(layer, keras.layers.BatchNormalization))
    features = [keras.Model(shipped.input, norm.input)(batch).numpy().astype(np.float64) for batch in batches]
    rows = [one.reshape(-1, 8) for one in features]
    np.testing.assert_allclose(norm.moving_mean, np.mean([one.mean(0) for one in rows], axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, np.mean([one.var(0, ddof=1) for one in rows], axis=0), rtol=1e-4)
    assert norm.momentum == 0.99
    renewed = [name for name, one, two in zip(NAMES, moving, shipped.get_weights()) if not np.array_equal(one, two)]
    assert renewed == ["moving_mean", "moving_variance"]  # and nothing else


def test_without_it_the_weights_themselves_ship():
    trainer = trainer_of(0.0)
    trainer.fit(one_batch(), steps_per_epoch=2, verbose=0)
    assert trainer.average is None
    for weight, live in zip(trainer.shipped_embedder().get_weights(), trainer.embedder.get_weights()):
        np.testing.assert_array_equal(weight, live)


def test_it_does_not_change_what_is_learned():
    with_average, without = trainer_of(0.9), trainer_of(0.0)
    without.embedder.set_weights(with_average.embedder.get_weights())
    for trainer in (with_average, without):
        trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    for one, other in zip(with_average.embedder.get_weights(), without.embedder.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_the_average_is_what_is_scored(tiny_catalog):
    trainer = trainer_of(0.9)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    evaluation = RetrievalEvaluation(tiny_catalog)
    evaluation.set_model(trainer)
    evaluation.on_epoch_end(0, {})
    averaged = evaluation.score.embedded.query_embeddings
    first = trainer.shipped_embedder()
    assert first is trainer.shipped_embedder()  # one copy, however often it is asked for
    by_hand = score(_artifact(first), tiny_catalog)
    np.testing.assert_array_equal(averaged, by_hand.embedded.query_embeddings)
    assert len(trainer.trainable_variables) == len(trainer.embedder.trainable_variables)


def _artifact(model):
    from keras_reid.artifacts import artifact_of

    return artifact_of(model)


def test_a_checkpoint_holds_it_and_refuses_a_run_without_it(tmp_path):
    trainer = trainer_of(0.9)
    checkpoints = Checkpoints(tmp_path, trainer)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    checkpoints.save(3)
    other = trainer_of(0.9)
    assert Checkpoints(tmp_path, other).restore_newest() == 3
    for one, two in zip(trainer.average.values, other.average.values):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    with pytest.raises(ReidError, match="belongs to another architecture or optimizer"):
        Checkpoints(tmp_path, trainer_of(0.0)).restore_newest()


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_another_decay_is_refused(decay):
    with pytest.raises(ReidError, match="ema=.*, expected a number from 0 to below 1"):
        TripletTrainer(tiny_embedder(), ema=decay)
