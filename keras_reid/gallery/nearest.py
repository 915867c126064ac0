"""Nearest entries: an engine compares in float32, its candidates are compared in float64 until none is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from keras_reid.evaluation.blocks import squared_lengths
from keras_reid.evaluation.products import unit_rows
from keras_reid.gallery.selection import Selection

_SPARE = 32  # candidates on top of those asked for


def distances_to(query: np.ndarray, embeddings: np.ndarray, metric: str) -> np.ndarray:
    """Returns the distances of one embedding `[D]` to `[N, D]`, float64 `[N]`, as `Artifact.distance` defines them."""
    query, embeddings = np.asarray(query, np.float64)[None], np.asarray(embeddings, np.float64)
    if metric == "cosine":
        return squared_lengths(unit_rows(query) - unit_rows(embeddings)) / 2
    return np.sqrt(squared_lengths(query - embeddings))


def nearest(
    engine: Any, query: np.ndarray, k: int, selected: Selection, *, metric: str, approximate: bool = False
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Returns the k entries nearest to an embedding `[D]`: columns, embeddings `[k, D]`, distances float64 `[k]`.

    They are those that float64 gives, at equal distance in the order of their keys; fewer where there are fewer. An
    approximate search takes the engine's word for which are candidates.
    """
    limit = k + _SPARE
    while True:
        entries, embeddings, scores = engine.nearest(query, limit, selected, metric, approximate)
        distances = distances_to(query, embeddings, metric)
        order = np.lexsort((entries.key.to_numpy(str), distances))[:k]
        found = entries.iloc[order].reset_index(drop=True), embeddings[order], distances[order]
        if approximate or len(entries) < limit or _none_missing(query, found[2][-1], scores.max(), metric):
            return found
        limit *= 4


def _none_missing(query: np.ndarray, distance: float, score: float, metric: str) -> bool:
    """Whether no entry that the engine left out, at its `score` or beyond, can be nearer than the last one found.

    Summed in any order, a squared distance is off by at most r (8 |q|^2 + 2 d^2) with r = (D + 10) roundings, and the
    cosine distance by 8 r.
    """
    rounding = (len(query) + 10) * np.finfo(np.float32).eps / 2
    if metric == "cosine":
        return distance < score - 8 * rounding
    length = float(np.square(query, dtype=np.float64).sum())
    return distance**2 < score - rounding * (8 * length + 2 * score)
