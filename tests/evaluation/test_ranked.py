"""Ranked lists: against a naive sort, and against the ranks that the scores count."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import Embedded, ranked_lists


def embedded_of(random, metric="euclidean", queries=12, gallery=60):
    def side(count):
        ids = random.integers(1, 5, count)
        frame = pd.DataFrame({"person_id": ids, "camera_id": random.integers(1, 4, count)})
        return frame, (random.normal(size=(count, 6)) + ids[:, None] / 2).astype(np.float32)

    (query, rows), (others, columns) = side(queries), side(gallery)
    others.loc[::9, "person_id"] = -1
    columns[5] = columns[6]  # at one distance from everything
    return Embedded(query, rows, others, columns, metric)


def naive_list(embedded, query, depth):
    asked, rows = embedded.query.iloc[query], []
    a = embedded.query_embeddings[query].astype(np.float64)
    for image, one in enumerate(embedded.gallery.itertuples()):
        b = embedded.gallery_embeddings[image].astype(np.float64)
        if one.person_id == -1:
            continue
        distance = np.linalg.norm(a - b)
        if embedded.metric == "cosine":
            distance = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        own, same = one.person_id == asked.person_id, one.camera_id == asked.camera_id
        outcome = "wrong" if not own else "ignored" if same else "right"
        rows.append((distance, outcome == "right", image, outcome))
    found, rank = [], 0
    for distance, _, image, outcome in sorted(rows):
        rank += outcome != "ignored"
        found.append((image, distance, outcome, None if outcome == "ignored" else rank))
    end = next((place for place, hit in enumerate(found) if hit[3] == depth), len(found) - 1)
    return found[: end + 1], next((hit for hit in found if hit[2] == "right"), None)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_lists_are_those_of_a_naive_sort(metric):
    embedded = embedded_of(np.random.default_rng(0), metric)
    for one in ranked_lists(embedded, range(12), depth=7):
        hits, first = naive_list(embedded, one.query, 7)
        assert [(hit.image, hit.outcome, hit.rank) for hit in one.hits] == [(a, c, d) for a, _, c, d in hits]
        np.testing.assert_allclose([hit.distance for hit in one.hits], [hit[1] for hit in hits], rtol=1e-9)
        assert one.first_right.image == first[0]
        assert one.first_right_is_shown == (first[3] <= 7)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_first_right_image_has_the_rank_that_the_scores_count(metric):
    embedded = embedded_of(np.random.default_rng(1), metric, queries=40, gallery=400)
    lists = ranked_lists(embedded, range(40), depth=1)
    expected = embedded.evaluate().first_match_rank
    assert [one.first_right.rank if one.first_right else 0 for one in lists] == expected.tolist()


def test_hand_placed_images():
    query = pd.DataFrame({"person_id": [1, 2], "camera_id": [1, 1]})
    gallery = pd.DataFrame({"person_id": [1, 1, 3, 1, -1], "camera_id": [2, 1, 1, 3, 2]})
    places = np.array([[3.0], [1.0], [3.0], [9.0], [0.0]])
    one, other = ranked_lists(Embedded(query, np.zeros((2, 1)), gallery, places), [0, 1], depth=2)
    # The own image of the own camera is ignored; at distance 3 the wrong image comes first; junk is on no list.
    assert one.hits == ((1, 1.0, "ignored", None), (2, 3.0, "wrong", 1), (0, 3.0, "right", 2))
    assert one.first_right == (0, 3.0, "right", 2)
    assert other.first_right is None and [hit.outcome for hit in other.hits] == ["wrong", "wrong"]


def test_a_list_ends_with_the_gallery():
    query = pd.DataFrame({"person_id": [1], "camera_id": [1]})
    gallery = pd.DataFrame({"person_id": [1, 1], "camera_id": [2, 1]})
    (one,) = ranked_lists(Embedded(query, np.zeros((1, 1)), gallery, np.array([[1.0], [2.0]])), [0], depth=50)
    assert [hit.image for hit in one.hits] == [0]
    with pytest.raises(ReidError, match="depth=0"):
        ranked_lists(Embedded(query, np.zeros((1, 1)), gallery, np.ones((2, 1))), [0], depth=0)
