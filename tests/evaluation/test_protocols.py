"""Pooling, the single-gallery-shot protocol, breakdowns: against points and groups placed by hand, and slow loops."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import (
    Embedded,
    evaluate_distances,
    evaluate_retrieval,
    evaluate_single_gallery_shot,
    pool_embeddings,
)
from keras_reid.evaluation.breakdown import camera_pairs, identities
from keras_reid.evaluation.pooling import pool_rows


def frame(person_ids, camera_ids, **more) -> pd.DataFrame:
    return pd.DataFrame({"person_id": person_ids, "camera_id": camera_ids, **more})


# --- Pooling ---


@pytest.mark.parametrize(("how", "expected"), [("mean", [[2.0, 0.5], [7.0, 5.0]]), ("max", [[3.0, 4.0], [7.0, 5.0]])])
def test_rows_of_a_group_become_one_in_the_order_of_first_sight(how, expected):
    """Group b is rows 0 and 2: mean ((1+3)/2, (4-3)/2), column maxima (3, 4); group a is row 1."""
    pooled, first = pool_embeddings([[1.0, 4.0], [7.0, 5.0], [3.0, -3.0]], list("bab"), how=how)
    np.testing.assert_allclose(pooled, expected)
    assert pooled.dtype == np.float32 and first.tolist() == [0, 1]


def test_unit_embeddings_stay_unit_and_others_do_not():
    """(1, 0) and (0, 1): mean (1/2, 1/2), of length 1 again (0.7071, 0.7071); maxima (1, 1) the same."""
    for how in ("mean", "max"):
        pooled, _ = pool_embeddings([[1.0, 0.0], [0.0, 1.0]], [5, 5], how=how)
        np.testing.assert_allclose(pooled, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    pooled, _ = pool_embeddings([[2.0, 0.0], [0.0, 1.0]], [5, 5])
    np.testing.assert_allclose(pooled, [[1.0, 0.5]])


def test_under_cosine_each_embedding_counts_alike():
    pooled, _ = pool_embeddings([[100.0, 0.0], [0.0, 1.0]], [5, 5], metric="cosine")
    np.testing.assert_allclose(pooled, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


def test_pooling_refuses_what_does_not_fit():
    with pytest.raises(ReidError, match="how='median' is unknown: expected one of mean, max"):
        pool_embeddings([[1.0]], [1], how="median")
    with pytest.raises(ReidError, match="expected .N, D. and N groups"):
        pool_embeddings([[1.0]], [1, 2])


def embedded(**more) -> Embedded:
    """Two people, 7 and 8, on a line; tracks of two frames; person 7 is at 0 and 1, person 8 at 4 and 5."""
    query = frame([7, 7, 8, 8], [1, 1, 1, 1], tracklet_id=["a", "a", "b", "b"])
    gallery = frame([7, 7, 8, 8], [2, 2, 2, 2], tracklet_id=["c", "c", "d", "d"])
    rows = np.array([[0.0], [1.0], [4.0], [5.0]])
    return Embedded(query.assign(**more), rows, gallery, rows + 0.25)


def test_tracks_are_one_query_and_one_gallery_entry():
    tracks = embedded().with_tracklets("mean")
    np.testing.assert_allclose(tracks.query_embeddings, [[0.5], [4.5]])
    np.testing.assert_allclose(tracks.gallery_embeddings, [[0.75], [4.75]])
    assert tracks.query.person_id.tolist() == [7, 8] and tracks.gallery.tracklet_id.tolist() == ["c", "d"]
    assert tracks.evaluate().queries == 2


def test_a_track_of_two_people_or_without_an_id_is_refused():
    with pytest.raises(ReidError, match="tracklet_id a holds images of more than one person_id"):
        embedded(person_id=[7, 8, 8, 8]).with_tracklets("mean")
    with pytest.raises(ReidError, match="pooled by tracklet_id, which the dataset does not give for every image"):
        embedded(tracklet_id=["a", None, "b", "b"]).with_tracklets("mean")


def named(**more) -> Embedded:
    """The same, whose people were called 0007 and 008, and whose cameras dock and lobby."""
    one = embedded(**more)
    people, cameras = {7: "0007", 8: "008"}.get, {1: "dock", 2: "lobby"}.get
    sides = {
        side: rows.assign(person_id_name=rows.person_id.map(people), camera_id_name=rows.camera_id.map(cameras))
        for side, rows in (("query", one.query), ("gallery", one.gallery))
    }
    return dataclasses.replace(one, **sides)


@pytest.mark.parametrize("score", ["evaluate", "verify", "evaluate_single_gallery_shot", "evaluate_reranked"])
def test_a_refusal_names_people_and_cameras_as_the_dataset_does(score):
    def refusal(one: Embedded) -> str:
        with pytest.raises(ReidError) as caught:
            getattr(one, score)(**({"k1": 2, "k2": 1, "lambda_value": 0.3} if "rerank" in score else {}))
        return str(caught.value)

    strangers = dataclasses.replace(named(), gallery=named().gallery.query("person_id == 8").iloc[[0, 0, 1, 1]])
    strangers = dataclasses.replace(strangers, query=strangers.query.assign(person_id=7, person_id_name="0007"))
    assert "query ids 0007 and gallery ids 008 share no person" in refusal(strangers)
    assert "(query cameras lobby, gallery cameras lobby)" in refusal(named(camera_id=[2, 2, 2, 2]))
    assert "(query cameras 2, gallery cameras 2)" in refusal(embedded(camera_id=[2, 2, 2, 2]))


def test_what_cannot_be_pooled_is_named_as_the_dataset_names_it():
    with pytest.raises(ReidError, match="person 0007, camera dock: expected one or more"):
        named().with_multi_query(frame([8, 8], [1, 1]), np.ones((2, 1)), "mean")
    rows = named(tracklet_id=list("abab")).query
    with pytest.raises(ReidError, match="person_id 0007 holds images of more than one camera_id"):
        pool_rows(
            rows.assign(camera_id=[1, 2, 1, 1]), np.ones((4, 1)), by=["person_id"], how="mean", metric="euclidean"
        )


def test_multi_query_replaces_each_query_by_all_images_of_its_person_and_camera():
    """Person 7 by camera 1 is at 10 and 20 there, by camera 2 at 90; person 8 by camera 1 at 40."""
    more = frame([7, 8, 7, 7], [1, 1, 2, 1])
    rows = np.array([[10.0], [40.0], [90.0], [20.0]])
    for how, place in (("mean", 15.0), ("max", 20.0)):
        pooled = embedded().with_multi_query(more, rows, how)
        np.testing.assert_allclose(pooled.query_embeddings, [[place], [place], [40.0], [40.0]])
        assert len(pooled.query) == 4
    with pytest.raises(ReidError, match="2 of 4 queries have no multi_query image .* the first is person 8, camera 1"):
        embedded().with_multi_query(more[more.person_id == 7], rows[[0, 2, 3]], "mean")


# --- Distances that are there already ---


@pytest.mark.parametrize("ignore", ["same_camera", "nothing"])
def test_given_distances_score_as_their_embeddings_do(ignore):
    random = np.random.default_rng(0)
    people = {
        "query_person_ids": random.integers(1, 5, 20),
        "gallery_person_ids": random.integers(-1, 5, 90),
        "query_camera_ids": random.integers(1, 4, 20),
        "gallery_camera_ids": random.integers(1, 4, 90),
    }
    query, gallery = random.integers(-3, 4, (20, 2)), random.integers(-3, 4, (90, 2))  # many ties
    distances = ((query[:, None] - gallery) ** 2).sum(axis=2).astype(np.float32)
    expected = evaluate_retrieval(query, gallery, ignore=ignore, **people).to_dict()
    assert evaluate_distances(distances, ignore=ignore, metric="euclidean", **people).to_dict() == expected


def test_distances_that_are_no_matrix_of_finite_floats_are_refused():
    people = {"query_person_ids": [1], "gallery_person_ids": [1, 2], "ignore": "nothing"}
    with pytest.raises(ReidError, match="distances are bool"):
        evaluate_distances(np.array([[True, False]]), **people)
    with pytest.raises(ReidError, match="NaN or inf"):
        evaluate_distances(np.array([[1.0, np.nan]]), **people)


def test_an_argument_of_another_name_is_an_error_and_not_left_out():
    people = {"query_person_ids": [1], "gallery_person_ids": [1], "ignore": "nothing"}
    with pytest.raises(TypeError, match="query_cameras"):
        evaluate_distances(np.zeros((1, 1)), query_cameras=[1], **people)


# --- One gallery image of each person ---

LINE = {
    # Query at 0, person 7, camera 1. Its gallery: 1 (camera 1: never drawn), 2 and 6. Person 8 at 3 and 4; 9 at 5.
    "query_person_ids": [7],
    "gallery_person_ids": [7, 7, 7, 8, 8, 9, -1],
    "query_camera_ids": [1],
    "gallery_camera_ids": [1, 2, 2, 1, 2, 2, 2],
}
PLACES = [[1.0], [2.0], [6.0], [3.0], [4.0], [5.0], [0.1]]


def test_single_shot_by_enumeration():
    """Drawn alike: 2 or 6 of the person, 3 or 4, and 5. With 2: rank 1; with 6: behind both others, rank 3.

    So top-1 is 1/2, top-5 1, and the mean of 1 / rank (1 + 1/3) / 2 = 2/3.
    """
    ranks = [1 + (other < own) + (own > 5) for own, other in itertools.product((2, 6), (3, 4))]
    assert ranks == [1, 1, 3, 3]
    result = evaluate_single_gallery_shot([[0.0]], PLACES, draws=20000, **LINE)
    assert result.top1 == pytest.approx(1 / 2, abs=0.015)
    assert result.cmc[:3].tolist() == [result.top1, result.top1, 1.0]
    assert result.mean_average_precision == pytest.approx(2 / 3, abs=0.01)
    assert (result.draws, result.queries, result.skipped_queries.tolist()) == (20000, 1, [])


def test_single_shot_draws_are_seeded_and_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(1)
    people = {
        "query_person_ids": random.integers(1, 6, 30),
        "gallery_person_ids": random.integers(0, 6, 80),
        "query_camera_ids": random.integers(1, 4, 30),
        "gallery_camera_ids": random.integers(1, 4, 80),
    }
    rows = random.normal(size=(30, 4)), random.normal(size=(80, 4))
    first = evaluate_single_gallery_shot(*rows, **people)
    assert first.draws == 100
    assert evaluate_single_gallery_shot(*rows, seed=1, **people).top1 != first.top1
    monkeypatch.setattr("keras_reid.evaluation.single_shot._BLOCK_BYTES", 1)
    assert evaluate_single_gallery_shot(*rows, **people).to_dict() == first.to_dict()


def test_single_shot_equals_the_whole_gallery_where_each_person_has_one_image():
    random = np.random.default_rng(2)
    people = {"query_person_ids": np.arange(20), "gallery_person_ids": random.permutation(20), "ignore": "nothing"}
    rows = random.normal(size=(20, 3)), random.normal(size=(20, 3))
    for metric in ("euclidean", "cosine"):
        single = evaluate_single_gallery_shot(*rows, draws=3, metric=metric, **people)
        whole = evaluate_retrieval(*rows, metric=metric, **people)
        np.testing.assert_allclose(single.cmc, whole.cmc)
        assert single.mean_average_precision == pytest.approx(whole.mean_average_precision)


def test_single_shot_of_a_collapsed_network_is_the_worst():
    """Everything at one point: the two other people come first."""
    result = evaluate_single_gallery_shot([[0.3]], [[0.3]] * 7, **LINE)
    assert result.top1 == 0.0 and result.cmc[2] == 1.0


# --- Where a score comes from ---


def three_cameras() -> Embedded:
    random = np.random.default_rng(3)
    query = frame(random.integers(1, 6, 40), random.integers(1, 4, 40))
    gallery = frame(random.integers(0, 6, 150), random.integers(1, 4, 150))
    return Embedded(query, random.normal(size=(40, 3)), gallery, random.normal(size=(150, 3)))


def test_a_pair_of_cameras_is_queries_of_one_against_the_gallery_of_the_other():
    whole = three_cameras()
    pairs = camera_pairs(whole)
    assert len(pairs) == 6  # of 3 x 3, those of one camera twice are ignored
    for pair in pairs.itertuples():
        asked, seen = whole.query.camera_id == pair.query_camera, whole.gallery.camera_id == pair.gallery_camera
        result = evaluate_retrieval(
            whole.query_embeddings[asked],
            whole.gallery_embeddings[seen],
            query_person_ids=whole.query.person_id[asked],
            gallery_person_ids=whole.gallery.person_id[seen],
            ignore="nothing",
        )
        assert pair.mean_average_precision == pytest.approx(result.mean_average_precision)
        assert pair.top1 == pytest.approx(result.top1)
        assert pair.queries == result.queries - len(result.skipped_queries)


def test_people_found_worst_come_first():
    whole = three_cameras()
    result = whole.evaluate()
    people = identities(whole, result)
    assert people.mean_average_precision.is_monotonic_increasing
    for person in people.itertuples():
        own = (whole.query.person_id == person.person_id).to_numpy() & (result.first_match_rank > 0)
        assert person.queries == own.sum()
        assert person.mean_average_precision == pytest.approx(result.average_precision[own].mean())
        assert person.top1 == pytest.approx((result.first_match_rank[own] == 1).mean())
