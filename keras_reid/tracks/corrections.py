"""Corrections of links: what people said on the page of pairs of crops, as pairs of tracks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pandas as pd

from keras_reid.data.places import absolute
from keras_reid.data.regrouping import NOT_THE_SAME, SAME
from keras_reid.errors import ReidError
from keras_reid.tracks.tracks_file import Tracks


def said_of_tracks(
    tracks: Tracks, corrections: pd.DataFrame, folder: str | os.PathLike
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns the pairs of rows that are said to be the same person, and those that are not: what `link` takes.

    Args:
        tracks: whose crops the corrections name.
        corrections: as `read_corrections` returns them. A bad crop says nothing of links and is left out.
        folder: of the tracks' file; paths of crops are relative to it.

    Raises:
        ReidError: a path is none of the tracks' crops, or both are of one track.
    """
    rows = {}
    for row, crops in enumerate(tracks.frame.crops):
        rows.update({absolute(os.path.join(folder, crop)): row for crop in crops})
    said: dict[str, list[tuple[int, int]]] = {SAME: [], NOT_THE_SAME: []}
    for one in corrections.itertuples():
        if one.verdict not in said:
            continue
        first, second = (_row(path, rows, folder) for path in (one.image_path, one.other_path))
        if first == second:
            raise ReidError(
                f"{one.image_path!r} and {one.other_path!r} are crops of one track: links join tracks, and part no "
                "track. Remove that line."
            )
        said[one.verdict].append((first, second))
    return said[SAME], said[NOT_THE_SAME]


def _row(path: str, rows: dict[str, int], folder: str | os.PathLike) -> int:
    places: Sequence[str] = (absolute(os.path.join(folder, path)), absolute(path))
    found = next((rows[place] for place in places if place in rows), None)
    if found is None:
        known = next(iter(rows), "none at all")
        raise ReidError(
            f"{path!r} is no crop of these tracks: expected paths such as {known!r}. Are they of this folder?"
        )
    return found
