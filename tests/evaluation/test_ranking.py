"""Scores of a retrieval: against hand-placed points, and against a slow walk down an exactly sorted list."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation.ranking import evaluate_retrieval
from tests.evaluation import oracle

QUERY_COUNT, GALLERY_COUNT = 12, 70


def evaluate(query, gallery, **options):
    return evaluate_retrieval(
        query[0],
        gallery[0],
        query_person_ids=query[1],
        gallery_person_ids=gallery[1],
        query_camera_ids=query[2],
        gallery_camera_ids=gallery[2],
        **options,
    )


def assert_same(result, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(result, name), value, rtol=0, atol=1e-12, err_msg=name)


def drawn_ids(random, count, lowest):
    return random.integers(lowest, 7, count), random.integers(1, 4, count)


def small_integers(seed, width=3):
    """Many ties, junk (-1), distractors (0), an identity seen by one camera (5), one missing from the gallery (9)."""
    random = np.random.default_rng(seed)
    query_ids, query_cameras = drawn_ids(random, QUERY_COUNT, 1)
    gallery_ids, gallery_cameras = drawn_ids(random, GALLERY_COUNT, -1)
    query_ids[:2], query_cameras[:1] = (5, 9), 2
    gallery_cameras[gallery_ids == 5] = 2
    query = random.integers(-2, 3, (QUERY_COUNT, width))
    gallery = random.integers(-2, 3, (GALLERY_COUNT, width))
    for rows in (query, gallery):
        rows[~rows.any(axis=1), 0] = 1  # Cosine needs a direction.
    return (query, query_ids, query_cameras), (gallery, gallery_ids, gallery_cameras)


def normal_numbers(seed, width=16, dtype=np.float32, queries=30, images=300):
    random = np.random.default_rng(seed)
    query = random.normal(size=(queries, width)).astype(dtype), *drawn_ids(random, queries, 1)
    gallery = random.normal(size=(images, width)).astype(dtype), *drawn_ids(random, images, -1)
    return query, gallery


# --- The rules ---

LINE = (
    [[0.1], [0.5], [1.0], [2.0], [3.0], [4.0], [5.0]],
    [7, -1, 0, 7, 8, 7, 8],
    [1, 3, 2, 2, 2, 3, 1],
)


def test_points_on_a_line():
    """Four queries; a match is written as its rank among the counted images.

    A at 0, person 7, camera 1: 0.1 is its own camera, 0.5 junk; then 1 wrong, 2 match, 3 wrong, 4 match: ranks 2, 4.
      AP (1/2 + 2/4) / 2 = 1/2; trapezoid ((1/2 + 0/1)/2 + (2/4 + 1/3)/2) / 2 = 1/3; INP 2/4.
    B at 6, person 8, camera 1: 5 is its own camera; 4 wrong, 3 match: rank 2. AP 1/2; trapezoid (1/2 + 0)/2; INP 1/2.
    C at 2.1, person 7, camera 2: 2 is its own camera; 3 wrong, 1 wrong, 4 match, 0.1 match: ranks 3, 4.
      AP (1/3 + 2/4) / 2 = 5/12; trapezoid ((1/3 + 0/2)/2 + (2/4 + 1/3)/2) / 2 = 7/24; INP 2/4.
    D at 4, person 7, camera 1: 4 match, 3 and 5 wrong, 2 match: ranks 1, 4.
      AP (1 + 2/4) / 2 = 3/4; trapezoid ((1 + 1)/2 + (2/4 + 1/3)/2) / 2 = 17/24; INP 2/4.
    """
    result = evaluate(([[0.0], [6.0], [2.1], [4.0]], [7, 8, 7, 7], [1, 1, 2, 1]), LINE)
    np.testing.assert_allclose(result.average_precision, [1 / 2, 1 / 2, 5 / 12, 3 / 4])
    np.testing.assert_allclose(result.average_precision_trapezoid, [1 / 3, 1 / 4, 7 / 24, 17 / 24])
    np.testing.assert_allclose(result.inverse_negative_penalty, [1 / 2, 1 / 2, 1 / 2, 1 / 2])
    assert result.first_match_rank.tolist() == [2, 2, 3, 1]
    assert result.cmc.tolist() == [0.25, 0.75] + [1.0] * 48
    assert result.mean_average_precision == pytest.approx(13 / 24)
    assert result.mean_average_precision_trapezoid == pytest.approx(19 / 48)
    assert result.mean_inverse_negative_penalty == pytest.approx(1 / 2)
    assert (result.top1, result.top5, result.top10) == (0.25, 1.0, 1.0)
    assert (result.queries, result.gallery, result.skipped_queries.tolist()) == (4, 6, [])


def test_ignoring_nothing_counts_the_own_camera():
    """Query A of the line: 0.1 match, 1 wrong, 2 match, 3 wrong, 4 match: AP (1 + 2/3 + 3/5) / 3 = 34/45."""
    result = evaluate(([[0.0]], [7], None), (*LINE[:2], None), ignore="nothing")
    assert result.mean_average_precision == pytest.approx(34 / 45)
    assert result.top1 == 1.0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_wrong_image_at_the_same_distance_counts_as_closer(metric):
    """Two matches and two wrong images all at one distance: the matches stand at 3 and 4, AP (1/3 + 2/4) / 2."""
    gallery = [[0, 1], [0, 1], [0, -1], [0, -1]], [3, 4, 3, 4], [2, 2, 2, 2]
    result = evaluate(([[1, 0]], [3], [1]), gallery, metric=metric)
    assert result.first_match_rank.tolist() == [3]
    assert result.mean_average_precision == pytest.approx(5 / 12)


@pytest.mark.parametrize("block_bytes", [8, 3000, 1 << 20])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [1, 37, 128])
@pytest.mark.parametrize("exact", [True, False])
def test_collapsed_network_gets_the_worst_score(width, metric, block_bytes, exact):
    """One embedding for everything: every wrong image stands before a match.

    Random values, so that products are rounded; ones under "euclidean" center to exact zeros.
    """
    (_, *query_ids), (_, *gallery_ids) = small_integers(seed=0)
    row = np.ones(width) if exact else np.random.default_rng(1).uniform(0.1, 10, width)
    query = np.tile(row, (QUERY_COUNT, 1)), *query_ids
    gallery = np.tile(row, (GALLERY_COUNT, 1)), *gallery_ids
    result = evaluate(query, gallery, metric=metric, block_bytes=block_bytes)
    for index in np.flatnonzero(result.first_match_rank):
        wrong = (gallery_ids[0] != -1) & (gallery_ids[0] != query_ids[0][index])
        assert result.first_match_rank[index] == wrong.sum() + 1


def test_collapsed_direction_gets_the_worst_cosine_score():
    """Multiples of one vector are at one angle, though dividing by the length rounds each differently."""
    lengths = np.arange(1, GALLERY_COUNT + 1)
    person_ids = np.where(lengths % 2, 1, 2)
    gallery = np.outer(lengths, [1, 1, 3]), person_ids, np.full(GALLERY_COUNT, 2)
    result = evaluate(([[1, 1, 3]], [1], [1]), gallery, metric="cosine")
    assert result.first_match_rank.tolist() == [GALLERY_COUNT // 2 + 1]


def test_junk_changes_nothing_and_a_distractor_does():
    query, (embeddings, person_ids, camera_ids) = small_integers(seed=3)
    without = person_ids != -1
    clean = evaluate(query, (embeddings[without], person_ids[without], camera_ids[without]))
    with_junk = evaluate(query, (embeddings, person_ids, camera_ids))
    person_ids = np.where(person_ids == 0, -1, person_ids)
    without_distractors = evaluate(query, (embeddings, person_ids, camera_ids))
    assert clean.to_dict() == with_junk.to_dict()
    assert without_distractors.mean_average_precision > clean.mean_average_precision


def test_perfect_ranking_scores_one():
    gallery = [[0.0], [0.1], [5.0], [5.1]], [1, 1, 2, 2], [2, 3, 2, 3]
    summary = evaluate(([[0.2], [5.2]], [1, 2], [1, 1]), gallery).to_dict()
    assert all(value == 1.0 for name, value in summary.items() if name.startswith(("mean", "top")))


def test_query_without_a_valid_match_is_skipped_and_listed():
    """Query 0's person has one camera, query 1's is not in the gallery, query 2 is junk: query 3 alone is scored."""
    query = [[0.0], [0.0], [0.0], [0.0]], [8, 9, -1, 7], [2, 1, 1, 1]
    gallery = [[1.0], [2.0], [3.0]], [7, 8, -1], [2, 2, 2]
    result = evaluate(query, gallery)
    assert result.skipped_queries.tolist() == [0, 1, 2]
    assert result.first_match_rank.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(np.isnan(result.average_precision), [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(result.average_precision_trapezoid), [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(result.inverse_negative_penalty), [True, True, True, False])
    assert result.mean_average_precision == result.mean_inverse_negative_penalty == result.top1 == 1.0


def test_short_curve_leaves_top10_as_it_is():
    query, gallery = small_integers(seed=4)
    short, long = (evaluate(query, gallery, ranks=ranks) for ranks in (3, 100))
    assert (len(short.cmc), len(long.cmc)) == (3, 100)
    np.testing.assert_array_equal(short.cmc, long.cmc[:3])
    assert short.top10 == long.top10 == long.cmc[9] < long.cmc[99] == 1.0


@pytest.mark.parametrize(
    ("ignore", "labels", "expected"),
    [
        # Query at 0; gallery of its person at 1, 3, 5, strangers at 2 and 4. Camera 1 took 1, so 3 and 5 are left;
        # the query's track holds 1 and 3 (and a stranger), so 5 is left.
        ("nothing", {}, (1 + 2 / 3 + 3 / 5) / 3),
        ("same_camera", {"query_camera_ids": [1], "gallery_camera_ids": [1, 2, 2, 1, 2]}, (1 / 2 + 2 / 4) / 2),
        ("same_tracklet", {"query_tracklet_ids": ["x"], "gallery_tracklet_ids": list("xxxyz")}, 1 / 3),
        ("same_file", {"query_files": ["1.jpg"], "gallery_files": ["1.jpg", "a", "b", "c", "d"]}, (1 / 2 + 2 / 4) / 2),
    ],
)
def test_what_is_ignored(ignore, labels, expected):
    people = {"query_person_ids": [7], "gallery_person_ids": [7, 8, 7, 8, 7]}
    result = evaluate_retrieval([[0.0]], [[1.0], [2.0], [3.0], [4.0], [5.0]], **people, ignore=ignore, **labels)
    assert result.mean_average_precision == pytest.approx(expected)
    assert result.ignore == ignore


def test_tracklet_ids_may_be_strings_here_and_numbers_there():
    rows = {"query_person_ids": [7], "gallery_person_ids": [7, 7], "ignore": "same_tracklet"}
    result = evaluate_retrieval(
        [[0.0]], [[1.0], [2.0]], query_tracklet_ids=[3], gallery_tracklet_ids=np.array([3, 4]), **rows
    )
    assert (result.queries, result.first_match_rank.tolist()) == (1, [1])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize(
    ("missing_cameras", "precisions", "gallery"),
    [
        # Queries 0 (camera 1), 1 (none); gallery of the person: camera 1 at 1, none at 2; a stranger without at 0.5,
        # one with camera 1 at 3. distinct: query 0 ignores the image at 1 and finds the one at 2, after 0.5; query 1
        # ignores nothing. leave_out: query 0 has nothing left, query 1 is skipped; so a match is added at 4, camera 2.
        ("distinct", [(1 / 2 + 2 / 4) / 2, (1 / 2 + 2 / 3 + 3 / 5) / 3], 5),
        ("leave_out", [1 / 2, np.nan], 3),
    ],
)
def test_missing_cameras_are_what_the_user_says(missing_cameras, precisions, gallery, missing):
    result = evaluate_retrieval(
        [[0.0], [0.0]],
        [[1.0], [2.0], [0.5], [3.0], [4.0]],
        query_person_ids=[7, 7],
        gallery_person_ids=[7, 7, 8, 8, 7],
        query_camera_ids=np.array([1, missing], dtype=object),
        gallery_camera_ids=np.array([1, missing, missing, 1, 2], dtype=object),
        missing_cameras=missing_cameras,
    )
    np.testing.assert_allclose(result.average_precision, precisions)
    assert result.gallery == gallery


def test_missing_cameras_as_pandas_hands_them_over():
    """A column of integers with a gap is float64 in pandas, or the nullable Int64."""
    people = {"query_person_ids": [7], "gallery_person_ids": [7, 8]}
    for cameras in (pd.Series([1, None]), pd.Series([1, None], dtype="Int64")):
        result = evaluate_retrieval(
            [[0.0]],
            [[1.0], [2.0]],
            **people,
            query_camera_ids=[2],
            gallery_camera_ids=cameras,
            missing_cameras="distinct",
        )
        assert result.top1 == 1.0


def test_cameras_that_a_frame_made_floats_of_or_that_are_not_there_at_all():
    """Split from one frame with a gap, one side has floats without a gap; without a column nobody's camera is known."""
    people = {"query_person_ids": [7], "gallery_person_ids": [7, 8], "missing_cameras": "distinct"}
    for cameras in ({"query_camera_ids": np.array([2.0]), "gallery_camera_ids": np.array([1.0, np.nan])}, {}):
        assert evaluate_retrieval([[0.0]], [[1.0], [2.0]], **people, **cameras).top1 == 1.0


# --- The arithmetic ---


def counted_in_float64(query, gallery, metric):
    """Average precisions by a full float64 matrix of explicit differences."""
    rows = []
    unit = metric == "cosine"
    left, right = (side[0].astype(np.float64) for side in (query, gallery))
    if unit:
        left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    for embedding, person, camera in zip(left, *query[1:]):
        distances = np.linalg.norm(right - embedding, axis=1)
        matches = np.sort(distances[(gallery[1] == person) & (gallery[2] != camera)])
        wrong = distances[(gallery[1] != person) & (gallery[1] != -1)]
        ranks = [(wrong <= match).sum() + found for found, match in enumerate(matches, start=1)]
        rows.append(np.mean(np.arange(1, len(ranks) + 1) / ranks) if ranks else np.nan)
    return rows


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [16, 300, 520])  # from one sum to three
@pytest.mark.parametrize("spread", [0.0, 0.4, 3.0])  # from a useless to a perfect model
def test_ranks_are_those_of_float64_whatever_the_model(spread, width, metric):
    random = np.random.default_rng(21)
    query, gallery = normal_numbers(seed=20, width=width, queries=60, images=2000)
    centers = random.normal(size=(8, width)).astype(np.float32) * spread
    query[0][:] += centers[query[1]]
    gallery[0][:] += centers[gallery[1]]
    for block_bytes in (1 << 25, 1 << 18):
        result = evaluate(query, gallery, metric=metric, block_bytes=block_bytes)
        np.testing.assert_allclose(result.average_precision, counted_in_float64(query, gallery, metric), atol=1e-12)


@pytest.mark.parametrize("factor", [1e-37, 1e-25, 1e-10, 1e10, 1e25, 1e37])
def test_scale_changes_nothing(factor):
    query, gallery = normal_numbers(seed=22)
    expected = evaluate(query, gallery).average_precision
    scaled = [(rows.astype(np.float64) * factor, *ids) for rows, *ids in (query, gallery)]
    np.testing.assert_array_equal(evaluate(*scaled).average_precision, expected)


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-8])
def test_distances_that_float32_cannot_tell_apart(gap):
    """Everything of both people lies within `gap` of one point at distance 1, far below float32's digits."""
    random = np.random.default_rng(23)
    direction = random.normal(size=64)
    rows = direction / np.linalg.norm(direction) + gap * random.normal(size=(400, 64)) / 8
    gallery = rows, random.integers(1, 3, 400), np.full(400, 2)
    query = gap * random.normal(size=(10, 64)), random.integers(1, 3, 10), np.full(10, 1)
    result = evaluate(query, gallery)
    np.testing.assert_allclose(result.average_precision, counted_in_float64(query, gallery, "euclidean"), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ignore", ["same_camera", "nothing"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_small_integers_equal_the_exact_oracle(metric, ignore, seed):
    query, gallery = small_integers(seed)
    result = evaluate(query, gallery, metric=metric, ignore=ignore)
    assert_same(result, oracle.evaluate(query, gallery, metric=metric, ignore=ignore))
    assert len(result.skipped_queries) > 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_normal_numbers_equal_the_float64_oracle(metric, dtype):
    query, gallery = normal_numbers(seed=5, dtype=dtype)
    expected = oracle.evaluate(query, gallery, metric=metric, distance=oracle.float64_distance)
    assert_same(evaluate(query, gallery, metric=metric), expected)


def test_near_duplicates_far_from_the_origin_equal_the_exact_oracle():
    """Points 1e-3 apart around 1000: a float32 product would be off by 0.1, more than all distances."""
    query, gallery = normal_numbers(seed=6, width=4, queries=8, images=100)
    for rows in (query[0], gallery[0]):
        rows[:] = rows * 1e-3 + 1000
    assert_same(evaluate(query, gallery), oracle.evaluate(query, gallery))


def test_one_huge_embedding_leaves_the_others_exact():
    query, gallery = normal_numbers(seed=7, width=4, queries=8, images=100)
    gallery[0][17] = 1e6
    assert_same(evaluate(query, gallery), oracle.evaluate(query, gallery))


@pytest.mark.parametrize("person", [-1, 0])
@pytest.mark.parametrize("far", [1e6, 1e12, 1e30])
def test_one_row_far_away_takes_nobodys_digits(far, person):
    query, gallery = normal_numbers(seed=24, images=600)
    expected = evaluate(query, gallery).average_precision
    rows = np.concatenate([gallery[0], np.full((1, 16), far, np.float32)])
    with_outlier = rows, np.append(gallery[1], person), np.append(gallery[2], 1)
    np.testing.assert_array_equal(evaluate(query, with_outlier).average_precision, expected)


def test_many_true_matches_take_the_sorting_way():
    random = np.random.default_rng(8)
    count = 384
    gallery = random.integers(-9, 10, (count, 2)), random.integers(1, 3, count), np.full(count, 2)
    query = random.integers(-9, 10, (2, 2)), [1, 2], [1, 1]
    assert min((gallery[1] == 1).sum(), (gallery[1] == 2).sum()) > 128
    assert_same(evaluate(query, gallery), oracle.evaluate(query, gallery))


@pytest.mark.parametrize("block_bytes", [1, 200, 1000, 5000])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_block_size_changes_nothing(metric, block_bytes):
    for query, gallery in (small_integers(seed=9), normal_numbers(seed=9)):
        whole = evaluate(query, gallery, metric=metric)
        in_blocks = evaluate(query, gallery, metric=metric, block_bytes=block_bytes)
        for field in dataclasses.fields(whole):
            np.testing.assert_array_equal(getattr(in_blocks, field.name), getattr(whole, field.name))


def test_cosine_is_euclidean_between_unit_vectors():
    query, gallery = normal_numbers(seed=10)
    cosine = evaluate(query, gallery, metric="cosine").average_precision
    unit = [(rows / np.linalg.norm(rows, axis=1, keepdims=True), *ids) for rows, *ids in (query, gallery)]
    np.testing.assert_array_equal(evaluate(*unit).average_precision, cosine)
    assert (evaluate(query, gallery).average_precision != cosine).any()


# --- What goes in and out ---


@pytest.mark.parametrize("id_dtype", [np.int8, np.int32, np.int64, object])
def test_lists_and_any_integer_ids_are_accepted(id_dtype):
    query, gallery = small_integers(seed=11)
    coded = [(rows.tolist(), *(ids.astype(id_dtype) for ids in both)) for rows, *both in (query, gallery)]
    assert evaluate(*coded).to_dict() == evaluate(query, gallery).to_dict()


def test_unsigned_ids_are_accepted():
    query = [[0.0]], np.array([7], np.uint16), np.array([1], np.uint8)
    gallery = [[1.0], [2.0]], np.array([7, 8], np.uint16), np.array([2, 2], np.uint8)
    assert evaluate(query, gallery).top1 == 1.0


def test_inputs_are_left_alone():
    query, gallery = normal_numbers(seed=12, dtype=np.float64)
    before = query[0].copy(), gallery[0].copy()
    evaluate(query, gallery, metric="cosine")
    evaluate(query, gallery)
    np.testing.assert_array_equal(query[0], before[0])
    np.testing.assert_array_equal(gallery[0], before[1])


def test_summary_survives_json():
    result = evaluate(*small_integers(seed=13), ranks=5)
    summary = json.loads(json.dumps(result.to_dict()))
    assert summary == result.to_dict()
    assert summary["mean_average_precision"] == result.mean_average_precision
    assert summary["cmc"] == result.cmc.tolist() and len(summary["cmc"]) == 5
    assert (summary["queries"], summary["gallery"]) == (QUERY_COUNT, result.gallery)
    assert summary["skipped_queries"] == len(result.skipped_queries) > 0
    assert (summary["metric"], summary["ignore"]) == ("euclidean", "same_camera")


def test_result_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluate(*small_integers(seed=14)).mean_average_precision = 1.0


# --- Ids that are text ---


def as_text(ids) -> list:
    """Names whose alphabetical order is another than that of the numbers; junk is -1 in either."""
    return [one if str(one) == "-1" else f"person {50 - int(one)}é" for one in map(str, ids)]


KINDS_OF_TEXT = {
    "list": list,
    "numpy": np.array,
    "object": lambda ids: np.array(ids, object),
    "bytes": lambda ids: np.array([one.encode() for one in ids]),
    "pandas": lambda ids: pd.Series(ids, dtype="string"),
    "categorical": lambda ids: pd.Series(ids, dtype="category"),
}


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
@pytest.mark.parametrize("ignore", ["same_camera", "nothing"])
def test_ids_that_are_text_score_as_their_codes_do(kind, ignore):
    """Ties, junk and distractors, too: only which ids are equal matters, and that "-1" is junk."""
    (query, *of_query), (gallery, *of_gallery) = small_integers(seed=17)
    expected = evaluate((query, *of_query), (gallery, *of_gallery), ignore=ignore)
    text = [[KINDS_OF_TEXT[kind](as_text(ids)) for ids in side] for side in (of_query, of_gallery)]
    assert -1 in of_gallery[0] and 0 in of_gallery[0]
    result = evaluate((query, *text[0]), (gallery, *text[1]), ignore=ignore)
    assert result.to_dict() == expected.to_dict()
    for name in ("average_precision", "first_match_rank", "skipped_queries"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_cameras_that_are_text_may_be_missing(missing):
    query, gallery = small_integers(seed=18)
    numbers = pd.Series(gallery[2], dtype="Int64").mask(np.arange(GALLERY_COUNT) % 5 == 0)
    expected = evaluate(query, (*gallery[:2], numbers), missing_cameras="distinct")
    names = [missing if pd.isna(one) else f"camera {one}" for one in numbers]
    cameras = [f"camera {one}" for one in query[2]]
    result = evaluate((*query[:2], cameras), (*gallery[:2], names), missing_cameras="distinct")
    assert result.to_dict() == expected.to_dict()


# --- On screen ---


def test_a_result_prints_as_one_short_line():
    result = evaluate(([[0.0], [6.0], [2.1], [4.0]], [7, 8, 7, 7], [1, 1, 2, 1]), LINE)
    assert (
        str(result)
        == repr(result)
        == (
            "RetrievalResult(mAP 54.17 %, top-1 25.00 %, top-5 100.00 %, top-10 100.00 %, mINP 50.00 %; 4 queries, "
            "6 gallery images, euclidean, ignore=same_camera)"
        )
    )
    lonely = evaluate(([[0.0], [6.0]], [7, 99], [1, 1]), LINE)
    assert "; 2 queries (1 skipped), 6 gallery images" in str(lonely)


def test_import_leaves_tensorflow_out():
    code = "import sys, keras_reid.evaluation.ranking; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- What is refused ---

NAN_ROW = [[0.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]]
THREE = [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_embeddings": NAN_ROW}, "query_embeddings: row 1 is the first with NaN"),
        ({"gallery_embeddings": NAN_ROW[::-1]}, "gallery_embeddings: row 0 is the first with NaN, inf"),
        ({"gallery_embeddings": NAN_ROW, "block_bytes": 1}, "gallery_embeddings: row 1 is the first with NaN"),
        ({"query_embeddings": [[0.0], [1.0], [2.0]]}, "query embeddings are 1 wide and gallery embeddings 2"),
        ({"query_embeddings": np.zeros((0, 2))}, r"query_embeddings has shape \(0, 2\)"),
        ({"gallery_embeddings": []}, r"gallery_embeddings has shape \(0,\).*gallery split empty"),
        ({"gallery_embeddings": np.ones((3, 0))}, "at least one image and one column"),
        ({"gallery_embeddings": np.ones(3)}, r"gallery_embeddings has shape \(3,\): expected \[images, width\]"),
        ({"gallery_embeddings": [[1.0], [1.0, 2.0], [1.0]]}, "gallery_embeddings: expected rows of one width"),
        ({"query_embeddings": [["a", "b"]] * 3}, "query_embeddings is <U1: expected float16"),
        ({"query_person_ids": [1, 2]}, r"query_person_ids has shape \(2,\): expected \(3,\)"),
        ({"gallery_camera_ids": [[1], [1], [1]]}, r"gallery_camera_ids has shape \(3, 1\): expected \(3,\)"),
        ({"gallery_person_ids": [1.0, 2.0, 3.0]}, "gallery_person_ids is float64: expected integers"),
        ({"query_person_ids": [True, True, False]}, "query_person_ids is bool: expected integers"),
        ({"query_person_ids": ["1", "2", "3"]}, "gallery_person_ids holds the number 1, but other ids are text"),
        ({"query_person_ids": [1, "2", 3]}, "gallery_person_ids holds the number 1, but other ids are text"),
        (
            {"query_person_ids": np.array([1, "2", 3], object)},
            "query_person_ids: row 1 is '2': expected integers or text",
        ),
        ({"query_camera_ids": ["a", "a", "b"]}, "gallery_camera_ids holds the number 2, .*ignore=nothing"),
        (
            {"query_camera_ids": np.array([1, 1, None])},
            "query_camera_ids: row 2 is missing, 1 of 3 are.*ignore=nothing.*missing_cameras=distinct",
        ),
        ({"query_camera_ids": [1, 1.5, np.nan], "missing_cameras": "distinct"}, "query_camera_ids is float64"),
        ({"missing_cameras": "other"}, "missing_cameras='other' is unknown: expected one of refuse, distinct, leave"),
        ({"ignore": "same_tracklet"}, "query_tracklet_ids is None.*ignore=nothing"),
        ({"ignore": "same_file", "query_files": ["a", None, "b"], "gallery_files": list("abc")}, "query_files: row 1"),
        ({"query_camera_ids": None}, "query_camera_ids is None.*ignore=nothing"),
        ({"metric": "manhattan"}, "metric='manhattan' is unknown: expected one of euclidean, cosine"),
        (
            {"ignore": "same_person"},
            "ignore='same_person' is unknown: expected one of same_camera, same_tracklet, same_file, nothing",
        ),
        ({"ranks": 0}, "ranks=0: expected an integer of at least 1"),
        (
            {"gallery_embeddings": [[1, 1], [0, 0], [1, 2]], "metric": "cosine"},
            "gallery_embeddings: row 1 .*length zero",
        ),
        (
            {"gallery_camera_ids": [1, 1, 1]},
            "none of the 3 queries .* one camera id .*real camera ids.*ignore=nothing",
        ),
        ({"gallery_person_ids": [4, 5, 6]}, "query ids 1, 2, 3 and gallery ids 4, 5, 6 share no person"),
        (
            {"query_person_ids": ["ann", "bo", "cy"], "gallery_person_ids": ["0001", "-1", "0003"]},
            "query ids ann, bo, cy and gallery ids -1, 0001, 0003 share no person",
        ),
        (
            {"query_camera_ids": ["lobby"] * 3, "gallery_camera_ids": ["lobby"] * 3},
            "one camera id for everything .query cameras lobby, gallery cameras lobby",
        ),
        ({"gallery_person_ids": [-1, -1, -1]}, "all 3 gallery images have id -1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "query_embeddings": THREE,
        "gallery_embeddings": THREE,
        "query_person_ids": [1, 2, 3],
        "gallery_person_ids": [1, 2, 3],
        "query_camera_ids": [1, 1, 1],
        "gallery_camera_ids": [2, 2, 2],
        **change,
    }
    query, gallery = arguments.pop("query_embeddings"), arguments.pop("gallery_embeddings")
    with pytest.raises(ReidError, match=message) as error:
        evaluate_retrieval(query, gallery, **arguments)
    assert "\n" not in str(error.value)
