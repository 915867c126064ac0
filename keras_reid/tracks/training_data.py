"""Training data from tracks: a CSV dataset whose people are the global ids of linked tracks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all
from keras_reid.tracks.link_files import LINKS, read_links
from keras_reid.tracks.tracks_file import Tracks, read_tracks

DATASET = "people.csv"


class Made(NamedTuple):
    """What was made: the dataset's CSV, and what was left out, words -> count."""

    path: Path
    left_out: dict[str, int]


def dataset_from_tracks(
    folder: str | os.PathLike, output: str | os.PathLike, *, test_share: float = 0.5, seed: int = 0
) -> Made:
    """Makes a dataset of the crops of linked tracks, whole or not at all.

    A share of the people whom several cameras saw becomes the test: of each in each camera with several crops one is a
    query, the others are the gallery. All others are for training, those of one camera too. Left out are people of one
    track, who may be anybody, and crops that are missing.

    Args:
        folder: what `python -m keras_reid.tracks --link` wrote: tracks.parquet, links.csv, crops.
        output: a new folder, for people.csv, whose columns are image_path, person_id (the global id), camera_id, split,
            tracklet_id and time, and a copy of the crops.
        test_share: of the people of several cameras, above 0 and below 1; one person at least.
        seed: of who and which crop.

    Raises:
        ReidError: the folder holds no tracks or no links, or no people of several cameras for both training and test.
        OSError: the output is there already, or cannot be written.
    """
    tracks = read_tracks(folder)
    images = _crops(tracks, _identities(tracks, folder))
    known = images.person_id.notna()
    there = known & pd.Series([os.path.isfile(Path(folder, path)) for path in images.image_path], dtype=bool)
    counts = {"crops of people of one track": (~known).sum(), "crops that are missing": (known & ~there).sum()}
    images = images[there].reset_index(drop=True)
    images["split"] = _splits(images, test_share, seed)
    with whole_or_not_at_all(output) as temporary:
        for path in images.image_path:
            copy = temporary / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder, path), copy)
        images.to_csv(temporary / DATASET, index=False, encoding="utf-8")
    return Made(Path(output, DATASET), {words: int(count) for words, count in counts.items() if count})


def _identities(tracks: Tracks, folder: str | os.PathLike) -> dict[tuple[str, str], str]:
    """Returns the global id of each linked track, by camera and track."""
    path, found = Path(folder, LINKS), read_links(folder)
    if found is None:
        raise ReidError(f"{str(path)!r} is not there: link the tracks first, by python -m keras_reid.tracks --link.")
    known = set(zip(tracks.frame.camera, tracks.frame.track))
    strange = [name for name in found if name not in known]
    if strange:
        raise ReidError(
            f"{str(path)!r} names {len(strange)} tracks that tracks.parquet does not, the first is track "
            f"{strange[0][1]!r} of camera {strange[0][0]!r}: link the tracks again."
        )
    return found


def _crops(tracks: Tracks, identities: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Returns a row for each crop: image_path, person_id (missing for people of one track), camera_id, ..."""
    rows = []
    for one in tracks.frame.itertuples():
        identity = identities.get((one.camera, one.track))
        frames = max(1, one.last_frame - one.first_frame)
        for path in one.crops:
            number = PurePosixPath(path).stem
            since = (int(number) - one.first_frame) / frames if number.isdecimal() else 0.0
            time = one.start + min(max(since, 0), 1) * (one.end - one.start)
            rows.append((path, identity, one.camera, f"{one.camera}/{one.track}", round(time, 3)))
    return pd.DataFrame(rows, columns=["image_path", "person_id", "camera_id", "tracklet_id", "time"])


def _splits(images: pd.DataFrame, test_share: float, seed: int) -> np.ndarray:
    """Returns the split of each image: people are drawn, and of each in each camera a query."""
    if not 0 < test_share < 1:
        raise ReidError(f"test_share={test_share}: expected a share between 0 and 1.")
    random = np.random.default_rng(seed)
    cameras = images.groupby("person_id").camera_id.nunique()
    several = sorted(cameras.index[cameras > 1], key=lambda name: (len(name), name))
    count = max(1, round(test_share * len(several)))
    if len(several) < 2 or len(cameras) - count < 2:
        raise ReidError(
            f"{len(several)} people were seen by several cameras, {len(cameras)} have several tracks: expected 2 or "
            "more for training and one for the test. Record more, or look at the page whether links are missing."
        )
    tested = set(random.choice(several, min(count, len(several) - 1), replace=False).tolist())
    splits = np.where(images.person_id.isin(tested), "gallery", "train").astype(object)
    for person in sorted(tested):
        of_cameras = images[images.person_id == person].groupby("camera_id").indices.values()
        rows = np.flatnonzero(images.person_id == person)
        asked = [rows[random.choice(some)] for some in of_cameras if len(some) > 1]  # what else would be found there?
        splits[asked or rows[:1]] = "query"
    return splits
