"""Tests of every loss of the family alike: against the loops, in each precision and graph, and where nothing counts."""

import json

import numpy as np
import pytest

from keras_reid import losses
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from tests.losses import oracle

METRICS = ["euclidean", "squared_euclidean", "cosine"]
# name -> function, class, oracle on distances; beside batch hard's and circle loss's own tests.
FAMILY = {
    "batch_hard": (losses.batch_hard_triplet_loss, losses.BatchHardTripletLoss, oracle.batch_hard),
    "class_hard": (losses.class_hard_triplet_loss, losses.ClassHardTripletLoss, oracle.class_hard),
    "lifted": (losses.lifted_triplet_loss, losses.LiftedTripletLoss, oracle.lifted),
    "batch_all": (losses.batch_all_triplet_loss, losses.BatchAllTripletLoss, oracle.batch_all),
    "batch_all_over_all": (losses.batch_all_triplet_loss, losses.BatchAllTripletLoss, oracle.batch_all_over_all),
    "semi_hard": (losses.semi_hard_triplet_loss, losses.SemiHardTripletLoss, oracle.semi_hard),
    "contrastive": (losses.contrastive_loss, losses.ContrastiveLoss, oracle.contrastive),
    "weighted": (losses.weighted_triplet_loss, losses.WeightedTripletLoss, oracle.weighted),
    "circle": (losses.circle_loss, losses.CircleLoss, None),
}
EVERY = pytest.mark.parametrize("name", FAMILY)
ON_DISTANCES = pytest.mark.parametrize("name", [name for name in FAMILY if name != "circle"])
MARGINS = [0.0, 0.3, 2.0, "soft"]


def margins_of(name):
    return [margin for margin in MARGINS if not (name == "contrastive" and margin == "soft")]


def extra_of(name):
    return {"mean_over": "all"} if name == "batch_all_over_all" else {}


def function_of(name):
    return lambda ids, x, **arguments: FAMILY[name][0](ids, x, **extra_of(name), **arguments)


def instance_of(name, **arguments):
    return FAMILY[name][1](**extra_of(name), **arguments)


def loops(name, person_ids, embeddings, margin=None, metric="euclidean"):
    if name == "circle":
        return oracle.circle(person_ids, embeddings, 0.25 if margin is None else margin, 32)
    default = {"contrastive": 1.0, "weighted": "soft"}.get(name, 0.3)
    return FAMILY[name][2](person_ids, oracle.distances_of(embeddings, metric), default if margin is None else margin)


def value_and_gradient(function, person_ids, embeddings):
    embeddings = tf.convert_to_tensor(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = function(person_ids, embeddings)
    return value.numpy(), tf.convert_to_tensor(tape.gradient(value, embeddings)).numpy()


def drawn_batch(seed=0, identities=4, size=10, width=3):
    """Shuffled ids, some of them alone in the batch, neighbors in no order."""
    random = np.random.default_rng(seed)
    return random.integers(0, identities, size) * 7 - 5, random.normal(size=(size, width)).astype(np.float32)


# --- Against the loops ---


@pytest.mark.parametrize(
    ("name", "margin"), [(name, margin) for name in FAMILY if name != "circle" for margin in margins_of(name)]
)
@pytest.mark.parametrize(
    ("metric", "seed", "identities"),
    [
        *((metric, 1, 4) for metric in METRICS),
        pytest.param("euclidean", 0, 2, marks=pytest.mark.once),  # who is with whom knows no metric
        pytest.param("euclidean", 2, 9, marks=pytest.mark.once),
    ],
)
def test_value_and_gradient_are_those_of_the_loops(name, margin, metric, seed, identities):
    person_ids, embeddings = drawn_batch(seed, identities)
    arguments = {"margin": margin, "metric": metric}
    expected = loops(name, person_ids, embeddings, **arguments)
    slope = oracle.numerical_gradient(lambda x: loops(name, person_ids, x, **arguments), embeddings)
    for loss in (lambda ids, x: function_of(name)(ids, x, **arguments), instance_of(name, **arguments)):
        value, gradient = value_and_gradient(loss, person_ids, embeddings)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=5e-5)


@EVERY
def test_order_of_the_batch_and_names_of_the_people_do_not_matter(name):
    person_ids, embeddings = drawn_batch(3)
    order = np.random.permutation(len(person_ids))
    value, gradient = value_and_gradient(function_of(name), person_ids, embeddings)
    again, gradient_again = value_and_gradient(function_of(name), (person_ids * 1000)[order], embeddings[order])
    np.testing.assert_allclose(again, value, rtol=1e-5)
    np.testing.assert_allclose(gradient_again, gradient[order], atol=1e-5 * np.abs(gradient).max())


# --- Points placed by hand, on a line: A at 0 and 2, B at 5 and 6; D(A, B) = 5, 6 and 3, 4 ---

LINE = np.float32([[0], [2], [5], [6]])
AABB = [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "margin", "expected", "slope"),
    [
        # A: 2 - 3 + 3 = 2, B: 1 - 3 + 3 = 1, both against the pair (2, 5); mean 1.5. Slopes: A's pair pulls -1, +1 at
        # 0, 2; B's -1, +1 at 5, 6; (2, 5) is pushed by both: +2 at 2, -2 at 5; halves of the sums.
        ("class_hard", 3.0, 1.5, [-0.5, 1.5, -1.5, 0.5]),
        # Triplets: (0,2): 2-5, 2-6; (2,0): 2-3, 2-4; (5,6): 1-5, 1-3; (6,5): 1-6, 1-4. + 2.5: only -1 and -2 cost,
        # 1.5 and 0.5 (twice: 2-4 and 1-3). Mean 2.5 / 3. (2,0,5): +1 at 2 -1 at 0, +1 at 2 -1 at 5; (2,0,6): +2 at 2,
        # -1 at 0, -1 at 6; (5,6,2): -1 at 5 +1 at 6, -1 at 5 +1 at 2; thirds.
        ("batch_all", 2.5, 2.5 / 3, [-2 / 3, 5 / 3, -1.0, 0.0]),
        ("batch_all_over_all", 2.5, 2.5 / 8, [-2 / 8, 5 / 8, -3 / 8, 0.0]),
        # Nearest negative beyond: (0,2): 2-5; (2,0): 2-3; (5,6): 1-3; (6,5): 1-4; + 2.5: 0, 1.5, 0.5, 0, mean 0.5.
        # (2,0,5) and (5,6,2) as above; quarters.
        ("semi_hard", 2.5, 0.5, [-0.25, 0.75, -0.75, 0.25]),
        # 2^2 + 1^2, [4 - D]+^2 of 5, 6, 3, 4: 1; six pairs. Slopes: 2 D of the pairs -4, +4, -2, +2; -2 [4 - 3] of
        # D(2, 5) = 5 - 2: +2 at 2, -2 at 5; sixths.
        ("contrastive", 4.0, 1.0, [-4 / 6, 6 / 6, -4 / 6, 2 / 6]),
    ],
)
def test_four_points_on_a_line(name, margin, expected, slope):
    value, gradient = value_and_gradient(lambda ids, x: function_of(name)(ids, x, margin=margin), AABB, LINE)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, 0], slope, atol=1e-6)


def test_semi_hard_falls_back_to_the_farthest_negative():
    """A at 0 and 9, B at 1 and 4: no B is farther from A(0) than 9, the farthest is 4: 9 - 4 + 1 = 6.

    A(9): none beyond 9, farthest 8: 9 - 8 + 1 = 2. B(1): its positive is 3 away, beyond it is 8: [3 - 8 + 1]+ = 0.
    B(4): 3; beyond are 4 and 5: 3 - 4 + 1 = 0. Mean 8 / 4.
    """
    assert losses.semi_hard_triplet_loss(AABB, np.float32([[0], [9], [1], [4]]), margin=1.0) == 2.0


def test_a_negative_as_far_as_the_positive_is_not_beyond_it():
    """A at 0 and 2, B at -2 and -3: for A(0) B(-2) is a tie, so -3 counts: 2 - 3 + 2 = 1; the tie would give 2."""
    points = np.float32([[0], [2], [-2], [-3]])
    # A(2): 2 - 4 + 2 = 0. B(-2): 1 - 2 + 2 = 1. B(-3): 1 - 3 + 2 = 0.
    assert losses.semi_hard_triplet_loss(AABB, points, margin=2.0) == 0.5


# --- Where nothing counts, and other edges ---


@EVERY
@pytest.mark.parametrize("people", [[4, 4, 4, 4], [1, 2, 3, 4], [1], []], ids=["one", "different", "B=1", "B=0"])
def test_batches_without_a_triplet(name, people):
    """0 without a gradient; to contrastive loss alone a pair is enough."""
    embeddings = np.random.normal(size=(len(people), 3)).astype(np.float32)
    expected = loops(name, people, embeddings)
    for loss in (function_of(name), instance_of(name)):
        value, gradient = value_and_gradient(loss, np.array(people, np.int32), embeddings)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert gradient.shape == embeddings.shape and np.isfinite(gradient).all()
        if name != "contrastive" or len(people) < 2:
            assert value == 0 and not gradient.any()


@EVERY
def test_single_images_do_not_dilute_the_mean(name):
    """Two of A, two of B, and three people seen once."""
    person_ids, embeddings = np.int32([1, 5, 2, 1, 6, 2, 7]), drawn_batch(2, size=7)[1]
    value, _ = value_and_gradient(instance_of(name), person_ids, embeddings)
    np.testing.assert_allclose(value, loops(name, person_ids, embeddings), rtol=1e-5)


@EVERY
@pytest.mark.once
@pytest.mark.parametrize(("place", "jit_compile"), [(0.0, False), (3.7, True), (1000.0, False)])
def test_equal_embeddings_cost_what_is_documented_and_pull_nothing(name, place, jit_compile):
    """Gap 0 everywhere: the margin (0.3), or ln 2; lifted: ln 1 + ln 4 + 0.3; contrastive: 12 of 15 pairs cost 1."""
    expected = {"lifted": np.log(4) + 0.3, "contrastive": 12 / 15, "weighted": np.log(2)}.get(name, 0.3)
    loss = function_of(name)
    compiled = tf.function(lambda ids, x: value_and_gradient_in_graph(loss, ids, x), jit_compile=jit_compile)
    value, gradient = compiled(tf.constant([1, 1, 2, 2, 3, 3]), tf.fill([6, 8], place))
    if name == "circle":
        assert np.isfinite(value) and np.isfinite(gradient).all()
    else:
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert np.all(gradient == 0)


@EVERY
def test_two_equal_images_leave_the_others_their_gradient(name):
    """Rows 0 and 1 are one image of one person, rows 2 and 4 one image of two: finite, and the loops' value."""
    person_ids, embeddings = np.int32([1, 1, 2, 2, 3, 3]), drawn_batch(5, size=6)[1]
    embeddings[1], embeddings[4] = embeddings[0], embeddings[2]
    value, gradient = value_and_gradient(function_of(name), person_ids, embeddings)
    np.testing.assert_allclose(value, loops(name, person_ids, embeddings), rtol=1e-5)
    assert np.isfinite(gradient).all() and gradient.any()


@EVERY
@pytest.mark.once
@pytest.mark.parametrize("jit_compile", [False, True])
def test_divergence_shows_in_the_loss(name, jit_compile):
    run = tf.function(lambda x: function_of(name)([1, 1, 2, 2, 3, 3], x), jit_compile=jit_compile)
    for bad in (np.nan, np.inf, -np.inf):
        for rows in (slice(0, 1), slice(3, 4), slice(5, 6), slice(None)):
            embeddings = np.random.normal(size=(6, 3)).astype(np.float32)
            embeddings[rows] = bad
            assert not np.isfinite(run(embeddings))


@EVERY
@pytest.mark.parametrize("size", [1e-12, 1e3, 1e8])
def test_small_and_large_embeddings_stay_finite(name, size):
    """exp of a distance of 1e8 overflows any float; a distance of 1e-12 squares to nothing."""
    person_ids, embeddings = drawn_batch(1)
    value, gradient = value_and_gradient(function_of(name), person_ids, embeddings * np.float32(size))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if name != "lifted" or size < 1e3:  # the loops' exp overflows
        np.testing.assert_allclose(value, loops(name, person_ids, embeddings * np.float32(size)), rtol=1e-4, atol=1e-6)


# --- Distances ---


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("separation", [1e-1, 1e-2, 1e-3, 1e-4])
def test_near_duplicates_have_exact_distances(metric, scale, separation):
    """2,048 numbers: a float32 Gram matrix would be off by 100 % at 1e-4 of the vectors' length."""
    random = np.random.default_rng(0)
    first = random.normal(size=(6, 2048))
    first *= scale / np.linalg.norm(first, axis=1, keepdims=True)
    step = random.normal(size=first.shape)
    second = first + step * separation * scale / np.linalg.norm(step, axis=1, keepdims=True)
    both = np.concatenate([first, second]).astype(np.float32)
    exact = oracle.distances_of(both, metric)
    near = np.tile(exact[np.arange(6), np.arange(6) + 6], 2)
    np.testing.assert_allclose(losses.pairwise_distances(both, metric=metric), exact, rtol=1e-5, atol=0)
    np.testing.assert_allclose(losses.paired_distances(both[:6], both[6:], metric=metric), near[:6], rtol=1e-4)
    # Six pairs of one identity: the positive is the near duplicate; six of two each: the negative is.
    pairs = losses.mine_hardest_pairs(np.tile(np.arange(6), 2), both, metric=metric)
    np.testing.assert_allclose(pairs.positive_distances, near, rtol=1e-4)
    pairs = losses.mine_hardest_pairs(np.repeat([1, 2], 6), both, metric=metric)
    np.testing.assert_allclose(pairs.negative_distances, near, rtol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_hardest_of_near_duplicates_is_the_one_that_is_chosen(metric, scale, jit_compile):
    """Images 0.5 to 2e-4 of their length from one of 8 places: a float32 choice was off by half of the distance."""
    random = np.random.default_rng(0)
    unit = random.normal(size=(8, 1, 2048))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    step = random.normal(size=(8, 4, 2048))
    step *= 1e-4 * np.arange(1, 5)[:, None] / 2 / np.linalg.norm(step, axis=2, keepdims=True)
    embeddings = (scale * (unit + step)).reshape(32, 2048).astype(np.float32)
    exact = oracle.distances_of(embeddings, metric)
    for person_ids in (np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)):
        mine = tf.function(lambda ids, x: losses.mine_hardest_pairs(ids, x, metric=metric), jit_compile=jit_compile)
        pairs, same = mine(person_ids, embeddings), person_ids[:, None] == person_ids
        others = same & ~np.eye(32, dtype=bool)
        np.testing.assert_allclose(pairs.positive_distances, np.where(others, exact, 0).max(axis=1), rtol=1e-3)
        np.testing.assert_allclose(pairs.negative_distances, np.where(same, np.inf, exact).min(axis=1), rtol=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_all_pairs_have_the_gradient_of_the_loops(metric):
    _, embeddings = drawn_batch(size=5)
    weights = np.random.normal(size=(5, 5))
    _, gradient = value_and_gradient(
        lambda _, x: tf.reduce_sum(losses.pairwise_distances(x, metric=metric) * weights.astype(np.float32)),
        None,
        embeddings,
    )
    expected = oracle.numerical_gradient(lambda x: (oracle.distances_of(x, metric) * weights).sum(), embeddings)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_are_exactly_0_apart_without_a_gradient(metric):
    row = np.random.normal(size=(1, 2048)).astype(np.float32) * 1000
    rows = tf.Variable(np.repeat(row, 7, axis=0))
    with tf.GradientTape(persistent=True) as tape:
        pairwise = losses.pairwise_distances(rows, metric=metric)
        paired = losses.paired_distances(rows, tf.identity(rows), metric=metric)
    for distances in (pairwise, paired):
        assert not distances.numpy().any()
        assert not tf.convert_to_tensor(tape.gradient(distances, rows)).numpy().any()


def test_cosine_distance_of_zeros_is_finite():
    rows = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        distances = losses.pairwise_distances(rows, metric="cosine")
    np.testing.assert_allclose(distances, [[0, 0.5], [0.5, 0]])
    assert np.isfinite(tape.gradient(distances, rows)).all()


# --- Precisions and graphs ---


@EVERY
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(name, dtype):
    """Squares of 300 overflow float16, sums of them all the more; the result is that of the same numbers."""
    person_ids = np.repeat([1, 2, 3], 3)
    half = tf.cast(300 * np.random.normal(size=(9, 512)), dtype)
    for loss in (function_of(name), instance_of(name)):
        value, gradient = value_and_gradient(loss, person_ids, half)
        expected, expected_gradient = value_and_gradient(loss, person_ids, tf.cast(half, tf.float32))
        assert value.dtype == np.float32 and np.isfinite(value)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient.astype(np.float32), expected_gradient, rtol=1e-2, atol=1e-5)


def value_and_gradient_in_graph(loss, person_ids, embeddings):
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(person_ids, embeddings)
    return value, tape.gradient(value, embeddings)


@EVERY
@pytest.mark.parametrize(("of_class", "jit_compile"), [(False, False), (True, False), (True, True)])
def test_graph_of_an_unknown_batch_size_agrees_with_eager(name, of_class, jit_compile):
    loss = instance_of(name) if of_class else function_of(name)
    signature = [tf.TensorSpec([None, 1], tf.int64), tf.TensorSpec([None, 3])]
    compiled = tf.function(
        lambda ids, x: value_and_gradient_in_graph(loss, ids, x), input_signature=signature, jit_compile=jit_compile
    )
    for size in (6, 2, 1, 0):
        person_ids, embeddings = drawn_batch(size, size=size)
        value, gradient = compiled(person_ids[:, None], embeddings)
        expected, expected_gradient = value_and_gradient(loss, person_ids, embeddings)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@EVERY
@pytest.mark.once
def test_graph_of_an_unknown_rank(name):
    person_ids, embeddings = drawn_batch(1)
    for loss in (function_of(name), instance_of(name)):
        compiled = tf.function(
            lambda ids, x, loss=loss: value_and_gradient_in_graph(loss, ids, x),
            input_signature=[tf.TensorSpec(None, tf.int64), tf.TensorSpec(None)],
        )
        value, gradient = compiled(person_ids[:, None], embeddings)
        np.testing.assert_allclose(value, loops(name, person_ids, embeddings), rtol=1e-5)
        assert gradient.shape == embeddings.shape


# --- Labels and arguments ---


@EVERY
def test_labels_of_either_shape_and_any_size(name):
    person_ids, embeddings = drawn_batch(1)
    expected = loops(name, person_ids, embeddings)
    for loss in (function_of(name), instance_of(name)):
        for labels in (person_ids.astype(np.int8), person_ids[:, None], person_ids.astype(np.int64) + 2**53):
            np.testing.assert_allclose(loss(labels, embeddings), expected, rtol=1e-5)


@EVERY
def test_labels_and_embeddings_that_do_not_fit_are_refused(name):
    person_ids, embeddings = drawn_batch()
    for loss in (function_of(name), instance_of(name)):
        with pytest.raises(ValueError, match="float32, expected integers"):
            loss(person_ids.astype(np.float32), embeddings)
        with pytest.raises(ValueError, match="one id for each"):
            loss(person_ids[:1], embeddings)
        with pytest.raises(ValueError, match="one id for each"):
            loss(np.eye(10, dtype=np.int32), embeddings)
        with pytest.raises(ValueError, match="embeddings have dtype int64"):
            loss(person_ids, embeddings.astype(np.int64))


ARGUMENTS = {
    "circle": {"margin": 0.4, "scale": 8.0},
    "contrastive": {"margin": 0.7, "metric": "cosine"},
    "batch_all_over_all": {"margin": 0.7, "metric": "cosine", "mean_over": "all"},
}


@EVERY
def test_every_argument_survives_the_config(name):
    arguments = {**ARGUMENTS.get(name, {"margin": "soft", "metric": "squared_euclidean"}), "mining_scope": "replica"}
    loss = FAMILY[name][1](**arguments, name="mine", reduction="sum")
    again = type(loss).from_config(json.loads(json.dumps(loss.get_config())))
    assert {key: getattr(again, key) for key in arguments} == arguments
    assert (again.name, again.reduction) == ("mine", "sum")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [*((name, suffix) for name in FAMILY for suffix in (".keras", ".h5")), ("batch_all_over_all", "")],
)
def test_every_argument_survives_a_saved_model(name, suffix, tmp_path):
    """Opened without custom objects: importing keras_reid.losses is enough."""
    arguments = ARGUMENTS.get(name, {"margin": "soft", "metric": "squared_euclidean"})
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(3)])
    model.compile("sgd", FAMILY[name][1](**arguments, mining_scope="replica"))
    person_ids, embeddings = drawn_batch()
    expected = model.test_on_batch(embeddings, person_ids)
    model.save(tmp_path / f"model{suffix}")
    again = keras.models.load_model(tmp_path / f"model{suffix}")
    assert again.loss.get_config() == model.loss.get_config()
    assert again.test_on_batch(embeddings, person_ids) == pytest.approx(expected, rel=1e-6)


@EVERY
def test_impossible_arguments_are_refused(name):
    impossible = [{"margin": -0.1}, {"margin": "hard"}, {"margin": None}, {"mining_scope": "local"}]
    impossible += [{"margin": "soft"}] if name in ("contrastive", "circle") else []
    impossible += [{"metric": "manhattan"}] if name != "circle" else [{"scale": 0}]
    impossible += [{"mean_over": "some"}] if name == "batch_all" else []
    for arguments in impossible:
        with pytest.raises(ReidError, match=f"{next(iter(arguments))}=.*expected"):
            FAMILY[name][1](**arguments)
        if "mining_scope" not in arguments:
            with pytest.raises(ReidError, match=f"{next(iter(arguments))}=.*expected"):
                FAMILY[name][0]([1, 1, 2], np.zeros((3, 2), np.float32), **arguments)


@EVERY
def test_fit_in_a_host_project(name):
    """Plain gradient descent at rate 1 in a model of its own: loss and step are those of the loops."""
    person_ids, embeddings = drawn_batch(2, identities=4)
    layer = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input([3]), layer])
    model.compile(keras.optimizers.SGD(1.0), instance_of(name))
    history = model.fit(embeddings, person_ids, batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], loops(name, person_ids, embeddings), rtol=1e-5)
    if name != "circle":  # its self-paced weights are held fixed: tests/losses/test_circle.py
        slope = oracle.numerical_gradient(lambda kernel: loops(name, person_ids, embeddings @ kernel), np.eye(3))
        np.testing.assert_allclose(np.eye(3) - model.get_weights()[0], slope, atol=1e-4)
