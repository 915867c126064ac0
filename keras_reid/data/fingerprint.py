"""Dataset fingerprint: hashes of a catalog's files, identities and cameras, split by split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.ids import NAME_SUFFIX
from keras_reid.data.places import is_remote

_READ = 500  # images of a split whose content is hashed: all of Market-1501 would take seconds, all of MARS minutes
_COVERS = "each image's path below --data_dir, person and camera"  # kept in run cards as it is
_COVERS_LOCAL = f"{_COVERS}, its size in bytes, and the content of {_READ} images, evenly spread"


def fingerprint(catalog: pd.DataFrame, sets: Sequence[tuple[str, str]]) -> dict:
    """Returns the fingerprint of a catalog, the same wherever the images lie and in whatever order they come.

    Args:
        catalog: of `read_training_sets` or `read_dataset`.
        sets: (name, folder) of each dataset in it.

    Returns:
        `covers`, what goes into the hashes; `splits`: name of a split -> `images`, `people` (without distractors and
        junk), `cameras`, `bytes` (None for remote files), `sha256`.

    Raises:
        OSError: a file cannot be read.
    """
    remote = any(is_remote(folder) for _, folder in sets)
    roots = [(os.path.dirname(folder) if name == "csv" else folder).rstrip("/") for name, folder in sets]
    numbers = catalog.dataset_id - 1 if "dataset_id" in catalog else pd.Series(0, index=catalog.index)
    paths = catalog.image_path.astype(str)
    rows = pd.DataFrame(
        {
            "name": [_below(roots[number], path) for number, path in zip(numbers, paths)],
            "path": paths,
            "set": numbers + 1,
            "person": _names(catalog, "person_id"),
            "camera": _names(catalog, "camera_id"),
            "bytes": 0 if remote else [os.stat(path).st_size for path in paths],
            "split": catalog.split,
            "is_person": catalog.person_id > DISTRACTOR_ID,
        }
    )
    splits = {split: _of_split(rows[rows.split == split], remote) for split in sorted(rows.split.unique())}
    return {"covers": _COVERS if remote else _COVERS_LOCAL, "splits": splits}


def changed_splits(before: Mapping, now: Mapping, *, only: Sequence[str] | None = None) -> list[str]:
    """Returns what differs between two fingerprints, a text for each split, or each of `only`."""
    names = sorted(before["splits"].keys() | now["splits"].keys())
    changes = []
    for name in names if only is None else [name for name in names if name in only]:
        there, here = before["splits"].get(name), now["splits"].get(name)
        if there is None or here is None:
            changes.append(f"{name} is {'new' if there is None else 'gone'}")
        elif there["sha256"] != here["sha256"]:
            counts = f"{there['images']:,} images of {there['people']:,} people"
            after = f"{here['images']:,} images of {here['people']:,} people"
            changes.append(f"{name} had {counts} and has {'others' if counts == after else after}")
    return changes


def _of_split(rows: pd.DataFrame, remote: bool) -> dict:
    rows = rows.sort_values(["set", "name", "person", "camera"])
    lines = rows[["set", "name", "person", "camera", "bytes"]].to_csv(index=False, header=False)
    digest = hashlib.sha256(lines.encode(errors="surrogateescape"))
    for row in [] if remote else np.unique(np.linspace(0, len(rows) - 1, min(_READ, len(rows))).round().astype(int)):
        with open(rows.path.iloc[row], "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return {
        "images": len(rows),
        "people": int(rows.person[rows.is_person].nunique()),
        "cameras": int(rows.camera[rows.camera != ""].nunique()),
        "bytes": None if remote else int(rows.bytes.sum()),
        "sha256": digest.hexdigest(),
    }


def _below(folder: str, path: str) -> str:
    return path[len(folder) :].lstrip("/") if path.startswith(f"{folder}/") else path


def _names(catalog: pd.DataFrame, column: str) -> pd.Series:
    """Returns ids as the text that the dataset gives, empty where they are missing."""
    given = f"{column}{NAME_SUFFIX}"
    return catalog[given if given in catalog else column].astype("string").fillna("")
