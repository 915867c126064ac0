"""Inputs of an evaluation: embeddings and ids of query and gallery, checked; what is no good is refused by name."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.choices import IGNORE, METRICS, MISSING_CAMERAS
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.counted import SHARED_COLUMN, People, people_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices

LARGEST_VALUE = float(np.finfo(np.float32).max)  # Squares of these still fit into float64.
_ROWS_AT_ONCE = 4096
_IGNORE_NOTHING = ", or use ignore=nothing"
# What the arguments of `evaluate_retrieval` call the columns of a catalog, behind `query_` and `gallery_`.
ARGUMENTS = {"person_id": "person_ids", "camera_id": "camera_ids", "tracklet_id": "tracklet_ids", "image_path": "files"}


def check_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ReidError(f"{name}={value!r} is unknown: expected one of {', '.join(known)}")


def check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ReidError(f"{name}={value!r}: expected an integer of at least 1")


def read_people(
    queries: int, gallery: int, *, ignore: str = "same_camera", missing_cameras: str = "refuse", **ids: Any
) -> tuple[People, People]:
    """Returns who is on so many queries and gallery images; rules and ids are the arguments of `evaluate_retrieval`."""
    check_option("ignore", ignore, IGNORE)
    check_option("missing_cameras", missing_cameras, MISSING_CAMERAS)
    unknown = set(ids) - {f"{side}_{name}" for side in ("query", "gallery") for name in ARGUMENTS.values()}
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    column, lengths = SHARED_COLUMN[ignore], {"query": queries, "gallery": gallery}

    def given(column: str, way_out: str = "") -> dict[str, np.ndarray]:
        names = {side: f"{side}_{ARGUMENTS[column]}" for side in lengths}
        return {name: _one_for_each(name, ids.get(name), lengths[side], way_out) for side, name in names.items()}

    person_ids, keys = {name: _all_given(name, values) for name, values in given("person_id").items()}, {}
    frames = [pd.DataFrame({"person_id": coded}) for coded in _coded(person_ids)]
    if column == "camera_id":
        for side, length in lengths.items():
            name = f"{side}_camera_ids"
            keys[name] = _read_cameras(name, ids.get(name), length, missing_cameras)
        coded = _coded(keys, f". Give real camera ids{_IGNORE_NOTHING}")
    elif column:
        keys = {name: _all_given(name, values) for name, values in given(column, _IGNORE_NOTHING).items()}
        coded = [values.astype(object) for values in keys.values()]  # any integers or strings
    if column:
        frames = [frame.assign(**{column: values}) for frame, values in zip(frames, coded)]
    people = people_of(*frames, ignore=ignore, missing_cameras=missing_cameras)
    as_given = [[ids if ids.dtype.kind in "USO" else None for ids in one.values()] for one in (person_ids, keys)]
    return tuple(
        side._replace(given_ids=ids, given_keys=key)
        for side, ids, key in zip(people, as_given[0], as_given[1] or (None, None))
    )


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


def _read_cameras(name: str, ids: Any, length: int, missing_cameras: str) -> np.ndarray:
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
    return ids


def _one_for_each(name: str, ids: Any, length: int, way_out: str) -> np.ndarray:
    if ids is None:
        raise ReidError(f"{name} is None: expected one for each of {length} embeddings{way_out}")
    ids = np.asarray(ids)
    if ids.shape != (length,):
        raise ReidError(f"{name} has shape {ids.shape}: expected ({length},), one for each embedding")
    return ids


def _all_given(name: str, ids: np.ndarray) -> np.ndarray:
    missing = pd.isna(ids)
    if missing.any():
        raise ReidError(f"{name}: row {missing.argmax()} is missing: expected one for each image")
    return ids


def _coded(sides: dict[str, np.ndarray], way_out: str = "") -> list[pd.Series]:
    """Returns the ids of both sides as integers; those that are text are coded alike on both, and "-1" is -1."""
    known = [~pd.isna(ids) for ids in sides.values()]
    coded = [pd.Series(pd.NA, index=range(len(ids)), dtype="Int64") for ids in sides.values()]
    values = [ids[which] for ids, which in zip(sides.values(), known)]
    is_text = [bool(len(ids)) and isinstance(ids[0], (str, bytes)) for ids in values]
    if any(is_text):
        texts = [_as_text(name, ids, way_out) for name, ids in zip(sides, values)]
        codes, distinct = pd.factorize(np.concatenate(texts))
        codes = np.where(distinct[codes] == str(JUNK_ID), JUNK_ID, codes + 1)
        values = np.split(codes, [len(texts[0])])
    else:
        values = [_as_integers(name, ids, which, way_out) for (name, ids), which in zip(sides.items(), known)]
    for one, which, ids in zip(coded, known, values):
        one[which] = ids
    return coded


def _as_text(name: str, ids: np.ndarray, way_out: str) -> np.ndarray:
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in ids]
    for one in texts:
        if not isinstance(one, str):  # 7 and "7" would be two people
            raise ReidError(f"{name} holds the number {one}, but other ids are text: expected one kind{way_out}")
    return np.array(texts, object)


def _as_integers(name: str, ids: np.ndarray, known: np.ndarray, way_out: str) -> np.ndarray:
    # pandas turns integers beside a missing one into floats, or hands nullable integers over as objects.
    whole = "camera" in name and ids.dtype.kind == "f" and (ids[known] == np.floor(ids[known])).all()
    for row in np.flatnonzero(known) if ids.dtype == object else ():
        if isinstance(ids[row], bool) or not isinstance(ids[row], numbers.Integral):
            raise ReidError(f"{name}: row {row} is {ids[row]!r}: expected integers or text{way_out}")
    if ids.dtype.kind not in "iuO" and not whole:
        raise ReidError(f"{name} is {ids.dtype}: expected integers or text{way_out}")
    return ids[known].astype(np.int64)


def _check_rows(name: str, rows: np.ndarray, start: int, metric: str) -> None:
    bad, why = np.zeros(len(rows), bool), ""
    if rows.dtype.kind == "f" and not float(abs(rows).max()) <= LARGEST_VALUE:  # NaN compares as False.
        bad = ~(np.abs(rows.astype(np.float64)) <= LARGEST_VALUE).all(axis=1)
        why = (
            f"with NaN, inf or a value above {LARGEST_VALUE:.2g}: expected finite numbers. Look at that image and at "
            "the model's weights"
        )
    elif metric == "cosine":
        bad = ~rows.any(axis=1)
        why = "of length zero: cosine needs a direction. Look at that image, or use metric=euclidean"
    if bad.any():
        raise ReidError(f"{name}_embeddings: row {start + bad.argmax()} is the first {why}")
