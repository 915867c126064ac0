"""Tests of the batch-hard loss beyond what test_family.py does: points by hand, labels, near duplicates, the class."""

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss, batch_hard_triplet_loss, mine_hardest_pairs, paired_distances
from tests.losses import oracle


def value_and_gradient(person_ids, embeddings, margin, loss=batch_hard_triplet_loss):
    embeddings = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        if loss is batch_hard_triplet_loss:
            value = loss(person_ids, embeddings, margin=margin)
        else:
            value = loss(margin)(person_ids, embeddings)
    return value.numpy(), tape.gradient(value, embeddings).numpy()


def naive_loss(person_ids, embeddings, margin):
    return oracle.batch_hard(person_ids, oracle.distances_of(embeddings), margin)


def drawn_batch(seed, identities=4, size=14, width=5):
    """Shuffled ids, some of them alone in the batch."""
    random = np.random.default_rng(seed)
    return random.integers(0, identities, size), random.normal(size=(size, width)).astype(np.float32)


BOTH = pytest.mark.parametrize("loss", [batch_hard_triplet_loss, BatchHardTripletLoss])


# --- Points placed by hand, on a line ---


def line(*places):
    return np.array(places, np.float32)[:, None]


def test_four_points_on_a_line():
    """A at 0 and 2, B at 5 and 6, far apart along the line.

    A(0): positive 2, negative 5, gap -3. A(2): 2 - 3 = -1. B(5): 1 - 3 = -2. B(6): 1 - 4 = -3.
    Margin 2: 0, 1, 0, 0, mean 0.25; only A(2) pays: its positive pulls it (+1) towards 0 and its negative (-1) away
    from 5, so d/dA(2) = (1 + 1) / 4, d/dA(0) = -1 / 4, d/dB(5) = -1 / 4.
    """
    pairs = mine_hardest_pairs([1, 1, 2, 2], line(0, 2, 5, 6))
    np.testing.assert_array_equal(pairs.positive_distances, [2, 2, 1, 1])
    np.testing.assert_array_equal(pairs.negative_distances, [5, 3, 3, 4])
    assert pairs.valid.numpy().all()
    value, gradient = value_and_gradient([1, 1, 2, 2], line(0, 2, 5, 6), 2.0)
    assert value == 0.25
    np.testing.assert_array_equal(gradient[:, 0], [-0.25, 0.5, -0.25, 0])


def test_soft_margin_of_one_gap():
    """Gaps -3, -1, -2, -3 as above: the mean of log(1 + e^gap)."""
    expected = np.mean([np.log1p(np.exp(gap)) for gap in (-3, -1, -2, -3)])
    value = batch_hard_triplet_loss([1, 1, 2, 2], line(0, 2, 5, 6), margin="soft")
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_mean_is_over_valid_anchors_only():
    """A at 0 and 1, B alone at 3: B has no positive. A(0): 1 - 3 + 4 = 2; A(1): 1 - 2 + 4 = 3; (2 + 3) / 2, not / 3."""
    pairs = mine_hardest_pairs([7, 7, 9], line(0, 1, 3))
    np.testing.assert_array_equal(pairs.valid, [True, True, False])
    assert pairs.positive_distances[2] == pairs.negative_distances[2] == 0
    assert batch_hard_triplet_loss([7, 7, 9], line(0, 1, 3), margin=4.0) == 2.5


def test_a_tie_goes_to_one_of_the_two():
    """A at 0 with A at -2 and 2, B at -5 and 5: a gap of 2 - 5 either way, and one way alone gets the gradient."""
    person_ids, embeddings = [1, 1, 1, 2, 2], line(0, -2, 2, -5, 5)
    with tf.GradientTape() as tape:
        x = tf.Variable(embeddings)
        pairs = mine_hardest_pairs(person_ids, x)
        gap = pairs.positive_distances[0] - pairs.negative_distances[0]
    assert gap == -3
    gradient = tf.convert_to_tensor(tape.gradient(gap, x)).numpy()[:, 0]
    assert sorted(np.abs(gradient[1:3])) == [0, 1] and sorted(np.abs(gradient[3:5])) == [0, 1]


def test_hinge_stops_at_the_margin():
    """A at 0 and 1, B at 4 and 5: gaps -3, -2, -2, -3. Margin 2 costs nothing and pulls at nothing; 2.5 costs 0.25."""
    value, gradient = value_and_gradient([1, 1, 2, 2], line(0, 1, 4, 5), 2.0)
    assert value == 0 and not gradient.any()
    assert batch_hard_triplet_loss([1, 1, 2, 2], line(0, 1, 4, 5), margin=2.5) == 0.25


# --- Labels ---


@BOTH
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_integer_type_and_either_shape(loss, dtype):
    person_ids, embeddings = drawn_batch(1)
    expected, _ = value_and_gradient(person_ids, embeddings, 0.3, loss)
    flat = tf.cast(person_ids, dtype)
    assert value_and_gradient(flat, embeddings, 0.3, loss)[0] == expected
    assert value_and_gradient(flat[:, None], embeddings, 0.3, loss)[0] == expected


@BOTH
def test_neighboring_large_ids_stay_apart(loss):
    """2^24 + 1 and 2^24 are one number in float32, as are 2^53 + 1 and 2^53 in float64."""
    for base in (2**24, 2**53):
        large = np.array([base, base, base + 1, base + 1])
        value, _ = value_and_gradient(large, line(0, 2, 5, 6), 2.0, loss)
        assert value == 0.25


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "bool"])
def test_labels_that_are_no_integers_are_refused(loss, dtype):
    with pytest.raises(ValueError, match=f"{dtype}, expected integers"):
        value_and_gradient(tf.cast([1, 1, 0, 0], dtype), line(0, 2, 5, 6), 0.3, loss)


# --- Batches without a triplet, and other edges ---


@BOTH
@pytest.mark.parametrize("margin,expected", [(0.3, 0.3), (0.0, 0.0), ("soft", np.log(2))])
def test_collapsed_embeddings_cost_the_margin_and_pull_nothing(loss, margin, expected):
    """All distances are 0, so the gap is 0: the margin, or log(1 + e^0) = ln 2; the gradient is 0, not NaN."""
    value, gradient = value_and_gradient([1, 1, 2, 2], np.full((4, 8), 3.7, np.float32), margin, loss)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert np.all(gradient == 0)


def test_two_equal_images_leave_the_other_gradients_alone():
    """A at 0 and 0, B at 1 and 3. A: 0 - 1 + 2 = 1 twice; B(1): 2 - 1 + 2 = 3; B(3): 2 - 3 + 2 = 1: mean 1.5.

    d/dA(first): B(1)'s and, being first among equals, B(3)'s negative and its own: (+1 +1 +1) / 4; d/dA(second): its
    own, 1 / 4. d/dB(1): A's two -1 each, its own -1 - 1, B(3)'s positive -1: -5 / 4; d/dB(3): 1 + 1 - 1 = 1, / 4.
    """
    value, gradient = value_and_gradient([1, 1, 2, 2], line(0, 0, 1, 3), 2.0)
    assert value == 1.5
    np.testing.assert_array_equal(gradient[:, 0], [0.75, 0.25, -1.25, 0.25])


@BOTH
def test_softplus_does_not_overflow(loss):
    """A at 0 and 1000, B beside each: gap 1000 - 1 everywhere, and softplus(999) = 999 with slope 1."""
    value, gradient = value_and_gradient([1, 1, 2, 2], line(0, 1000, 1, 1001), "soft", loss)
    assert value == 999.0
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0.1
    value, gradient = value_and_gradient([1, 1, 2, 2], line(0, 1, 1000, 1001), "soft", loss)
    assert value == 0 and np.isfinite(gradient).all()


# --- Precision ---


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_choice_among_near_duplicates_is_off_by_little(scale):
    """Two tight groups far apart: a wrong choice within a group may cost 2e-3 of the vectors' length, never more."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(2, 2048))
    centers *= scale / np.linalg.norm(centers, axis=1, keepdims=True)
    spread = random.normal(size=(12, 2048)) * np.geomspace(1e-5, 1e-3, 12)[:, None] * scale / np.sqrt(2048)
    embeddings = (np.repeat(centers, 6, axis=0) + spread).astype(np.float32)
    person_ids = np.tile([1, 1, 2], 4)
    pairs = mine_hardest_pairs(person_ids, embeddings)
    distances = np.linalg.norm(embeddings[:, None].astype(np.float64) - embeddings[None].astype(np.float64), axis=-1)
    same = person_ids[:, None] == person_ids
    farthest, nearest = np.where(same, distances, 0).max(axis=1), np.where(same, np.inf, distances).min(axis=1)
    assert np.abs(pairs.positive_distances - farthest).max() <= 2e-3 * scale
    assert np.abs(pairs.negative_distances - nearest).max() <= 2e-3 * scale


def test_a_common_offset_does_not_blur_the_choice():
    """All round (1000, ..., 1000): the squared norms, 8e6, are known to 0.5 only, the squared distances are of 1."""
    person_ids, embeddings = drawn_batch(3, size=20, width=8)
    embeddings = np.round(embeddings * 64) / 64 + 1000  # exact in float32, before and after
    np.testing.assert_allclose(
        batch_hard_triplet_loss(person_ids, embeddings), naive_loss(person_ids, embeddings, 0.3), rtol=1e-5
    )


def test_distance_of_scalars_and_its_gradient():
    """|a - b| of 3, 1; 1, 3; 2, 2: slopes +1, -1, and 0 where the two are equal."""
    first, second = tf.constant([[3.0], [1.0], [2.0]]), tf.constant([[1.0], [3.0], [2.0]])
    with tf.GradientTape() as tape:
        tape.watch(first)
        distances = paired_distances(first, second)
    np.testing.assert_array_equal(distances, [2, 2, 0])
    np.testing.assert_array_equal(tape.gradient(distances, first)[:, 0], [1, -1, 0])


# --- The Keras class ---


def linear_model(width=5, dtype=None):
    """Gives back what it gets, through weights that can learn."""
    layer = keras.layers.Dense(width, use_bias=False, kernel_initializer="identity", dtype=dtype)
    return keras.Sequential([keras.Input([width]), layer])


@pytest.mark.parametrize("margin", [0.3, "soft"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_takes_the_mean_over_valid_anchors(margin, jit_compile):
    """Plain gradient descent at rate 1: the loss and the step are those of the function, single images or not."""
    person_ids, embeddings = drawn_batch(0, identities=9)
    assert 0 < np.sum(mine_hardest_pairs(person_ids, embeddings).valid) < len(person_ids)
    model = linear_model()
    model.compile(keras.optimizers.SGD(1.0), BatchHardTripletLoss(margin), jit_compile=jit_compile)
    history = model.fit(embeddings, person_ids, batch_size=14, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], naive_loss(person_ids, embeddings, margin), rtol=1e-5)
    expected = oracle.numerical_gradient(lambda kernel: naive_loss(person_ids, embeddings @ kernel, margin), np.eye(5))
    np.testing.assert_allclose(np.eye(5) - model.get_weights()[0], expected, atol=1e-4)


def test_fit_under_mixed_precision():
    """The network's output is bfloat16, the loss of those very numbers float32."""
    person_ids, embeddings = drawn_batch(0)
    model = linear_model(dtype="mixed_bfloat16")
    model.compile(keras.optimizers.SGD(0.0), BatchHardTripletLoss())
    value = model.train_on_batch(embeddings, person_ids)
    rounded = tf.cast(tf.cast(embeddings, tf.bfloat16), tf.float32).numpy()
    np.testing.assert_allclose(value, naive_loss(person_ids, rounded, 0.3), rtol=1e-5)


def test_other_reductions_keep_the_factor():
    """A at 0 and 1, B alone at 3, margin 4: terms 2, 3, 0 and two valid of three, so each times 3 / 2."""
    terms = BatchHardTripletLoss(4.0, reduction="none")([7, 7, 9], line(0, 1, 3))
    np.testing.assert_array_equal(terms, [3, 4.5, 0])
    assert BatchHardTripletLoss(4.0, reduction="sum")([7, 7, 9], line(0, 1, 3)) == 7.5


def test_sample_weights_weigh_anchors():
    """The terms above, 3, 4.5 and 0, weighed 2, 0 and 1, over three images."""
    value = BatchHardTripletLoss(4.0)([7, 7, 9], line(0, 1, 3), sample_weight=[2.0, 0.0, 1.0])
    assert value == 2.0


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf"), "hard", None])
def test_impossible_margins_are_refused(margin):
    with pytest.raises(ReidError, match="margin=.*expected a number of at least 0, or 'soft'"):
        BatchHardTripletLoss(margin)
    with pytest.raises(ReidError, match="margin="):
        batch_hard_triplet_loss([1, 1, 2, 2], line(0, 2, 5, 6), margin=margin)


def test_a_margin_may_be_text():
    """As a flag has it."""
    assert BatchHardTripletLoss("0.5").margin == 0.5
