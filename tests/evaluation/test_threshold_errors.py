"""Errors at a threshold: against a naive loop over all pairs, and against the rates of `verify`."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import Embedded, errors_at, pairs
from tests.evaluation import oracle


def embedded_of(seed, metric="euclidean", queries=25, gallery=90):
    """People 1 to 6, junk (-1) and distractors (0) by three cameras; 20 gallery images are copies of queries."""
    random = np.random.default_rng(seed)

    def side(count):
        frame = pd.DataFrame({"person_id": random.integers(-1, 7, count), "camera_id": random.integers(1, 4, count)})
        rows = random.normal(size=(count, 8)) + frame.person_id.to_numpy()[:, None] / 4
        return frame, rows.astype(np.float32)

    (query, rows), (others, columns) = side(queries), side(gallery)
    columns[:20] = rows[:20]
    return Embedded(query, rows, others, columns, metric)


def naive_pairs(embedded):
    """Returns (distance, query, image) of all genuine and of all impostor pairs."""
    genuine, impostor = [], []
    for row, asked in enumerate(embedded.query.itertuples()):
        for column, image in enumerate(embedded.gallery.itertuples()):
            if -1 in (asked.person_id, image.person_id):
                continue
            sides = embedded.query_embeddings[row], embedded.gallery_embeddings[column]
            pair = oracle.float64_distance(*sides, embedded.metric), row, column
            if asked.person_id != image.person_id:
                impostor.append(pair)
            elif asked.camera_id != image.camera_id:
                genuine.append(pair)
    return genuine, impostor


def assert_pairs(found, expected):
    """The same distances in the same order; the same rows where no two distances are equal up to rounding."""
    np.testing.assert_allclose([pair.distance for pair in found], [pair[0] for pair in expected], rtol=1e-9, atol=1e-7)
    clear = [pair for pair in expected if sum(abs(pair[0] - other[0]) < 1e-7 for other in expected) == 1]
    assert {pair[1:] for pair in clear} <= {(pair.query, pair.image) for pair in found}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("rows_at_once", [7, 2048])
def test_counts_and_worst_pairs_are_those_of_a_naive_loop(metric, rows_at_once, monkeypatch):
    monkeypatch.setattr(pairs, "ROWS_AT_ONCE", rows_at_once)
    embedded = embedded_of(0, metric)
    genuine, impostor = naive_pairs(embedded)
    for threshold in (0.3, np.median([pair[0] for pair in impostor]), 100.0):
        errors = errors_at(embedded, threshold, count=5)
        rejects = sorted((pair for pair in genuine if pair[0] > threshold), key=lambda pair: -pair[0])
        accepts = sorted(pair for pair in impostor if pair[0] <= threshold)
        assert (errors.genuine_pairs, errors.impostor_pairs) == (len(genuine), len(impostor))
        assert (errors.false_rejects, errors.false_accepts) == (len(rejects), len(accepts))
        assert_pairs(errors.worst_rejects, rejects[:5])
        assert_pairs(errors.worst_accepts, accepts[:5])
    assert errors.false_rejects == 0 and errors.worst_rejects == ()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_they_are_as_many_as_the_rates_of_verify_say(metric):
    embedded = embedded_of(1, metric)
    result = embedded.verify()
    for step in range(0, len(result.thresholds), 9973):
        errors = errors_at(embedded, result.thresholds[step], count=1)
        assert errors.false_accepts == round(result.false_positive_rate[step] * result.impostor_pairs)
        assert errors.false_rejects == round((1 - result.true_positive_rate[step]) * result.genuine_pairs)


def test_hand_placed_images():
    """Query 0 of person 1 at 0: its match at 3, strangers at 2, 2 and 5; at 2 the first rows come first."""
    query = pd.DataFrame({"person_id": [1], "camera_id": [1]})
    gallery = pd.DataFrame({"person_id": [2, 1, 3, 3, 1], "camera_id": [1, 2, 2, 3, 1]})
    embedded = Embedded(query, np.zeros((1, 1)), gallery, np.array([[5.0], [3.0], [2.0], [-2.0], [9.0]]))
    errors = errors_at(embedded, 2.0)
    assert errors == (2.0, 1, 3, 1, 2, ((0, 1, 3.0),), ((0, 2, 2.0), (0, 3, 2.0)))
    assert errors_at(embedded, 0)[3:] == (1, 0, ((0, 1, 3.0),), ())
    assert errors_at(embedded, 5.0, count=1).worst_accepts == ((0, 2, 2.0),)


@pytest.mark.parametrize("threshold", [-1.0, float("nan"), float("inf"), None, "0.5"])
def test_what_is_no_distance_is_refused(threshold):
    with pytest.raises(ReidError, match="threshold=.*expected a distance"):
        errors_at(embedded_of(2), threshold)
