"""Counts of a catalog: images per split, identity and camera, as tables and as numbers."""

from __future__ import annotations

import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID

_SUMMARY = ("fewest", "median", "most")
_NO_CAMERA = "none"
_MOST_ROWS = 40  # a table of several hundred cameras would hide all else


def counts_tables(catalog: pd.DataFrame) -> str:
    """Returns two tables as text: images and cameras of an identity in each split, and images of each camera."""
    people = {}
    for split in catalog.split.unique():
        known = catalog[(catalog.split == split) & (catalog.person_id > DISTRACTOR_ID)].groupby("person_id")
        for name, values in {"images": known.size(), "cameras": known.camera_id.nunique()}.items():
            if len(values):
                summary = [values.min(), values.median(), values.max()]
                people.setdefault(split, {}).update({f"{name}, {what}": n for what, n in zip(_SUMMARY, summary)})
    people = pd.DataFrame.from_dict(people, orient="index").to_string(float_format="{:g}".format)
    by_camera = _by_camera(catalog).to_string(max_rows=_MOST_ROWS)
    return f"of an identity\n{people}\n\nimages by camera\n{by_camera}"


def counts_numbers(catalog: pd.DataFrame) -> dict:
    """Returns the number of images of each split, in all, by camera and by identity, for JSON."""
    by_camera, numbers = _by_camera(catalog), {}
    for split in catalog.split.unique():
        of_split = catalog.person_id[catalog.split == split]
        people, images = (part.tolist() for part in of_split.value_counts().sort_index().reset_index().to_numpy().T)
        cameras = by_camera[split][by_camera[split] > 0]
        numbers[split] = {
            "images": len(of_split),
            "images_by_camera": {str(camera): int(count) for camera, count in cameras.items()},
            "images_by_identity": {str(person): int(count) for person, count in zip(people, images)},
        }
    return numbers


def _by_camera(catalog: pd.DataFrame) -> pd.DataFrame:
    cameras = catalog.camera_id.astype(object).where(catalog.camera_id.notna(), _NO_CAMERA)
    table = pd.crosstab(cameras, catalog.split)[catalog.split.unique().tolist()]
    return table.rename_axis(index="camera", columns=None)
