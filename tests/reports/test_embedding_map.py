"""Embedding maps: principal components against those of the covariance, samples of whole identities, odd input."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.reports import plots
from keras_reid.reports.embedding_map import map_embeddings, paint_embedding_map


@pytest.fixture
def embeddings():
    random = np.random.default_rng(0)
    return (random.normal(size=(60, 5)) * [1, 4, 2, 0.5, 0.1] + 10).astype(np.float32)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_places_are_those_of_the_covariance(embeddings, metric):
    found = map_embeddings(embeddings, np.arange(60), metric=metric)
    points = embeddings.astype(np.float64)
    points = points / np.linalg.norm(points, axis=1, keepdims=True) if metric == "cosine" else points
    values, vectors = np.linalg.eigh(np.cov(points.T))
    np.testing.assert_allclose(found.explained, values[:-3:-1] / values.sum(), rtol=1e-6)
    for axis in (0, 1):
        expected = (points - points.mean(axis=0)) @ vectors[:, -1 - axis]
        assert abs(np.corrcoef(expected, found.places[:, axis])[0, 1]) == pytest.approx(1)
        assert found.places[:, axis].std() == pytest.approx(expected.std())
    assert found.sample == "all 60 images"


def test_a_sample_holds_whole_identities_and_stays_the_same(embeddings):
    people = np.arange(60) // 7
    found = map_embeddings(embeddings, people, most=20, seed=1)
    assert len(found.rows) in (14, 18) and found.sample == f"{len(found.rows)} of 60 images"
    assert all((people == person).sum() == (people[found.rows] == person).sum() for person in people[found.rows])
    again = map_embeddings(embeddings, people, most=20, seed=1)
    np.testing.assert_array_equal(again.places, found.places)
    assert len(map_embeddings(embeddings, people, most=3).rows) in (4, 7)  # one identity, however many
    drawn = {tuple(map_embeddings(embeddings, people, most=20, seed=seed).rows) for seed in range(5)}
    assert len(drawn) > 1


def test_few_images_one_direction_and_a_collapse_have_a_map():
    for embeddings in (np.ones((1, 4)), np.ones((5, 4)), np.arange(6.0)[:, None], np.zeros((0, 3)), np.eye(2) * 1e30):
        found = map_embeddings(embeddings, np.arange(len(embeddings)))
        assert found.places.shape == (len(embeddings), 2) and np.isfinite(found.places).all()
        assert all(0 <= share <= 1 for share in found.explained)
    assert map_embeddings(np.arange(6.0)[:, None], np.zeros(6)).explained == (1, 0)


def test_methods_without_their_package_are_refused_in_one_line(embeddings):
    with pytest.raises(ReidError, match="map=lda, expected one of pca, umap, tsne"):
        map_embeddings(embeddings, np.arange(60), method="lda")
    for method, package in (("umap", "umap"), ("tsne", "sklearn")):
        if importlib.util.find_spec(package):
            found = map_embeddings(embeddings, np.arange(60), method=method, seed=3)
            assert found.explained is None and found.places.shape == (60, 2)
        else:
            with pytest.raises(ReidError, match=rf"map={method} needs .* 'keras_reid\[maps\]'"):
                map_embeddings(embeddings, np.arange(60), method=method)


def test_the_identities_with_most_images_are_named(embeddings):
    names = np.array([f"$name$ {n}" for n in range(12)])
    people = np.concatenate([np.repeat(np.arange(1, 10), 6), [10, 10, 11, 11, 0, 0]])
    images = pd.DataFrame({"person_id": people, "person_id_name": names[people]})
    found = map_embeddings(embeddings, people)
    figure = plots.painted(lambda axes: paint_embedding_map(axes, found, images, dataset="<set>"))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["4 others", *(f"person $name$ {n}" for n in range(1, 9))]
    assert "on <set>" in figure.axes[0].get_title(loc="left")
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 60
