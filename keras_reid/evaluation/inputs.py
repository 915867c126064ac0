"""Inputs of an evaluation: embeddings and ids of query and gallery, checked; what is no good is refused by name."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from keras_reid.choices import IGNORE, METRICS, MISSING_CAMERAS
from keras_reid.data.counted import People
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices

LARGEST_VALUE = float(np.finfo(np.float32).max)  # Squares of these still fit into float64.
_ROWS_AT_ONCE = 4096
_IGNORE_NOTHING = ", or use ignore=nothing"


def check_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ReidError(f"{name}={value!r} is unknown: expected one of {', '.join(known)}")


def check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ReidError(f"{name}={value!r}: expected an integer of at least 1")


class _Ids(NamedTuple):
    """What the images of one side are labeled with, as it came; None where it was not given."""

    person_ids: Any
    camera_ids: Any = None
    tracklet_ids: Any = None
    files: Any = None


def read_people(
    queries: int, gallery: int, *, ignore: str = "same_camera", missing_cameras: str = "refuse", **ids: Any
) -> tuple[People, People]:
    """Returns who is on the images of both sides.

    Args:
      queries: how many queries there are.
      gallery: how many gallery images.
      ignore: as in `evaluate_retrieval`.
      missing_cameras: the same.
      **ids: `query_person_ids`, `gallery_person_ids`, `query_camera_ids` and so on, as in `evaluate_retrieval`.
    """
    check_option("ignore", ignore, IGNORE)
    check_option("missing_cameras", missing_cameras, MISSING_CAMERAS)
    lengths = {"query": queries, "gallery": gallery}
    given = {"query": {}, "gallery": {}}
    for name, values in ids.items():
        side, _, what = name.partition("_")
        given[side][what] = values
    sides = {side: _Ids(**of_side) for side, of_side in given.items()}
    person_ids = {side: _read_person_ids(side, sides[side].person_ids, length) for side, length in lengths.items()}
    keys = {"query": None, "gallery": None}
    known = {side: np.ones(length, bool) for side, length in lengths.items()}
    if ignore == "same_camera":
        for side, length in lengths.items():
            keys[side], known[side] = _read_cameras(side, sides[side].camera_ids, length, missing_cameras)
    elif ignore == "same_tracklet":
        keys = _read_labels("tracklet_ids", {side: of_side.tracklet_ids for side, of_side in sides.items()}, lengths)
    elif ignore == "same_file":
        keys = _read_labels("files", {side: of_side.files for side, of_side in sides.items()}, lengths)
    leaves_out = missing_cameras == "leave_out"
    return tuple(People(person_ids[side], keys[side], known[side] | (not leaves_out)) for side in lengths)


def read_embeddings(query: Any, gallery: Any, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings of both sides as arrays, in the dtype that came; ReidError where they are no good."""
    check_option("metric", metric, METRICS)
    sides = {"query": _as_rows("query", query), "gallery": _as_rows("gallery", gallery)}
    widths = [rows.shape[1] for rows in sides.values()]
    if widths[0] != widths[1]:
        raise ReidError(
            f"query embeddings are {widths[0]} wide and gallery embeddings {widths[1]}: expected one width. "
            "Compute both with the same model"
        )
    for name, rows in sides.items():
        for part in slices(len(rows), _ROWS_AT_ONCE):
            _check_rows(name, rows[part], part.start, metric)
    return tuple(sides.values())


def _as_rows(name: str, embeddings: Any) -> np.ndarray:
    try:
        embeddings = np.asarray(embeddings)
    except ValueError as error:
        raise ReidError(f"{name}_embeddings: expected rows of one width, got {error}") from error
    label = f"{name}_embeddings has shape {embeddings.shape}"
    if embeddings.size == 0:
        raise ReidError(f"{label}: expected at least one image and one column. Is the {name} split empty?")
    if embeddings.ndim != 2:
        raise ReidError(f"{label}: expected [images, width]. Put one embedding in each row")
    if embeddings.dtype.kind not in "fiu":
        raise ReidError(f"{name}_embeddings is {embeddings.dtype}: expected float16, float32 or float64. Convert it")
    return embeddings


def _read_person_ids(side: str, ids: Any, length: int) -> np.ndarray:
    name = f"{side}_person_ids"
    ids = _one_for_each(name, ids, length, "")
    if pd.isna(ids).any():
        raise ReidError(f"{name}: row {pd.isna(ids).argmax()} is missing: expected one for each image")
    return _as_integers(name, ids, np.ones(length, bool), "")


def _read_cameras(side: str, ids: Any, length: int, missing_cameras: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns integers `[N]`, and which of them are known; one that is not known differs from all others."""
    name = f"{side}_camera_ids"
    way_out = f". Give real camera ids{_IGNORE_NOTHING}"
    if ids is None and missing_cameras != "refuse":
        ids = np.full(length, np.nan)
    ids = _one_for_each(name, ids, length, f"{way_out}, or missing_cameras=distinct")
    known = ~pd.isna(ids)
    if missing_cameras == "refuse" and not known.all():
        raise ReidError(
            f"{name}: row {known.argmin()} is missing, {(~known).sum()} of {length} are{way_out}, or say what a "
            "missing one means: missing_cameras=distinct, a camera of its own, or leave_out, an image that does not "
            "count"
        )
    codes = np.zeros(length, np.int64)
    codes[known] = _as_integers(name, ids, known, way_out)
    smallest = int(codes.min()) - 1
    codes[~known] = smallest - 2 * np.arange((~known).sum()) - (side == "gallery")
    return codes, known


def _one_for_each(name: str, ids: Any, length: int, way_out: str) -> np.ndarray:
    if ids is None:
        raise ReidError(f"{name} is None: expected one for each of {length} embeddings{way_out}")
    ids = np.asarray(ids)
    if ids.shape != (length,):
        raise ReidError(f"{name} has shape {ids.shape}: expected ({length},), one for each embedding")
    return ids


def _as_integers(name: str, ids: np.ndarray, known: np.ndarray, way_out: str) -> np.ndarray:
    # pandas turns integers beside a missing one into floats, or hands nullable integers over as objects.
    whole = "camera" in name and ids.dtype.kind == "f" and (ids[known] == np.floor(ids[known])).all()
    for row in np.flatnonzero(known) if ids.dtype == object else ():
        if isinstance(ids[row], bool) or not isinstance(ids[row], numbers.Integral):
            raise ReidError(f"{name}: row {row} is {ids[row]!r}: expected integers. Code the ids as integers{way_out}")
    if ids.dtype.kind not in "iuO" and not whole:
        raise ReidError(f"{name} is {ids.dtype}: expected integers. Code the ids as integers{way_out}")
    return ids[known].astype(np.int64)


def _read_labels(name: str, labels: dict[str, Any], lengths: dict[str, int]) -> dict[str, np.ndarray]:
    """Returns tracklet ids or file names of both sides, which may be any integers or strings, as integers."""
    read = [_one_for_each(f"{side}_{name}", labels[side], lengths[side], _IGNORE_NOTHING) for side in labels]
    for side, values in zip(labels, read):
        missing = pd.isna(values)
        if missing.any():
            raise ReidError(f"{side}_{name}: row {missing.argmax()} is missing: expected one for each image")
    codes, _ = pd.factorize(np.concatenate([values.astype(object) for values in read]))
    return dict(zip(labels, np.split(codes.astype(np.int64), [len(read[0])])))


def _check_rows(name: str, rows: np.ndarray, start: int, metric: str) -> None:
    if rows.dtype.kind == "f" and not float(abs(rows).max()) <= LARGEST_VALUE:  # NaN compares as False.
        _refuse(
            ~(np.abs(rows.astype(np.float64)) <= LARGEST_VALUE).all(axis=1),
            f"{name}_embeddings: row {{}} is the first with NaN, inf or a value above {LARGEST_VALUE:.2g}: "
            "expected finite numbers. Look at that image and at the model's weights",
            start,
        )
    if metric == "cosine":
        _refuse(
            ~rows.any(axis=1),
            f"{name}_embeddings: row {{}} is the first of length zero: cosine needs a direction. "
            "Look at that image, or use metric=euclidean",
            start,
        )


def _refuse(bad: np.ndarray, message: str, start: int) -> None:
    if bad.any():
        raise ReidError(message.format(start + bad.argmax()))
