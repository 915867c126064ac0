"""Tests of re-ranking and query expansion: points placed by hand, and a slow dense reference on drawn embeddings."""

import tracemalloc

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import neighbors
from keras_reid.evaluation.neighbors import nearest_neighbors
from keras_reid.evaluation.reranking import expand_queries, rerank
from tests.evaluation import reranking_oracle


def normal_numbers(seed, queries=9, images=60, width=8):
    random = np.random.default_rng(seed)
    return random.normal(size=(queries, width)), random.normal(size=(images, width))


def clusters(seed, queries=12, images=70, width=16, people=8):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(people, width))
    sides = (centers[random.integers(0, people, count)] for count in (queries, images))
    return tuple(side + 0.3 * random.normal(size=side.shape) for side in sides)


def small_integers(seed, queries=12, images=70, width=3):
    """Copies and ties everywhere, more copies of some rows than a list is long."""
    random = np.random.default_rng(seed)
    query, gallery = random.integers(-1, 2, (queries, width)), random.integers(-1, 2, (images, width))
    gallery[20:50] = query[0]
    return query, gallery


def assert_as_by_the_book(query, gallery, **options):
    result = rerank(query, gallery, **options)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reranking_oracle.rerank(query, gallery, **options), rtol=0, atol=1e-5)


# --- Re-ranking: points placed by hand ---


def test_jaccard_distance_of_three_points():
    """Query 0, gallery 1 and 3, lists of k1 + 1 = 2 images: 0 and 1 have each other, 3 has 1 but not the reverse.

    Squared distances over the row's largest: from 0 to 1, 1/9; from 1 to 0, 1/4. So V(0) = (a, 1 - a, 0) with
    a = 1 / (1 + exp(-1/9)), V(1) = (1 - b, b, 0) with b = 1 / (1 + exp(-1/4)), V(3) = (0, 0, 1). The minima of V(0)
    and V(1) sum to 2 - a - b and the maxima to a + b; V(0) and V(3) share nothing.
    """
    a, b = 1 / (1 + np.exp(-1 / 9)), 1 / (1 + np.exp(-1 / 4))
    jaccard = 1 - (2 - a - b) / (a + b)
    np.testing.assert_allclose(rerank([[0]], [[1], [3]], k1=1, k2=1, lambda_value=0), [[jaccard, 1]], atol=1e-6)
    mixed = rerank([[0]], [[1], [3]], k1=1, k2=1, lambda_value=0.3)
    np.testing.assert_allclose(mixed, [[0.7 * jaccard + 0.3 / 9, 1]], atol=1e-6)


def test_averaging_over_two_neighbors():
    """The points above with k2 = 2: 0 and 1 average the same two rows, so their Jaccard distance is 0.

    3 averages with 1, to ((1 - b) / 2, b / 2, 1 / 2); 0 has ((a + 1 - b) / 2, (1 - a + b) / 2, 0), more of the first
    two. The minima sum to 1/2 and the maxima to 3/2.
    """
    np.testing.assert_allclose(rerank([[0]], [[1], [3]], k1=1, k2=2, lambda_value=0), [[0, 2 / 3]], atol=1e-6)


def test_a_wrong_image_that_is_nearer_but_has_other_neighbors_falls_behind():
    """The match (1, 0) shares the two images halfway with the query; the wrong one, (-0.9, 0), has its own crowd."""
    between, wrong, match = [[0.5, 0.1], [0.5, -0.11]], [[-0.9, 0]], [[1, 0]]
    crowd = [[-1.2, 0], [-1.2, 0.1], [-1.2, -0.1]]
    result = rerank([[0, 0]], between + wrong + match + crowd, k1=3, k2=1, lambda_value=0.3)[0]
    distance_of_wrong, distance_of_match = result[2], result[3]
    assert distance_of_match < distance_of_wrong - 0.2


def test_all_images_in_one_point_are_at_distance_zero():
    np.testing.assert_allclose(rerank(np.ones((3, 4)), np.ones((18, 4))), 0, atol=1e-6)
    assert rerank([[5.0]], [[5.0]]).tolist() == [[0]]


def test_more_images_in_one_point_than_a_list_holds():
    """Then the order of the images decides who is a neighbor, in the reference as well."""
    assert_as_by_the_book(np.full((3, 4), 0.1), np.full((50, 4), 0.1))


# --- Re-ranking: against the reference ---


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [normal_numbers, clusters, small_integers])
def test_drawn_embeddings(draw, seed):
    assert_as_by_the_book(*draw(seed))


@pytest.mark.parametrize(
    "options",
    [
        {"k2": 1},
        {"k1": 1},
        {"k1": 5, "k2": 3},  # 5 / 2 goes to 2, 7 / 2 to 4
        {"k1": 7, "k2": 2},
        {"k1": 3, "k2": 9},
        {"k1": 500, "k2": 500},
        {"lambda_value": 0},
        {"lambda_value": 1},
        {"metric": "cosine"},
        {"metric": "cosine", "k1": 6, "k2": 2, "lambda_value": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("draw", [normal_numbers, clusters])
def test_options(draw, options):
    assert_as_by_the_book(*draw(seed=5), **options)


@pytest.mark.parametrize(("queries", "images"), [(1, 1), (1, 40), (5, 1), (3, 4), (2, 19), (2, 20)])
def test_sizes_around_the_length_of_a_list(queries, images):
    assert_as_by_the_book(*normal_numbers(0, queries, images))


@pytest.mark.parametrize("convert", [np.float16, np.float32, np.float64, np.int32, np.ndarray.tolist])
def test_what_embeddings_may_be(convert):
    query, gallery = (np.round(8 * side) for side in normal_numbers(2))
    expected = rerank(query, gallery)
    given = [convert(side) if convert is np.ndarray.tolist else side.astype(convert) for side in (query, gallery)]
    np.testing.assert_array_equal(rerank(*given), expected)


@pytest.mark.parametrize("offset", [1e4, 1e7])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_an_offset_and_the_scale_change_nothing(offset, scale):
    """Adding 1e7 costs a float64 number the digits behind 1e-9, nothing that the result shows."""
    query, gallery = clusters(3)
    moved = rerank((query + offset) * scale, (gallery + offset) * scale)
    np.testing.assert_allclose(moved, rerank(query, gallery), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block_bytes", [1, 5000, 1 << 17])
@pytest.mark.parametrize("draw", [clusters, small_integers])
def test_blocks_change_nothing(draw, block_bytes, monkeypatch):
    query, gallery = draw(7)
    expected = rerank(query, gallery)
    monkeypatch.setattr(neighbors, "CACHE_BYTES", 3 * block_bytes)
    np.testing.assert_allclose(rerank(query, gallery, block_bytes=block_bytes), expected, rtol=0, atol=1e-6)


def test_no_matrix_of_all_pairs_is_held():
    """4,000 images have 16 million pairs, 64 MB in float32; the result is 1.6 MB."""
    query, gallery = normal_numbers(0, queries=100, images=3900)
    tracemalloc.start()
    rerank(query, gallery, block_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6


# --- Query expansion ---


def test_mean_of_a_query_and_its_nearest_images():
    gallery = [[1.0, 0.0], [0.0, 2.0], [10.0, 0.0]]
    expanded = expand_queries([[0.0, 0.0], [11.0, 0.0]], gallery, neighbors=2)
    assert expanded.dtype == np.float32
    np.testing.assert_allclose(expanded, [[1 / 3, 2 / 3], [22 / 3, 0]], rtol=1e-6)


def test_more_neighbors_than_images_average_all():
    np.testing.assert_allclose(expand_queries([[0.0]], [[1.0], [5.0]], neighbors=9), [[2.0]])


def test_unit_vectors_stay_unit_vectors():
    """(1, 0) and its nearest (0.6, 0.8) sum to (1.6, 0.8), the direction of (2, 1); one longer row, and it is kept."""
    expected = np.array([[2, 1]]) / np.sqrt(5)
    gallery = [[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]
    np.testing.assert_allclose(expand_queries([[1, 0]], gallery, neighbors=1), expected, atol=1e-6)
    np.testing.assert_allclose(expand_queries([[1, 0]], [*gallery, [9, 9]], neighbors=1), [[0.8, 0.4]], atol=1e-6)


def test_cosine_averages_directions():
    """Of (0, 5), (3, 0), (-1, 0) the last is the farthest from (2, 0); (1, 0) + (1, 0) + (0, 1) points to (2, 1)."""
    gallery = [[0, 5], [3, 0], [-1, 0]]
    expanded = expand_queries([[2, 0]], gallery, neighbors=2, metric="cosine")
    np.testing.assert_allclose(expanded, np.array([[2, 1]]) / np.sqrt(5), atol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_query_that_its_neighbors_cancel_stays(metric):
    np.testing.assert_allclose(expand_queries([[0, 1]], [[0, -1]], metric=metric), [[0, 1]])


def test_very_small_rows_have_a_direction():
    result = expand_queries(np.array([[1e-200, 0]]), [[0, 1e-200], [1, 0]], neighbors=1, metric="cosine")
    np.testing.assert_allclose(result, [[1, 0]])


# --- The nearest neighbors of both ---


@pytest.mark.parametrize("count", [1, 7, 60])
@pytest.mark.parametrize("images", [60, 1500])
@pytest.mark.parametrize("draw", [normal_numbers, clusters, small_integers])
def test_neighbors_are_those_of_a_stable_sort(draw, images, count):
    query, gallery = draw(1, images=images)
    distances = reranking_oracle.squared_distances(query, gallery)
    found = nearest_neighbors(query, gallery, count, block_bytes=40000)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1, kind="stable")[:, :count])
    np.testing.assert_allclose(found.squared_distances, np.sort(distances, axis=1)[:, :count])
    np.testing.assert_allclose(found.largest, distances.max(axis=1), rtol=1e-6)


def test_neighbors_that_float32_cannot_tell_apart():
    """1,500 images within 1e-6 of each other, and one far off that keeps the scale large."""
    random = np.random.default_rng(0)
    gallery = np.concatenate([1e-6 * random.normal(size=(1500, 8)), [[1e3] * 8]])
    query = gallery[::100] + 1e-7
    expected = np.argsort(reranking_oracle.squared_distances(query, gallery), axis=1, kind="stable")
    np.testing.assert_array_equal(nearest_neighbors(query, gallery, 10).indices, expected[:, :10])


def test_more_neighbors_than_rows_are_refused():
    with pytest.raises(ReidError, match="count=4: expected 1 to 3"):
        nearest_neighbors(np.ones((2, 2)), np.ones((3, 2)), 4)


# --- What is refused ---


@pytest.mark.parametrize("function", [rerank, expand_queries])
@pytest.mark.parametrize(
    ("query", "gallery", "options", "message"),
    [
        ([[1.0, 2.0]], [[1.0]], {}, "2 wide and gallery embeddings 1"),
        (np.ones((0, 2)), [[1.0, 1.0]], {}, "query_embeddings has shape .0, 2.: expected at least one image"),
        ([[1.0]], [], {}, "Is the gallery split empty"),
        ([1.0], [[1.0]], {}, r"expected \[images, width\]"),
        ([[1.0], [np.nan]], [[1.0]], {}, "query_embeddings: row 1 is the first with NaN"),
        ([[1.0]], [[1.0], [2.0], [np.inf]], {}, "gallery_embeddings: row 2"),
        ([["a"]], [[1.0]], {}, "expected float16, float32 or float64"),
        ([[1.0]], [[0.0]], {"metric": "cosine"}, "length zero"),
        ([[1.0]], [[1.0]], {"metric": "manhattan"}, "expected one of euclidean, cosine"),
        ([[1.0]], [[1.0]], {"block_bytes": 0}, "block_bytes=0: expected an integer of at least 1"),
    ],
)
def test_bad_embeddings_are_refused(function, query, gallery, options, message):
    with pytest.raises(ReidError, match=message):
        function(query, gallery, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "k1=0: expected an integer of at least 1"),
        ({"k1": 2.5}, "k1=2.5"),
        ({"k2": 0}, "k2=0: expected an integer of at least 1"),
        ({"lambda_value": 1.5}, "lambda_value=1.5: expected a number from 0 to 1"),
        ({"lambda_value": -0.1}, "lambda_value=-0.1"),
        ({"lambda_value": float("nan")}, "lambda_value=nan"),
        ({"lambda_value": True}, "lambda_value=True"),
        ({"lambda_value": "0.3"}, "lambda_value='0.3'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ReidError, match=message):
        rerank([[1.0]], [[1.0]], **options)


def test_no_neighbors_are_refused():
    with pytest.raises(ReidError, match="neighbors=0: expected an integer of at least 1"):
        expand_queries([[1.0]], [[1.0]], neighbors=0)
