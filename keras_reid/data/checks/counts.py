"""Counts of a catalog: images per split, identity and camera, as tables and as numbers."""

from __future__ import annotations

import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.ids import names_of

_SUMMARY = {"min": "fewest", "median": "median", "max": "most"}
_NO_CAMERA = "none"
_MOST_ROWS = 40  # a table of several hundred cameras would hide all else


def counts_tables(catalog: pd.DataFrame) -> str:
    """Returns two tables as text: images and cameras of an identity in each split, and images of each camera."""
    known = catalog[catalog.person_id > DISTRACTOR_ID]
    of_identity = known.groupby(["split", "person_id"], sort=False).camera_id.agg(images="size", cameras="nunique")
    people = of_identity.groupby("split", sort=False).agg(["min", "median", "max"])
    people.columns = [f"{name}, {_SUMMARY[what]}" for name, what in people]
    people = people.reindex(catalog.split.unique()).dropna().rename_axis(None).to_string(float_format="{:g}".format)
    by_camera = _by_camera(catalog).to_string(max_rows=_MOST_ROWS)
    return f"of an identity\n{people}\n\nimages by camera\n{by_camera}"


def counts_numbers(catalog: pd.DataFrame) -> dict:
    """Returns the number of images of each split, in all, by camera and by identity, for JSON."""
    by_camera, numbers = _by_camera(catalog), {}
    for split in catalog.split.unique():
        of_split = names_of(catalog, "person_id")[catalog.split == split]
        cameras = by_camera[split][by_camera[split] > 0]
        numbers[split] = {
            "images": len(of_split),
            "images_by_camera": {str(camera): int(count) for camera, count in cameras.items()},
            "images_by_identity": {
                str(person): int(count) for person, count in of_split.value_counts().sort_index().items()
            },
        }
    return numbers


def _by_camera(catalog: pd.DataFrame) -> pd.DataFrame:
    cameras = names_of(catalog, "camera_id").astype(object).where(catalog.camera_id.notna(), _NO_CAMERA)
    table = pd.crosstab(cameras, catalog.split)[catalog.split.unique().tolist()]
    return table.rename_axis(index="camera", columns=None)
