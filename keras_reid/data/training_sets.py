"""Training sets: several datasets joined to one catalog, and the part of the training images that a run uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.data.ids import NAME_SUFFIX
from keras_reid.data.readers.by_name import read_dataset
from keras_reid.data.tables import whole_numbers
from keras_reid.errors import ReidError

_SCORED = ("query", "gallery")
_LEFT_OUT = ["tracklet_id", "time"]  # of several datasets joined


def read_training_sets(sets: Sequence[tuple[str, str]], *, camera_pattern: str | None = None) -> pd.DataFrame:
    """Reads datasets to train on, (name, folder) each as for `read_dataset`, and joins them by `join_catalogs`."""
    return join_catalogs([(name, read_dataset(name, folder, camera_pattern=camera_pattern)) for name, folder in sets])


def read_scored_sets(sets: Sequence[tuple[str, str]], *, camera_pattern: str | None = None) -> pd.DataFrame:
    """Reads datasets as `read_training_sets`, to score on them: a single one needs no training images."""
    if len(sets) == 1:
        return read_dataset(*sets[0], camera_pattern=camera_pattern)
    return read_training_sets(sets, camera_pattern=camera_pattern)


def join_catalogs(catalogs: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Joins the catalogs of several datasets: the training images of all, query and gallery of one.

    The first dataset with query and gallery is scored. A run without scores is refused: nobody would notice a failure,
    and nothing that ships could be checked.

    Args:
        catalogs: (name, catalog) of each.

    Returns:
        A single catalog as it is. Several: their rows in order, without `tracklet_id` and `time`, and with the
        columns `dataset` (name) and `dataset_id` (int, counted from 1). The person and camera ids of each dataset
        follow those of the datasets before it, since nobody is in two of them; -1 and 0 stay junk and distractors.

    Raises:
        ReidError: no dataset can be scored, or one that is not scored, or the only one, has no training images.
    """
    scored = next((n for n, (_, frame) in enumerate(catalogs) if set(_SCORED) <= set(frame.split)), None)
    if scored is None:
        raise ReidError(
            f"{' and '.join(name for name, _ in catalogs)}: no query and gallery images, so nothing could be scored. "
            "Give some people the splits query and gallery, or add another dataset=NAME to score on, with its data_dir."
        )
    for number, (name, frame) in enumerate(catalogs):
        if (number != scored or len(catalogs) == 1) and not (frame.split == "train").any():
            raise ReidError(f"{name} has no training images: expected the split train. Leave it out or correct it.")
    if len(catalogs) == 1:
        return catalogs[0][1]
    parts, people, cameras = [], 0, 0
    columns = {column for _, frame in catalogs for column in frame} - {*_LEFT_OUT}
    for number, (name, frame) in enumerate(catalogs):
        for column in ("person_id", "camera_id"):  # where another catalog has names, the names are the ids as they are
            names = f"{column}{NAME_SUFFIX}"
            if names in columns and names not in frame:
                frame = frame.assign(**{names: frame[column].astype("string")})
        frame = frame.drop(columns=_LEFT_OUT, errors="ignore")
        frame = frame.assign(dataset=name, dataset_id=number + 1)
        frame = frame if number == scored else frame[frame.split == "train"]
        if number:
            frame = frame.assign(
                person_id=_following(frame.person_id, people, frame.person_id > 0),
                camera_id=_following(frame.camera_id, cameras, frame.camera_id.notna()),
            )
        people = max(people, int(frame.person_id.max()))
        cameras = max(cameras, 0 if frame.camera_id.isna().all() else int(frame.camera_id.max()))
        parts.append(frame)
    joined = pd.concat(parts, ignore_index=True)
    return joined.assign(camera_id=whole_numbers(joined.camera_id))


def scored_name(catalog: pd.DataFrame, names: Sequence[str]) -> str:
    """Returns the name of the dataset that a catalog of `read_training_sets` is scored on."""
    return catalog.dataset[catalog.split == "query"].iloc[0] if "dataset" in catalog else names[0]


def describe_sets(catalog: pd.DataFrame) -> str:
    """Returns a line for each dataset of a joined catalog; empty for a single dataset."""
    if "dataset" not in catalog:
        return ""
    train, scored = catalog[catalog.split == "train"], catalog.dataset_id[catalog.split == "query"].iloc[0]
    lines = []
    for number, name in catalog[["dataset_id", "dataset"]].drop_duplicates().itertuples(index=False):
        rows, end = train[train.dataset_id == number], "; scored" if number == scored else ""
        lines.append(f"{number}. {name}: {len(rows):,} training images of {rows.person_id.nunique():,} identities{end}")
    return "\n".join(lines)


def _following(ids: pd.Series, last: int, which: pd.Series) -> pd.Series:
    """Returns ids with those in `which` shifted: the lowest of them follows `last`."""
    which = which.to_numpy(bool)
    if not which.any():
        return ids
    return ids.where(~which, ids + (last + 1 - int(ids[which].min())))


def take_part(catalog: pd.DataFrame, *, identities: int = 0, images: int = 0, seed: int = 0) -> pd.DataFrame:
    """Leaves out training images at random; other splits stay as they are.

    Args:
        catalog: any.
        identities: how many training identities are kept, with all their images; 0 for all.
        images: how many of their images are kept; 0 for all. Two of each identity come first, since a single image
            has no positive: as many identities as there is room for, those with two images before those with one.
            Then come any others.
        seed: of the choice.

    Raises:
        ReidError: there are not as many, or fewer than 2 identities or 4 images would be left.
    """
    people = catalog.person_id[catalog.split == "train"]
    random = np.random.default_rng(seed)
    if identities:
        _check("train_identities", identities, 2, people.nunique(), "identities")
        people = people[people.isin(random.permutation(np.unique(people))[:identities])]
    if images:
        _check("train_images", images, 4, len(people), "images")
        people = people.iloc[np.sort(_two_of_each_first(people.to_numpy(), random)[:images])]
    kept = catalog.index.isin(people.index) | (catalog.split != "train").to_numpy()
    return catalog[kept].reset_index(drop=True)


def _two_of_each_first(people: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns the positions in `people`, those that are kept first in front."""
    order = random.permutation(len(people))
    people = pd.Series(people[order])
    rank = people.groupby(people).cumcount().to_numpy()
    single = people.groupby(people).transform("size").to_numpy() == 1
    turns = random.permutation(np.unique(people))
    turn = people.map(pd.Series(np.arange(len(turns)), index=turns)).to_numpy()
    draw = random.random(len(people))  # drawn anew, since third images come late in `order`
    # After the first two the draw alone decides: by rank, they would be sorted by how many their person has.
    later = rank >= 2
    return order[np.lexsort([draw, np.where(later, 0, rank), np.where(later, 0, turn), single, later])]


def _check(name: str, value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most:
        raise ReidError(f"{name}={value}, expected {least} to {most}, the number of training {what}, or 0 for all.")
