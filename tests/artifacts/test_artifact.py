"""Distance of paired embeddings by an artifact's own metric: by hand, near 0, and what has none."""

import numpy as np
import pytest

from keras_reid.artifacts import Artifact, artifact_of
from keras_reid.artifacts.distances import comparable, distances_of
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from tests.conftest import tiny_embedder


def measured_by(metric: str) -> Artifact:
    return Artifact("by hand", "reference", {"metric": metric, "embedding_size": 2}, lambda images: images)


def rows(*points) -> np.ndarray:
    return np.array(points, np.float32)


def test_by_hand():
    """(3, 4) and (0, 0) are 5 apart; (1, 0) and (1, 1) have the cosine 1 / sqrt 2; opposite directions are 2 apart."""
    euclidean, cosine = measured_by("euclidean"), measured_by("cosine")
    assert euclidean.distance(rows((3, 4), (1, 1)), rows((0, 0), (1, 1))).tolist() == [5, 0]
    assert cosine.distance(rows((1, 0)), rows((1, 1)))[0] == pytest.approx(1 - 2**-0.5)
    assert cosine.distance(rows((1, 0), (3, 0)), rows((-2, 0), (0.1, 0))).tolist() == [2, 0]
    with pytest.raises(ReidError, match="length zero"):
        cosine.distance(rows((3, 4)), rows((0, 0)))
    for broken in (np.nan, np.inf):
        with pytest.raises(ReidError, match="NaN"):
            euclidean.distance(rows((3, 4)), rows((0, broken)))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_pairs_that_float32_cannot_tell_apart_by_products_have_their_distance(metric):
    """(1, 0) and (1, t) are t apart; the angle t between them has the cosine distance t^2 / 2, of 5e-15 here."""
    t = np.float32(1e-7)
    distance = measured_by(metric).distance(rows((1, 0)), rows((1, t)))
    assert distance.dtype == np.float64 and distance.shape == (1,)
    expected = float(t) if metric == "euclidean" else float(t) ** 2 / 2
    assert distance[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_rows_of_float32_get_the_distance_of_the_definition_in_float64(metric):
    first, second = np.random.default_rng(0).normal(size=(2, 50, 128)).astype(np.float32)
    expected = []
    for a, b in zip(first.astype(float), second.astype(float)):
        squares = sum((x - y) ** 2 for x, y in zip(a, b))
        similarity = sum(a * b) / sum(a**2) ** 0.5 / sum(b**2) ** 0.5
        expected.append(squares**0.5 if metric == "euclidean" else 1 - similarity)
    np.testing.assert_allclose(measured_by(metric).distance(first, second), expected, rtol=1e-12)
    assert not measured_by(metric).distance(first, first).any()


def test_no_pairs_have_no_distances_and_other_shapes_are_refused():
    artifact = measured_by("cosine")
    assert artifact.distance(np.zeros((0, 8)), np.zeros((0, 8))).shape == (0,)
    for first, second in ((np.ones((2, 8)), np.ones((3, 8))), (np.ones(8), np.ones(8))):
        with pytest.raises(ReidError, match=r"expected \[N, D\] twice"):
            artifact.distance(first, second)


@pytest.mark.parametrize("augmentation", ["none", "flip_five_crops"])
def test_crops_of_many_sizes_are_embedded_as_each_alone(augmentation):
    random, artifact = np.random.default_rng(0), artifact_of(tiny_embedder())
    sizes = [(40, 20), (33, 17), (40, 20), (1, 1), (90, 41), (33, 17)]
    crops = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    alone = np.concatenate([artifact.embed(crop[None], augmentation) for crop in crops])
    assert len(np.unique(alone.round(3), axis=0)) == len(crops)
    for given in (crops, tuple(crops)):
        np.testing.assert_allclose(artifact.embed(given, augmentation), alone, atol=1e-5)
    one_size = [crops[0], crops[2]]
    np.testing.assert_array_equal(artifact.embed(one_size), artifact.embed(np.stack(one_size)))


def test_crops_of_one_size_are_one_batch():
    batches = []
    spy = Artifact(
        "spy", "spy", {"embedding_size": 2}, lambda images: batches.append(images.shape) or images[:, 0, 0, :2]
    )
    crops = [np.full((size, 4, 3), value, np.uint8) for size, value in ((8, 1), (9, 2), (8, 3))]
    assert spy.embed(crops).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert batches == [(2, 8, 4, 3), (1, 9, 4, 3)]
    assert spy.embed([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("crop", "found"),
    [
        (np.zeros((9, 9, 3)), "float64 .9, 9, 3."),
        (np.zeros((9, 9), np.uint8), "uint8 .9, 9."),
        (np.zeros((2, 9, 9, 3), np.uint8), "uint8 .2, 9, 9, 3."),
        (np.zeros((9, 0, 3), np.uint8), "uint8 .9, 0, 3."),
    ],
)
def test_a_crop_that_is_none_is_named_by_its_place(crop, found):
    with pytest.raises(ReidError, match=f"image 1 of 2 is {found}, expected uint8 .H, W, 3. RGB"):
        artifact_of(tiny_embedder()).embed([np.zeros((9, 9, 3), np.uint8), crop])


def test_a_graph_computes_the_same_formula_and_a_row_of_zeros_is_no_nan():
    rows = tf.constant([[3.0, 4.0], [0.0, 0.0]])
    unit = comparable(rows, "cosine")
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(distances_of(unit, tf.constant([[0.6, 0.8]]), "cosine"), [0, 0.5], atol=1e-7)
