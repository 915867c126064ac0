"""Embedding map: embeddings as points on a plane, near each other where the network sees the same person."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from keras_reid import choices
from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.checks.lettering import Lettering, fitted
from keras_reid.data.ids import as_names, names_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.products import center_of, unit_rows
from keras_reid.reports.plots import title_lines

MOST = 2000  # images: more make a cloud, and t-SNE slow
_NAMED, _LETTERS = 8, 20  # identities, and of their names
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f00", "#8b4513")
_MARKERS = "os^Dv*PX"
_PACKAGE = {"tsne": "sklearn", "umap": "umap"}
_FEWEST = 6  # images: fewer have no neighborhoods to tell apart
_WRITTEN = {"pca": "principal components", "umap": "UMAP", "tsne": "t-SNE"}


class EmbeddingMap(NamedTuple):
    """Places of some embeddings on a plane."""

    rows: np.ndarray  # int64 [M], which embeddings, ascending
    places: np.ndarray  # float64 [M, 2]
    explained: tuple[float, float] | None  # share of the variance along each axis; None where axes mean nothing
    of: int  # how many embeddings the sample was drawn from

    @property
    def sample(self) -> str:
        """What was drawn, in words."""
        return f"all {self.of:,} images" if len(self.rows) == self.of else f"{len(self.rows):,} of {self.of:,} images"


def map_embeddings(
    embeddings: np.ndarray,
    person_ids: np.ndarray,
    *,
    method: str = "pca",
    metric: str = "euclidean",
    most: int = MOST,
    seed: int = 0,
) -> EmbeddingMap:
    """Returns a map of a sample of embeddings: whole identities, drawn at random until there are enough images.

    Args:
        embeddings: float `[N, D]`, finite.
        person_ids: int `[N]`.
        method: "pca"; or, where the extra `maps` is installed, "umap" or "tsne", which tear distances apart to show
            groups.
        metric: "euclidean", or "cosine", which compares directions: embeddings are scaled to length 1 first.
        most: images at most, unless the first identity alone has more.
        seed: of the sample, and of "umap" and "tsne".

    Raises:
        ReidError: an unknown method, or its package is not installed.
    """
    check_method(method)
    rows = _sampled(np.asarray(person_ids), most, seed)
    points = np.asarray(embeddings, np.float64)[rows]
    if len(points):
        points = unit_rows(points) if metric == "cosine" else points - center_of(points)
    if method == "pca" or len(points) < _FEWEST:
        places, explained = _embed_by_pca(points)
    else:
        places, explained = _embed_by_neighbors(points, method, seed), None
    return EmbeddingMap(rows, places, explained, len(person_ids))


def check_method(method: str) -> None:
    """Raises ReidError where a method is unknown, or its package is not installed."""
    if method not in choices.EMBEDDING_MAPS:
        raise ReidError(f"map={method}, expected one of {', '.join(choices.EMBEDDING_MAPS)}.")
    package = _PACKAGE.get(method)
    if package and importlib.util.find_spec(package) is None:
        raise ReidError(
            f"map={method} needs the package {package}, which is not installed: pip install "
            "'keras_reid[maps]', or take map=pca."
        )


def paint_embedding_map(
    axes: Axes, found: EmbeddingMap, images: pd.DataFrame, *, dataset: str = "", method: str = "pca"
) -> None:
    """Paints a map: the identities with most images each by color and mark, the others as small dots.

    Args:
        axes: to paint on.
        found: of `map_embeddings`.
        images: the catalog's rows behind all embeddings, `[N]`.
        dataset: its name, for the title.
        method: that made the map.
    """
    people = images.person_id.to_numpy()[found.rows]
    names = dict(zip(people, as_names(names_of(images, "person_id")).to_numpy()[found.rows]))
    counts = pd.Series(people).value_counts(sort=False)
    named = [person for person in counts.sort_values(ascending=False, kind="stable").index if person > DISTRACTOR_ID]
    named = sorted(named[:_NAMED], key=lambda person: (len(names[person]), names[person]))
    lettering = Lettering([names[person] for person in named])
    rest = ~np.isin(people, named)
    x, y = found.places.T
    axes.scatter(x[rest], y[rest], s=6, color="0.6", linewidths=0, label=f"{len(counts) - len(named):,} others")
    for person, color, marker in zip(named, _COLORS, _MARKERS):
        own = people == person
        label = f"person {fitted(lettering.label(names[person]), _LETTERS)}"
        axes.scatter(x[own], y[own], s=28, color=color, marker=marker, linewidths=0, label=label)
    axes.set(xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    if found.explained is None:
        axes.set(xlabel="near points are alike; axes and far distances mean nothing")
    else:
        axes.set_aspect("equal", adjustable="datalim")
        shares = [f"{100 * share:.0f} %" for share in found.explained]
        axes.set(xlabel=f"{shares[0]} of the variance", ylabel=f"{shares[1]} of the variance")
    axes.set_title(**title_lines("Embedding map", dataset, f"{_WRITTEN[method]}; {found.sample}"))
    legend = axes.figure.legend(loc="outside right upper")
    for text in legend.get_texts():
        text.set(**lettering.style)


def _sampled(person_ids: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Returns the rows of identities in a random order, ascending, as far as whole ones fit."""
    ids, codes, counts = np.unique(person_ids, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(ids))
    fitting = np.cumsum(counts[order]) <= most
    fitting[:1] = True
    return np.flatnonzero(np.isin(codes, order[fitting]))


def _embed_by_pca(points: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Returns the places along the two directions of largest variance, and its shares."""
    points = points - points.mean(axis=0, keepdims=True) if len(points) else points
    scale = np.abs(points).max(initial=0.0) or 1.0
    left, values, right = np.linalg.svd(points / scale, full_matrices=False)
    # A direction has two signs: take the one whose largest part is positive, on every machine.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    places, shares = np.zeros((len(points), 2)), np.zeros(2)
    found = min(2, len(values))
    places[:, :found] = scale * (left * values * np.where(signs == 0, 1, signs))[:, :found]
    total = (values**2).sum()
    shares[:found] = values[:found] ** 2 / total if total else 0
    return places, tuple(shares.tolist())


def _embed_by_neighbors(points: np.ndarray, method: str, seed: int) -> np.ndarray:
    if method == "umap":
        from umap import UMAP

        learner = UMAP(n_neighbors=min(15, len(points) - 1), n_jobs=1, random_state=seed, init="pca")
    else:
        from sklearn.manifold import TSNE

        learner = TSNE(perplexity=min(30, (len(points) - 1) / 3), random_state=seed, init="pca")
    return np.asarray(learner.fit_transform(points), np.float64)
