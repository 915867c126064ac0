"""Training sets: several datasets joined to one catalog, and the part of the training images that a run uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.data.ids import NAME_SUFFIX
from keras_reid.data.readers.by_name import read_dataset
from keras_reid.errors import ReidError

_SCORED = ("query", "gallery")


def read_training_sets(sets: Sequence[tuple[str, str]], *, camera_pattern: str | None = None) -> pd.DataFrame:
    """Reads datasets to train on, one or several at once.

    Args:
        sets: (name, folder) of each, as for `read_dataset`.
        camera_pattern: as for `read_dataset`.

    Returns:
        One catalog, as `join_catalogs` makes it.

    Raises:
        ReidError: a reader refuses its folder, there is nothing to train on, or nothing to score on.
    """
    catalogs = [(name, read_dataset(name, folder, camera_pattern=camera_pattern)) for name, folder in sets]
    return join_catalogs(catalogs)


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
        A single catalog as it is. Several: their rows in order, without `tracklet_id`, and with the columns `dataset`
        (name) and `dataset_id` (int, counted from 1). The person and camera ids of each dataset follow those of the
        datasets before it, since nobody is in two of them; -1 and 0 stay junk and distractors.

    Raises:
        ReidError: no dataset can be scored, none has training images, or one that is not scored has none.
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
    if not any((frame.split == "train").any() for _, frame in catalogs):
        raise ReidError("no dataset has training images: expected the split train in one of them.")
    parts, people, cameras = [], 0, 0
    columns = {column for _, frame in catalogs for column in frame} - {"tracklet_id"}
    for number, (name, frame) in enumerate(catalogs):
        frame = _with_names(frame, columns).drop(columns="tracklet_id", errors="ignore")
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
    cameras = joined.camera_id.astype("Int64")
    return joined.assign(camera_id=cameras if cameras.isna().any() else cameras.astype("int64"))


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
        rows = train[train.dataset_id == number]
        line = f"{number}. {name}: {len(rows):,} training images of {rows.person_id.nunique():,} identities"
        lines.append(f"{line}; scored" if number == scored else line)
    return "\n".join(lines)


def _with_names(frame: pd.DataFrame, columns: set[str]) -> pd.DataFrame:
    """Returns a catalog with columns of names where another catalog has them; the names are the ids as they are."""
    for column in ("person_id", "camera_id"):
        name = f"{column}{NAME_SUFFIX}"
        if name in columns and name not in frame:
            frame = frame.assign(**{name: frame[column].astype("string")})
    return frame


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
    table = pd.DataFrame({"position": order, "person": people[order]})
    table["rank"] = table.groupby("person").cumcount()
    table["single"] = table.groupby("person").person.transform("size") == 1
    turns = random.permutation(np.unique(people))
    table["turn"] = table.person.map(pd.Series(np.arange(len(turns)), index=turns))
    table["draw"] = random.random(len(table))  # drawn anew, since third images come late in `order`
    later = table["rank"] >= 2
    table.loc[later, "turn"] = 0  # after the first two the draw alone decides
    order = ["later", "single", "turn", "rank", "draw"]
    # By rank, later images would be sorted by how many their person has.
    table = table.assign(later=later, rank=table["rank"].where(~later, 0)).sort_values(order)
    return table.position.to_numpy()


def _check(name: str, value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most:
        raise ReidError(f"{name}={value}, expected {least} to {most}, the number of training {what}, or 0 for all.")
