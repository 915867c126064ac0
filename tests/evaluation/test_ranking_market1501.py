"""Holds our per-query scores against Market-1501's own lists of good and junk images (set MARKET1501_DIR to run)."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_reid.evaluation.ranking import evaluate_retrieval
from tests.evaluation import oracle

ROOT = os.environ.get("MARKET1501_DIR")
pytestmark = pytest.mark.skipif(not ROOT, reason="MARKET1501_DIR is not set")
QUERIES = 200


def ids_and_cameras(names):
    """`0002_c1s1_000451_03.jpg` is person 2 seen by camera 1; junk is `-1_c1s1_...`."""
    fields = [name.split("_") for name in names]
    return np.array([int(person) for person, *_ in fields]), np.array([int(camera[1]) for _, camera, *_ in fields])


def listed(name, kind):
    """The official positions in the sorted listing of the gallery, from 0; an empty list is [0] there, so [-1] here."""
    stem = name.split(".")[0]  # Six queries of person 1488 are called `.jpg.jpg`.
    loadmat = pytest.importorskip("scipy.io").loadmat
    content = loadmat(Path(ROOT) / "gt_query" / f"{stem}_{kind}.mat")[f"{kind}_index"]
    return content.ravel().astype(np.int64) - 1


def test_scores_equal_those_from_the_official_lists():
    random = np.random.default_rng(0)
    gallery_names = sorted(path.name for path in (Path(ROOT) / "bounding_box_test").glob("*.jpg"))
    query_names = sorted(path.name for path in (Path(ROOT) / "query").glob("*.jpg"))
    assert (len(gallery_names), len(query_names)) == (19732, 3368)
    query_names = [query_names[index] for index in random.choice(len(query_names), QUERIES, replace=False)]
    query, gallery = random.normal(size=(QUERIES, 8)), random.normal(size=(len(gallery_names), 8))
    (query_ids, query_cameras), (gallery_ids, gallery_cameras) = map(ids_and_cameras, (query_names, gallery_names))
    result = evaluate_retrieval(
        query,
        gallery,
        query_person_ids=query_ids,
        gallery_person_ids=gallery_ids,
        query_camera_ids=query_cameras,
        gallery_camera_ids=gallery_cameras,
    )
    # The lists name images of the query's person alone; the files called -1 are left out by the authors' script.
    junk_of_all = np.flatnonzero([name.startswith("-1_") for name in gallery_names])
    expected = []
    for name, embedding in zip(query_names, query):
        order = np.argsort(((gallery - embedding) ** 2).sum(axis=1))
        order = order[~np.isin(order, np.concatenate([junk_of_all, listed(name, "junk")]))]
        expected.append(oracle.walk(np.isin(order, listed(name, "good")).tolist()))
    precision, trapezoid, first, penalty = zip(*expected)
    np.testing.assert_allclose(result.average_precision, precision, rtol=1e-9)
    np.testing.assert_allclose(result.average_precision_trapezoid, trapezoid, rtol=1e-9)
    np.testing.assert_array_equal(result.first_match_rank, first)
    np.testing.assert_allclose(result.inverse_negative_penalty, penalty, rtol=1e-9)
    assert result.gallery == 15913
