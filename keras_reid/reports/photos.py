"""Photos of a page: who is on an image of query or gallery, from which camera and file, and its crop."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from keras_reid.data.ids import as_names, names_of
from keras_reid.evaluation.embedded import Embedded
from keras_reid.reports.crops import HEIGHT, WIDTH, Crop, crops

QUERY, GALLERY = "query", "gallery"


class Photo(NamedTuple):
    """An image as a page shows it; all of it is text."""

    name: str  # its file without the folders, or its row where only an embedding is known
    path: str  # as the dataset names it; empty where only an embedding is known
    person: str
    camera: str  # empty where it is not known
    crop: Crop


class Photos:
    """Looks up the images of query and gallery.

    Args:
        embedded: query and gallery.
    """

    def __init__(self, embedded: Embedded):
        self.has_cameras = any("camera_id" in frame for frame in (embedded.query, embedded.gallery))
        self._sides = {QUERY: _texts(embedded.query), GALLERY: _texts(embedded.gallery)}

    @property
    def paths(self) -> list[str]:
        """Paths of all queries, then of all gallery images."""
        return [path for side in self._sides.values() for path in side.path]

    def of(
        self, places: Iterable[tuple[str, int]], *, size: tuple[int, int] = (HEIGHT, WIDTH)
    ) -> dict[tuple[str, int], Photo]:
        """Returns the photo at each place, (QUERY, row) or (GALLERY, row), with a crop that fits into a size."""
        places = list(dict.fromkeys(places))
        rows = [self._sides[side].iloc[row] for side, row in places]
        made = crops([row.path or None for row in rows], size=size)
        return {
            place: Photo(os.path.basename(row.path) or f"row {place[1]}", row.path, row.person, row.camera, crop)
            for place, row, crop in zip(places, rows, made)
        }


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the columns path, person and camera of a catalog's rows as text, empty where something is not known."""
    gaps = pd.Series([None] * len(frame), dtype=object)
    columns = {
        "path": frame.image_path if "image_path" in frame else gaps,
        "person": as_names(names_of(frame, "person_id")),
        "camera": as_names(names_of(frame, "camera_id")) if "camera_id" in frame else gaps,
    }
    return pd.DataFrame({name: [as_text(one) for one in column] for name, column in columns.items()})


def as_text(value: object) -> str:
    """Returns a value as text that a file in UTF-8 can hold; empty for a gap."""
    return "" if pd.isna(value) else str(value).encode("utf-8", "backslashreplace").decode()
