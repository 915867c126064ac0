"""Identity cross-entropy and center loss beside the loss on pairs: against formulas by hand, in a step, resumed."""

import numpy as np
import pytest

from keras_reid import TripletTrainer, build_embedder
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss, CircleLoss, batch_hard_triplet_loss
from keras_reid.training import Checkpoints
from keras_reid.training.identity_losses import CenterLoss, IdentityLoss
from keras_reid.training.trainer import _share_of_mean
from tests.conftest import tiny_embedder
from tests.losses.oracle import numerical_gradient
from tests.training.test_trainer import PERSON_IDS, images, one_batch

KNOWN = [30, 3, 5, 9, 3, 30, 9]  # unsorted, repeated: 3, 5, 9, 30 are numbered 0 to 3


def classifier_of(layer):
    return layer._classifier.kernel


# --- Cross-entropy ---


def cross_entropy(features, kernel, numbers, smoothing):
    """Of label-smoothed one-hot rows, by hand; without a neck."""
    logits = np.asarray(features, np.float64) @ kernel
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    classes = logits.shape[1]
    targets = np.eye(classes)[numbers] * (1 - smoothing) + smoothing / classes
    return -(targets * log_probabilities).sum(axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_by_hand(smoothing):
    layer = IdentityLoss(KNOWN, label_smoothing=smoothing, own_neck=False)
    layer.build([None, 5])
    features = np.random.normal(size=(4, 5)).astype(np.float32)
    classifier_of(layer).assign(np.random.normal(size=(5, 4)))
    with tf.GradientTape() as tape:
        x = tf.Variable(features)
        losses, recognized = layer(x, tf.constant([[9], [3], [30], [5]]))
    kernel, numbers = classifier_of(layer).numpy(), [2, 0, 3, 1]
    np.testing.assert_allclose(losses, cross_entropy(features, kernel, numbers, smoothing), rtol=1e-5)
    np.testing.assert_array_equal(recognized, np.argmax(features @ kernel, axis=1) == numbers)
    expected = numerical_gradient(lambda x: cross_entropy(x, kernel, numbers, smoothing).sum(), features)
    np.testing.assert_allclose(tape.gradient(losses, x), expected, atol=1e-5)


def test_at_the_start_every_identity_is_as_likely():
    """ln 4 for any label: the classifier begins near 0."""
    layer = IdentityLoss(KNOWN, label_smoothing=0.1, own_neck=True)
    losses, _ = layer(tf.random.normal([8, 5]), tf.constant([3, 5, 9, 30] * 2), training=True)
    np.testing.assert_allclose(losses, np.log(4), rtol=1e-2)


def test_the_neck_normalizes_the_batch_and_has_no_shift():
    layer = IdentityLoss(KNOWN, label_smoothing=0.0, own_neck=True)
    layer.build([None, 5])
    classifier_of(layer).assign(np.random.normal(size=(5, 4)))
    features = np.random.normal(3, 7, size=(8, 5)).astype(np.float32)
    numbers = np.tile([0, 1, 2, 3], 2)
    losses, _ = layer(features, tf.constant(np.sort(np.unique(KNOWN))[numbers]), training=True)
    normal = (features - features.mean(0)) / features.std(0)
    np.testing.assert_allclose(losses, cross_entropy(normal, classifier_of(layer).numpy(), numbers, 0), rtol=1e-3)
    assert [weight.name.split("/")[-1] for weight in layer.trainable_weights] == ["gamma:0", "kernel:0"]


@pytest.mark.parametrize("layer", [IdentityLoss(KNOWN, label_smoothing=0.1, own_neck=False), CenterLoss(KNOWN)])
def test_an_id_that_is_not_of_the_training_set_is_an_error(layer):
    """Between two that are known, and beyond all: it must not pass as its neighbor."""
    for stranger in (4, 31, -1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not among person_ids"):
            layer(tf.ones([2, 5]), tf.constant([3, stranger]))


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
def test_the_metric_loss_comes_in_after_its_first_steps(compiled):
    """SGD at each step t of 8 moves the weights by the gradient of w_t * batch hard + cross-entropy."""
    weights = [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    trainer = TripletTrainer(
        tiny_embedder(), person_ids=PERSON_IDS, identity_loss_weight=1.0, metric_loss_steps=(2, 4), label_smoothing=0.0
    )
    trainer.compile(keras.optimizers.SGD(0.1), loss=BatchHardTripletLoss("soft"), **compiled)
    variables = trainer.trainable_variables
    for weight in weights:
        before = [variable.numpy() for variable in trainer.embedder.weights]
        with tf.GradientTape() as tape:
            embeddings = trainer.embedder(images(), training=True)
            metric = batch_hard_triplet_loss(PERSON_IDS, embeddings, margin="soft")
            identity = tf.reduce_mean(trainer.identity_loss(embeddings, tf.constant(PERSON_IDS), training=True)[0])
            loss = weight * metric + identity
        gradients = tape.gradient(loss, variables)
        expected = [variable.numpy() - 0.1 * gradient.numpy() for variable, gradient in zip(variables, gradients)]
        for variable, value in zip(trainer.embedder.weights, before):
            variable.assign(value)
        logs = trainer.fit(one_batch(), steps_per_epoch=1, verbose=0).history
        for variable, value in zip(variables, expected):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5)
        assert logs["metric_loss_weight"] == [pytest.approx(weight)]
        assert logs["metric_loss"] == [pytest.approx(float(metric), rel=1e-4)]  # whatever its weight
        assert logs["loss"] == [pytest.approx(float(loss), rel=1e-4)]


def test_the_metric_loss_alone_cannot_begin_late():
    with pytest.raises(ReidError, match="metric_loss_steps needs identity_loss_weight above 0"):
        TripletTrainer(tiny_embedder(), metric_loss_steps=(1, 0))


# --- Center loss ---


def test_centers_follow_by_the_rule_of_the_paper():
    """Identity 3 has 2 images at (2, 0) and (4, 0): its center goes from 0 by 0.5 * (2 + 4) / (1 + 2) = 1; 9 has one
    image at (0, 8): 0.5 * 8 / 2 = 2; 5 and 30 stay. The losses are 2, 8 and 32, then 0.5, 4.5 and 18."""
    layer = CenterLoss(KNOWN)
    features, person_ids = tf.constant([[2.0, 0], [4, 0], [0, 8]]), tf.constant([3, 3, 9])
    np.testing.assert_allclose(layer(features, person_ids), [2, 8, 32])
    layer.update(features, person_ids)
    np.testing.assert_allclose(layer.centers, [[1, 0], [0, 0], [0, 2], [0, 0]])
    np.testing.assert_allclose(layer(features, person_ids), [0.5, 4.5, 18])


def test_center_loss_pulls_each_feature_to_its_center():
    """d/dx of |x - c|^2 / 2 is x - c; the center itself is moved by its own rule, not by the gradient."""
    layer = CenterLoss(KNOWN)
    x = tf.Variable([[2.0, 5.0]])
    with tf.GradientTape() as tape:
        loss = layer(x, tf.constant([5]))
    np.testing.assert_allclose(tape.gradient(loss, x), [[2, 5]])
    assert not layer.trainable_weights


def test_center_loss_beyond_float32_is_the_largest_number_of_it():
    """|x|^2 / 2 = 1e60 twice; the gradient of their mean, x / 2, is a float32."""
    x = tf.Variable(tf.fill([2, 2], 1e30))
    with tf.GradientTape() as tape:
        loss = _share_of_mean(CenterLoss(KNOWN)(x, tf.constant([5, 9])))
    assert loss == tf.float32.max
    np.testing.assert_allclose(tape.gradient(loss, x), tf.fill([2, 2], 5e29))


# --- In the trainer ---


def compiled(loss=None, embedder=None, learning_rate=0.1, **weights):
    trainer = TripletTrainer(embedder or tiny_embedder(), person_ids=KNOWN, **weights)
    trainer.compile(keras.optimizers.SGD(learning_rate), loss or BatchHardTripletLoss())
    return trainer


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_a_step_is_plain_gradient_descent_on_the_weighted_sum(run_eagerly):
    trainer = compiled(identity_loss_weight=0.7, center_loss_weight=0.2, label_smoothing=0.3)
    trainer.run_eagerly = run_eagerly
    trainer.center_loss.centers.assign(tf.random.normal(trainer.center_loss.centers.shape))
    twin = keras.models.clone_model(trainer.embedder)
    twin.set_weights(trainer.embedder.get_weights())
    kernel, centers = tf.Variable(classifier_of(trainer.identity_loss)), trainer.center_loss.centers.numpy()
    numbers = np.searchsorted([3, 5, 9, 30], PERSON_IDS)
    with tf.GradientTape() as tape:
        embeddings = twin(images(), training=True)
        mean, variance = tf.nn.moments(embeddings, 0)
        logits = (embeddings - mean) / tf.sqrt(variance + 1e-5) @ kernel
        targets = tf.one_hot(numbers, 4) * 0.7 + 0.3 / 4
        identity = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        center = tf.reduce_mean(tf.reduce_sum((embeddings - tf.gather(centers, numbers)) ** 2, axis=1)) / 2
        metric = batch_hard_triplet_loss(PERSON_IDS, embeddings)
        loss = metric + 0.7 * identity + 0.2 * center
    variables = [*twin.trainable_variables, kernel]
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
        variable.assign_sub(0.1 * gradient)

    logs = trainer.fit(one_batch(), steps_per_epoch=1, verbose=0).history

    expected_logs = {"loss": loss, "metric_loss": metric, "identity_loss": identity, "center_loss": center}
    for name, expected in expected_logs.items():
        assert logs[name][0] == pytest.approx(float(expected), rel=1e-4)
    for expected, actual in zip(twin.get_weights(), trainer.embedder.get_weights()):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(classifier_of(trainer.identity_loss), kernel, atol=1e-5)
    assert np.abs(trainer.center_loss.centers.numpy() - centers).max() > 0.01


def test_a_bnneck_parts_the_features():
    """The pairs look before the neck, the classifier behind it; what ships has no classifier."""
    embedder = build_embedder(image_size=(32, 16), embedding_size=8, head="bnneck", normalize_embedding=True)
    trainer = compiled(CircleLoss(), embedder, 0.0, identity_loss_weight=1.0, center_loss_weight=1.0)
    before, behind = trainer._both_features(tf.cast(images(), tf.float32))
    neck = embedder.get_layer("head_neck_bn")
    np.testing.assert_allclose(behind, neck(before, training=True), atol=1e-4)
    assert not np.allclose(np.linalg.norm(before, axis=1), 1)
    # The classifier is all that is learned beside the embedder: no second neck.
    added = {weight.ref() for weight in trainer.trainable_variables} - {v.ref() for v in embedder.trainable_variables}
    assert added == {classifier_of(trainer.identity_loss).ref()}
    logs = trainer.fit(one_batch(), steps_per_epoch=1, verbose=0).history
    assert logs["identity_loss"][0] == pytest.approx(np.log(4), rel=1e-2)


def test_it_learns_who_it_is():
    trainer = compiled(BatchHardTripletLoss("soft"), identity_loss_weight=1.0, center_loss_weight=5e-4)
    history = trainer.fit(one_batch(), steps_per_epoch=1, epochs=40, verbose=0).history
    assert history["identity_accuracy"][-1] > 0.9 > history["identity_accuracy"][0] + 0.1
    assert history["identity_loss"][-1] < history["identity_loss"][0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.mixed_precision.set_global_policy(policy)
    trainer = compiled(identity_loss_weight=1.0, center_loss_weight=0.1)
    logs = trainer.fit(one_batch(), steps_per_epoch=3, verbose=0).history
    assert all(np.isfinite(values[0]) for values in logs.values())
    assert trainer.center_loss.centers.dtype == classifier_of(trainer.identity_loss).dtype == tf.float32


def test_xla_makes_the_same_step():
    logs = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        trainer = TripletTrainer(tiny_embedder(), person_ids=KNOWN, identity_loss_weight=1.0, center_loss_weight=0.1)
        trainer.compile(keras.optimizers.SGD(0.1), BatchHardTripletLoss("soft"), jit_compile=jit_compile)
        logs.append(trainer.fit(one_batch(), steps_per_epoch=3, verbose=0).history)
    for name, values in logs[0].items():
        assert logs[1][name][0] == pytest.approx(values[0], rel=1e-3), name


def test_classifier_and_centers_go_on_where_they_were(tmp_path):
    trainer = compiled(identity_loss_weight=1.0, center_loss_weight=0.1)
    checkpoints = Checkpoints(tmp_path, trainer)
    trainer.fit(one_batch(), steps_per_epoch=3, verbose=0)
    checkpoints.save(3)
    again = compiled(identity_loss_weight=1.0, center_loss_weight=0.1)
    assert Checkpoints(tmp_path, again).restore_newest() == 3
    for one, other in (
        (trainer.center_loss.centers, again.center_loss.centers),
        (classifier_of(trainer.identity_loss), classifier_of(again.identity_loss)),
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ReidError, match="belongs to another architecture"):
        Checkpoints(tmp_path, compiled()).restore_newest()


def test_validation_knows_nothing_of_the_training_identities():
    trainer = compiled(identity_loss_weight=1.0)
    report = trainer.evaluate(images(), PERSON_IDS + 100, batch_size=12, verbose=0, return_dict=True)
    assert "identity_loss" not in report and report["loss"] > 0


def test_arguments_that_cannot_be():
    for weights, message in (
        ({"identity_loss_weight": -1.0}, "identity_loss_weight=-1.0, expected"),
        ({"center_loss_weight": float("nan")}, "center_loss_weight=nan, expected"),
        ({"identity_loss_weight": 1.0, "label_smoothing": 1.0}, "label_smoothing=1.0, expected"),
        ({"identity_loss_weight": 1.0, "person_ids": None}, "needs person_ids"),
        ({"center_loss_weight": 1.0, "person_ids": [5, 5]}, "1 identities in person_ids"),
    ):
        with pytest.raises(ReidError, match=message):
            TripletTrainer(tiny_embedder(), **{"person_ids": KNOWN, **weights})
