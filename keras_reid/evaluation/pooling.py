"""Pooling of embeddings: the frames of a track, or the images of an identity by a camera, become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from keras_reid.choices import METRICS, POOLINGS
from keras_reid.data.ids import names_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import squared_lengths
from keras_reid.evaluation.inputs import check_option
from keras_reid.evaluation.products import have_unit_length, unit_rows


def pool_embeddings(
    embeddings: Any, groups: Any, *, how: str = "mean", metric: str = "euclidean", weights: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns one embedding for each group of rows.

    Where all embeddings have length 1 to within 1e-3, so have the pooled ones: distances stay on one scale. Under
    "cosine" the embeddings are scaled to length 1 first, so that each counts alike.

    Args:
      embeddings: float `[N, D]`, finite.
      groups: `[N]`, what names the group of each row: integers, strings or tuples.
      how: "mean", or "max" of each column.
      metric: "euclidean" or "cosine", by which the embeddings are compared.
      weights: float `[N]`, above 0: how much each row counts in the mean of its group; None: all the same.

    Returns:
      float32 `[P, D]`, in the order in which groups first occur; and int64 `[P]`, the first row of each group.

    Raises:
      ReidError: unknown `how`, another number of groups or weights than of rows, or a weight that is not above 0.
    """
    check_option("how", how, POOLINGS)
    check_option("metric", metric, METRICS)
    embeddings = np.asarray(embeddings)
    if embeddings.dtype.kind not in "fiu" or not np.isfinite(embeddings).all():
        raise ReidError(f"embeddings are {embeddings.dtype}, or hold NaN or inf: expected finite numbers")
    codes, names = pd.factorize(pd.Series(list(groups), dtype=object))
    if embeddings.ndim != 2 or len(codes) != len(embeddings):
        raise ReidError(f"embeddings are {list(embeddings.shape)}, groups {len(codes)}: expected [N, D] and N groups")
    if (codes < 0).any():
        raise ReidError(f"row {int((codes < 0).argmax())} has no group: expected one for each row")
    if not len(codes):
        return np.zeros(embeddings.shape, np.float32), np.zeros(0, np.int64)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(names))
    starts = np.cumsum(counts) - counts
    rows = unit_rows(embeddings[order]) if metric == "cosine" else embeddings[order].astype(np.float64)
    if how == "max":
        pooled = np.maximum.reduceat(rows, starts)
    elif weights is None:
        pooled = np.add.reduceat(rows, starts) / counts[:, None]
    else:
        share = _checked_weights(weights, len(rows))[order, None]
        pooled = np.add.reduceat(rows * share, starts) / np.add.reduceat(share, starts)
    if have_unit_length(rows):
        lengths = np.sqrt(squared_lengths(pooled))[:, None]
        pooled = pooled / np.where(lengths > 0, lengths, 1)
    return pooled.astype(np.float32), order[starts]


def _checked_weights(weights: Any, count: int) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if weights.shape != (count,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ReidError(f"weights are {list(weights.shape)}, or not all above 0: expected {count} numbers above 0.")
    return weights


def pool_rows(
    frame: pd.DataFrame, embeddings: np.ndarray, *, by: list[str], how: str, metric: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Pools the rows of a catalog that agree in the columns `by`, and their embeddings `[N, D]`, by `pool_embeddings`.

    Returns:
      The first row of each group, and its embedding.

    Raises:
      ReidError: a column is not there or has gaps, or a group holds two identities or cameras.
    """
    for column in by:
        if column not in frame or frame[column].isna().any():
            raise ReidError(f"images are pooled by {column}, which the dataset does not give for every image.")
    groups = list(frame[by].itertuples(index=False, name=None))
    for column in {"person_id", "camera_id"} & set(frame) - set(by):
        mixed = frame[column].groupby(pd.Series(groups, index=frame.index)).nunique(dropna=False) > 1
        if mixed.any():
            row = groups.index(mixed.index[mixed.argmax()])
            name = ", ".join(str(names_of(frame, of).iloc[row]) for of in by)
            raise ReidError(f"{' and '.join(by)} {name} holds images of more than one {column}: expected one of each.")
    pooled, first = pool_embeddings(embeddings, groups, how=how, metric=metric)
    return frame.iloc[first].reset_index(drop=True), pooled
