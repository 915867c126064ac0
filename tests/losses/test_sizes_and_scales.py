"""Tests of every loss at every size of a batch, known to the graph or not, and at every scale that float32 holds."""

import numpy as np
import pytest

from keras_reid import losses
from keras_reid.keras2 import tf
from tests.losses import oracle
from tests.losses.test_family import (
    EVERY,
    FAMILY,
    METRICS,
    function_of,
    instance_of,
    loops,
    margins_of,
    value_and_gradient,
    value_and_gradient_in_graph,
)

LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
DEGREES = {"euclidean": 1, "squared_euclidean": 2, "cosine": 0}  # a distance of x * s is s^degree times that of x
# Below 1e-34 some of the numbers would be subnormal, which TensorFlow takes for 0.
SCALES = [1e-34, 1e-20, 1e-10, 1e10, 1e20, 1e38]
IDS = np.int32([1, 2, 1, 2, 3])


def drawn_points():
    return np.random.default_rng(4).normal(size=(5, 3)).astype(np.float32)


# --- Sizes ---


def in_graph(name, jit_compile=False, input_signature=None):
    loss = instance_of(name)
    run = lambda ids, x: value_and_gradient_in_graph(loss, ids, x)  # noqa: E731
    return tf.function(run, jit_compile=jit_compile, input_signature=input_signature)


def check_size(name, run, size):
    person_ids, embeddings = np.int32([1, 1, 2][:size]), drawn_points()[:size]
    value, gradient = run(tf.constant(person_ids, shape=[size]), tf.constant(embeddings))
    expected, expected_gradient = value_and_gradient(function_of(name), person_ids, embeddings)
    np.testing.assert_allclose(value, loops(name, person_ids, embeddings), rtol=1e-5)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


EACH_CLASS = pytest.mark.parametrize("name", [name for name in FAMILY if name != "batch_all_over_all"])
LOOPED = ("batch_all", "semi_hard")  # a loop keeps the shapes that it begins with


@EACH_CLASS
@pytest.mark.once
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_that_the_graph_knows(name, jit_compile):
    run = in_graph(name, jit_compile)
    for size in [0, 1, 3] if name in LOOPED else [1]:
        check_size(name, run, size)


@EACH_CLASS
@pytest.mark.once
@pytest.mark.parametrize("sizes", [(None, 1), (1, None)])
def test_sizes_that_the_graph_knows_of_one(name, sizes):
    """`sizes` of the labels and of the embeddings."""
    signature = [tf.TensorSpec(sizes[:1], tf.int32), tf.TensorSpec([sizes[1], 3])]
    check_size(name, in_graph(name, input_signature=signature), 1)


@pytest.mark.parametrize("name", ["batch_hard", "circle"])
def test_a_graph_refuses_labels_and_embeddings_of_two_sizes(name):
    """Of one label and three embeddings broadcasting would make a batch of three."""
    run = in_graph(name, input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 3])])
    for labels, rows in ((3, 1), (1, 3), (2, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one id for each embedding"):
            run(tf.constant([1, 1, 2][:labels]), tf.zeros([rows, 3]))


# --- Scales ---


def slope_of_the_loops(name, points, scale, margin, metric):
    """By differences; below 1e-4 the loss is linear in the distances, and its slope changes only in length."""
    unit = max(scale, 1e-4)
    slope = oracle.numerical_gradient(lambda x: loops(name, IDS, x * unit, margin, metric) / unit, points, step=1e-4)
    return slope * (scale / unit) ** (DEGREES[metric] - 1)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "margin"), [(name, margin) for name in FAMILY if name != "circle" for margin in margins_of(name)[1::2]]
)
@pytest.mark.parametrize("metric", METRICS)
def test_value_and_gradient_at_every_scale(name, margin, metric):
    """What is beyond float32 is the largest number that it has."""
    # A softplus that underflows counts all the same.
    exact = "batch_all_over_all" if (name, margin) == ("batch_all", "soft") else name
    for scale in SCALES:
        embeddings = drawn_points() * np.float32(scale)
        points = embeddings.astype(np.float64) / scale
        value, gradient = value_and_gradient(
            lambda ids, x: function_of(name)(ids, x, margin=margin, metric=metric), IDS, embeddings
        )
        expected = min(loops(exact, IDS, points * scale, margin, metric), LARGEST)
        np.testing.assert_allclose(value, expected, rtol=1e-5, err_msg=f"at {scale}")
        slope = np.clip(slope_of_the_loops(exact, points, scale, margin, metric), -LARGEST, LARGEST)
        tolerance = max(5e-3 * abs(slope).max(), SMALLEST)
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=tolerance, err_msg=f"at {scale}")


def test_circle_loss_at_every_scale():
    """It sees directions: a scale leaves the value and divides the gradient."""
    value, gradient = value_and_gradient(losses.circle_loss, IDS, drawn_points())
    assert gradient.any()
    for scale in SCALES:
        scaled, scaled_gradient = value_and_gradient(losses.circle_loss, IDS, drawn_points() * np.float32(scale))
        np.testing.assert_allclose(scaled, value, rtol=1e-5)
        tolerance = max(1e-5 * abs(gradient).max() / scale, SMALLEST)
        np.testing.assert_allclose(scaled_gradient, gradient / scale, atol=tolerance)


@EACH_CLASS
def test_a_compiled_class_at_every_scale(name):
    """Keras sums over the batch before it divides: that sum, too, may be beyond float32."""
    options = {} if name == "circle" else {"metric": "squared_euclidean"}
    loss = instance_of(name, **options)
    run = tf.function(lambda x: value_and_gradient_in_graph(loss, IDS, x), jit_compile=True)
    for scale in SCALES:
        embeddings = drawn_points() * np.float32(scale)
        value, gradient = run(embeddings)
        expected, slope = value_and_gradient(lambda ids, x: function_of(name)(ids, x, **options), IDS, embeddings)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6 * abs(slope).max())


@EVERY
@pytest.mark.parametrize(("dtype", "scales"), [("float16", [1e-3, 1e4]), ("bfloat16", [1e-30, 1e30])])
def test_half_precision_at_its_scales(name, dtype, scales):
    """Value and gradient are those of the same numbers in float32."""
    for scale in scales:
        half = tf.cast(drawn_points() * np.float32(scale), dtype)
        value, gradient = value_and_gradient(function_of(name), IDS, half)
        expected, slope = value_and_gradient(function_of(name), IDS, tf.cast(half, tf.float32))
        assert value == expected and gradient.dtype == half.dtype.as_numpy_dtype
        np.testing.assert_allclose(gradient.astype(np.float32), slope, rtol=1e-2, atol=1e-2 * abs(slope).max())


def test_a_gradient_beyond_float16_is_infinite():
    """2 * 6e4 / 2 of each pair: loss scaling must see it, to scale by less; bfloat16 takes its largest number."""
    far = np.float32([[6e4], [0]])
    _, gradient = value_and_gradient(lambda i, x: losses.contrastive_loss(i, x) * 2.0, [1, 1], tf.cast(far, "float16"))
    np.testing.assert_array_equal(gradient[:, 0].astype(np.float32), [np.inf, -np.inf])
    far, squared = tf.cast(far * 1e30, "bfloat16"), {"metric": "squared_euclidean"}
    _, gradient = value_and_gradient(lambda i, x: losses.contrastive_loss(i, x, **squared), [1, 1], far)
    np.testing.assert_array_equal(gradient[:, 0].astype(np.float32), [tf.bfloat16.max, tf.bfloat16.min])


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "circle"])
@pytest.mark.parametrize("length", [1e9, 1e30])
def test_a_long_embedding_leaves_the_others_their_distances(name, length):
    """A stranger far away adds nothing but a far negative."""
    points = np.concatenate([drawn_points(), np.float32([[length, 0, -length]])])
    person_ids = np.append(IDS, 4)
    value, gradient = value_and_gradient(function_of(name), person_ids, points)
    np.testing.assert_allclose(value, loops(name, person_ids, points), rtol=1e-5)
    assert np.isfinite(gradient).all() and gradient[:5].any() and not gradient[5].any()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", SCALES)
def test_distances_at_every_scale(metric, scale):
    """Also those that the trainer reports."""
    points = drawn_points() * np.float32(scale)
    exact = np.minimum(oracle.distances_of(points, metric), LARGEST)
    pairs = losses.mine_hardest_pairs(np.int32([1, 1, 1, 2, 2]), points, metric=metric)
    for distances, expected in (
        (losses.pairwise_distances(points, metric=metric), exact),
        (losses.paired_distances(points, points[::-1], metric=metric), exact[range(5), range(4, -1, -1)]),
        (pairs.positive_distances[:3], exact[:3, :3].max(axis=1)),
        (pairs.negative_distances[:3], exact[:3, 3:].min(axis=1)),
    ):
        np.testing.assert_allclose(distances, expected, rtol=1e-6, atol=1e-37)


# --- Ties and labels ---


@pytest.mark.parametrize("name", ["batch_all", "semi_hard"])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_one_image_of_two_people_is_a_tie(name, margin):
    """Rows 1 and 2 are one image: neither is beyond the other, and under margin 0 its triplet does not count."""
    points = drawn_points() * np.float32(1e3) + np.float32(77.7)
    points[2] = points[1]
    person_ids = np.int32([1, 1, 2, 2, 3])
    value, _ = value_and_gradient(lambda i, x: function_of(name)(i, x, margin=margin), person_ids, points)
    np.testing.assert_allclose(value, loops(name, person_ids, points, margin), rtol=1e-6)


@EVERY
def test_every_integer_is_an_identity_and_text_is_none(name):
    """-1, the mark of junk in Market-1501, too: readers drop it, losses do not."""
    expected = loops(name, IDS, drawn_points())
    for loss in (function_of(name), instance_of(name)):
        np.testing.assert_allclose(loss(IDS - 2, drawn_points()), expected, rtol=1e-5)
        with pytest.raises(ValueError, match="string, expected integers"):
            loss(np.array(["a", "b", "a", "b", "c"]), drawn_points())
