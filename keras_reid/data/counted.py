"""Counting rule: which gallery images count for which query. The evaluation and the doctor both follow it.

An image of id -1 is junk and counts for nobody. An image of the query's own identity is ignored when it shares with the
query what `ignore` names: its camera (Market-1501's rule), its tracklet, its file, or nothing. All others count: of the
query's identity as true matches, of another one as wrong answers.

Missing camera ids (`missing_cameras`) are an error ("refuse"), a camera of their own each ("distinct"), or leave the
image out ("leave_out"). They make scores too good: a command whose result is the score (evaluate, doctor) refuses them
by default, and one with other work (train: "distinct") goes on and says so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_reid import choices
from keras_reid.data.catalog import JUNK_ID
from keras_reid.errors import ReidError

# What an ignored image shares with the query: the column of a catalog, and its name in a sentence.
SHARED_COLUMN = {"same_camera": "camera_id", "same_tracklet": "tracklet_id", "same_file": "image_path", "nothing": None}
SHARED_NAME = {"same_camera": "camera id", "same_tracklet": "tracklet id", "same_file": "file", "nothing": ""}

MISSING_CAMERAS_WAYS_OUT = (
    "give them, or say what a missing one means in scoring: missing_cameras=distinct (a camera of its own) or "
    "leave_out (the image does not count)"
)
_MEANING = {
    "distinct": "each counts as a camera of its own: images of one camera count as matches, which is easier",
    "leave_out": "they do not count",
}


class People(NamedTuple):
    """Who is on the images of one side, query or gallery."""

    person_ids: np.ndarray  # int64 [N]
    keys: np.ndarray | None  # int64 [N]; one of the query's identity *and* key is ignored; None: no image is
    counted: np.ndarray  # bool [N]; False: left out, because its camera is missing
    given_ids: np.ndarray | None = None  # [N], ids and keys as they came, for messages; None: they are the above
    given_keys: np.ndarray | None = None


class Matches(NamedTuple):
    """Which gallery images count for which query; a "position" is an index into `order`."""

    order: np.ndarray  # int64 [N], indices of the gallery images that count, sorted by identity
    first: np.ndarray  # int64 [Q]; from position first to last stand the images of the query's identity: true matches
    last: np.ndarray  # int64 [Q]; and ignored ones, so never wrong answers
    query: np.ndarray  # int64 [M], ascending: the query of each true match
    position: np.ndarray  # int64 [M], the position of each true match


def find_matches(query: People, gallery: People) -> Matches:
    """Returns which gallery images count for which query."""
    order = np.argsort(gallery.person_ids, kind="stable")
    order = order[(gallery.person_ids[order] != JUNK_ID) & gallery.counted[order]]
    person_ids = gallery.person_ids[order]
    first = np.searchsorted(person_ids, query.person_ids, side="left")
    last = np.searchsorted(person_ids, query.person_ids, side="right")
    own = np.where(query.counted, last - first, 0)
    rows = np.repeat(np.arange(len(own)), own)
    positions = np.arange(len(rows)) - np.repeat(np.cumsum(own) - own - first, own)
    if query.keys is not None:
        other = query.keys[rows] != gallery.keys[order[positions]]
        rows, positions = rows[other], positions[other]
    return Matches(order, first, last, rows, positions)


def shared_keys(images: pd.DataFrame, ignore: str) -> np.ndarray | None:
    """Returns int64 `[N]` keys of a catalog's rows, equal where two images share what is ignored.

    A missing value shares nothing with any other. Camera ids are their own keys. None where nothing is ignored.
    """
    column = SHARED_COLUMN[ignore]
    if column is None:
        return None
    values = images[column]
    missing = values.isna().to_numpy()
    is_integer = pd.api.types.is_integer_dtype(values)
    keys = np.array(values.fillna(0) if is_integer else pd.factorize(values)[0], np.int64)
    keys[missing] = min(keys.min(initial=0), 0) - 1 - np.arange(missing.sum())
    return keys


def people_of(
    query: pd.DataFrame, gallery: pd.DataFrame, *, ignore: str = "same_camera", missing_cameras: str = "distinct"
) -> tuple[People, People]:
    """Returns who is on the images of both sides, rows of a catalog; "refuse" counts as "distinct" here."""
    columns = ["person_id", *filter(None, [SHARED_COLUMN[ignore]])]
    both = pd.concat([query[columns], gallery[columns]], ignore_index=True)
    keys, counted = shared_keys(both, ignore), np.ones(len(both), bool)
    if ignore == "same_camera" and missing_cameras == "leave_out":
        counted = both.camera_id.notna().to_numpy()
    sides = (slice(len(query)), slice(len(query), None))
    person_ids = both.person_id.to_numpy(np.int64)
    return tuple(People(person_ids[side], None if keys is None else keys[side], counted[side]) for side in sides)


def has_match(
    query: pd.DataFrame, gallery: pd.DataFrame, *, ignore: str = "same_camera", missing_cameras: str = "distinct"
) -> np.ndarray:
    """Returns for each query whether the gallery holds a true match, bool `[Q]`; arguments as of `people_of`."""
    matches = find_matches(*people_of(query, gallery, ignore=ignore, missing_cameras=missing_cameras))
    return np.bincount(matches.query, minlength=len(query)) > 0


def missing_cameras_line(catalog: pd.DataFrame, missing_cameras: str, *, ignore: str = "same_camera") -> str:
    """Returns a line on what scoring makes of missing camera ids of query and gallery; empty where none matters.

    Raises:
        ReidError: some are missing and `missing_cameras` is "refuse", or it is unknown.
    """
    if missing_cameras not in choices.MISSING_CAMERAS:
        raise ReidError(f"missing_cameras={missing_cameras}, expected {', '.join(choices.MISSING_CAMERAS)}.")
    cameras = catalog.camera_id[catalog.split.isin(["query", "gallery"])]
    missing = int(cameras.isna().sum())
    if not missing or ignore != "same_camera":
        return ""
    found = f"{missing} of {len(cameras)} query and gallery images have no camera id"
    if missing_cameras == "refuse":
        raise ReidError(f"{found}: {MISSING_CAMERAS_WAYS_OUT}.")
    return f"{found}; in scoring {_MEANING[missing_cameras]} (missing_cameras={missing_cameras})"
