"""Embedding map on a page: a sample of query and gallery as points, each of which shows its crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.errors import ReidError
from keras_reid.evaluation.embedded import Embedded
from keras_reid.reports.embedding_map import EmbeddingMap, map_embeddings
from keras_reid.reports.photos import GALLERY, QUERY, Photo, Photos

MOST = 400  # images
WIDTH, HEIGHT, _EDGE = 1000, 700, 24  # of the map
_CROP = (96, 72)  # height and width, in pixels
_COLORS, _SHAPES = 8, 4
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_MEANINGS = {
    "pca": "Principal components: distances are as true as two of {} dimensions can be",
    "tsne": "t-SNE: near points are alike, far distances mean nothing",
    "umap": "UMAP: near points are alike, far distances mean nothing",
}


class Point(NamedTuple):
    """An image on the map."""

    photo: Photo
    side: str  # query or gallery
    color: int
    shape: int
    at: Sequence[tuple[float, float]]  # for each method


class Places(NamedTuple):
    """The map: its points, and for each method what it means."""

    about: str
    methods: Mapping[str, str]
    points: Sequence[Point]
    size: tuple[int, int] = (WIDTH, HEIGHT)


def places(embedded: Embedded, photos: Photos, *, seed: int) -> Places | None:
    """Returns a map by principal components and, where its package is installed, by t-SNE or UMAP; None of nobody."""
    people = np.concatenate([embedded.query.person_id, embedded.gallery.person_id]).astype(np.int64)
    embeddings = np.concatenate([embedded.query_embeddings, embedded.gallery_embeddings])
    known = np.flatnonzero(people > DISTRACTOR_ID)
    if not len(known):
        return None
    options = {"metric": embedded.metric, "most": MOST, "seed": seed}
    maps = {"pca": map_embeddings(embeddings[known], people[known], **options)}
    for method in ("tsne", "umap"):
        if len(maps) == 1:
            try:
                maps[method] = map_embeddings(embeddings[known], people[known], method=method, **options)
            except ReidError:  # its package is not installed
                continue
    kept = np.random.default_rng(seed).permutation(len(maps["pca"].rows))[:MOST]  # one identity may have more
    rows = known[maps["pca"].rows[kept]]
    at = np.stack([_scaled(one)[kept] for one in maps.values()], axis=1)
    queries = len(embedded.query)
    sides = [(QUERY, row) if row < queries else (GALLERY, row - queries) for row in rows.tolist()]
    found = photos.of(sides, size=_CROP)
    codes = np.unique(people[rows], return_inverse=True)[1]
    points = [
        Point(found[side], side[0], int(code) % _COLORS, int(code) // _COLORS % _SHAPES, places_.tolist())
        for side, code, places_ in zip(sides, codes, at.round(1))
    ]
    drawn = f"{len(points):,} of {len(known):,} images of query and gallery"
    return Places(
        f"{drawn}: whole identities, drawn at random (seed {seed}).",
        {_NAMES[name]: _MEANINGS[name].format(embeddings.shape[1]) for name in maps},
        points,
    )


def _scaled(found: EmbeddingMap) -> np.ndarray:
    """Returns places that fill the map; those of principal components keep their shape."""
    low, span = found.places.min(axis=0), np.ptp(found.places, axis=0)
    inside = np.array([WIDTH - 2 * _EDGE, HEIGHT - 2 * _EDGE])
    scale = inside / np.where(span > 0, span, np.inf)
    if found.explained is not None:
        positive = scale[scale > 0]
        scale = np.full(2, positive.min() if len(positive) else 0.0)
    return _EDGE + (inside - span * scale) / 2 + (found.places - low) * scale
