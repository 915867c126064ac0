"""Circle loss against naive float64 loops of the paper's equations, its gradient, and the degenerate batches."""

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import CircleLoss, circle_loss


def oracle(person_ids, embeddings, margin, scale) -> float:
    """Sun et al. 2020, equation 4, per anchor, with the self-paced weights of equation 5 and the margins of 8."""
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    losses = []
    for a, person in enumerate(person_ids):
        positives, negatives = [], []
        for b, other in enumerate(person_ids):
            s = float(unit[a] @ unit[b])
            if other != person:
                negatives.append(np.exp(scale * max(0, s + margin) * (s - margin)))
            elif a != b:
                positives.append(np.exp(-scale * max(0, 1 + margin - s) * (s - (1 - margin))))
        if positives and negatives:
            losses.append(np.log(1 + sum(negatives) * sum(positives)))
    return float(np.mean(losses)) if losses else 0.0


def batch(people=(3, 3, 3, 7, 7, 900, 900, 900), width=5):
    return np.int32(people), np.random.default_rng(0).normal(size=(len(people), width)).astype(np.float32)


@pytest.mark.parametrize(("margin", "scale"), [(0.25, 32), (0.4, 8), (0.0, 1)])
@pytest.mark.parametrize("column", [False, True])
def test_value(margin, scale, column):
    person_ids, embeddings = batch()
    expected = oracle(person_ids, embeddings, margin, scale)
    labels = person_ids[:, None] if column else person_ids
    assert float(circle_loss(labels, embeddings, margin=margin, scale=scale)) == pytest.approx(expected, rel=1e-5)
    assert float(CircleLoss(margin, scale)(labels, embeddings)) == pytest.approx(expected, rel=1e-5)


def test_gradient_is_that_of_fixed_weights():
    """The weights are detached: at scale 1 and margin 0 the numeric derivative must hold them where they are."""
    person_ids, embeddings = batch((1, 1, 2), width=2)

    def with_fixed_weights(x):
        unit, fixed = x / np.linalg.norm(x, axis=1, keepdims=True), embeddings.astype(np.float64)
        s, w = unit @ unit.T, (fixed / np.linalg.norm(fixed, axis=1, keepdims=True))
        w = w @ w.T
        terms = [
            np.log1p(np.exp(max(0, w[a, 2]) * s[a, 2]) * np.exp(-max(0, 1 - w[a, 1 - a]) * (s[a, 1 - a] - 1)))
            for a in range(2)
        ]
        return np.mean(terms)

    variable = tf.Variable(embeddings)
    with tf.GradientTape() as tape:
        loss = circle_loss(person_ids, variable, margin=0.0, scale=1)
    gradient = tape.gradient(loss, variable).numpy()
    for index in np.ndindex(*embeddings.shape):
        step = np.zeros(embeddings.shape)
        step[index] = 1e-6
        numeric = (with_fixed_weights(embeddings + step) - with_fixed_weights(embeddings - step)) / 2e-6
        assert gradient[index] == pytest.approx(numeric, abs=1e-5)


@pytest.mark.parametrize("people", [(1, 2, 3), (1, 1, 1), (1,), ()], ids=["different", "one identity", "B=1", "B=0"])
def test_no_valid_anchor_is_zero_without_gradient(people):
    person_ids, embeddings = batch(people)
    variable = tf.Variable(embeddings.reshape(len(people), 5))
    with tf.GradientTape() as tape:
        loss = circle_loss(person_ids, variable)
    assert float(loss) == 0.0
    assert np.all(tape.gradient(loss, variable).numpy() == 0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_embeddings_stay_finite(value):
    variable = tf.Variable(np.full((4, 3), value, np.float32))
    with tf.GradientTape() as tape:
        loss = circle_loss(np.int32([1, 1, 2, 2]), variable)
    assert np.isfinite(float(loss)) and np.isfinite(tape.gradient(loss, variable).numpy()).all()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_embeddings_are_computed_in_float32(dtype):
    person_ids, embeddings = batch()
    rounded = tf.cast(embeddings, dtype)
    expected = circle_loss(person_ids, tf.cast(rounded, tf.float32))
    assert float(circle_loss(person_ids, rounded)) == float(expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_graph_of_unknown_batch_size(jit_compile):
    signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 5], tf.float32)]
    function = tf.function(circle_loss, input_signature=signature, jit_compile=jit_compile)
    for people in ((1, 1, 2), (1, 1, 2, 2, 5)):
        person_ids, embeddings = batch(people)
        assert float(function(person_ids, embeddings)) == pytest.approx(float(circle_loss(person_ids, embeddings)))


def test_config_and_bad_values():
    loss = keras.losses.deserialize(
        keras.losses.serialize(CircleLoss(0.3, 64, name="mine")), custom_objects={"CircleLoss": CircleLoss}
    )
    assert (loss.margin, loss.scale, loss.name) == (0.3, 64.0, "mine")
    for margin, scale in (("soft", 32), (1.5, 32), (0.25, 0), (float("nan"), 32)):
        with pytest.raises(ReidError, match="expected a margin from 0 to 1"):
            CircleLoss(margin, scale)
    with pytest.raises(ValueError, match="expected integers"):
        circle_loss(np.float32([1, 2]), np.zeros((2, 3), np.float32))
