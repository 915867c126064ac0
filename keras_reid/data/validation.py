"""Validation identities: people held out of the training images, so that nothing is chosen by query and gallery."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError


def hold_out(catalog: pd.DataFrame, identities: int, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Holds training identities out.

    Those can be drawn whom two cameras or more saw, one of them at least twice. Each such camera gives one random image
    as a query, as in Market-1501; all others are the gallery, so that each query has a match by another camera. A
    missing camera id is no camera.

    Args:
        catalog: with training images.
        identities: how many.
        seed: of the draws.

    Returns:
        The catalog without them, and the catalog of them alone: splits "query" and "gallery".

    Raises:
        ReidError: there are not as many, or fewer than 2 identities would be left to train on.
    """
    train = catalog[catalog.split == "train"]
    images = train.groupby(["person_id", "camera_id"], observed=True).size()  # drops missing cameras
    seen = images.groupby("person_id").agg(["size", "max"])
    able = seen.index[(seen["size"] >= 2) & (seen["max"] >= 2)].to_numpy()
    most = min(len(able), train.person_id.nunique() - 2)
    if not 1 <= identities <= most:
        raise ReidError(
            f"validation_identities={identities}, expected at most {most}: so many of {train.person_id.nunique()} "
            "training identities were seen by two cameras and twice by one of them, with two left to train on."
        )
    random = np.random.default_rng([seed, identities])
    people = random.choice(np.sort(able), identities, replace=False)
    held = train[train.person_id.isin(people)]
    shuffled = held.iloc[random.permutation(len(held))].dropna(subset="camera_id")
    cameras = shuffled.groupby(["person_id", "camera_id"], observed=True)
    queries = shuffled[(cameras.cumcount() == 0) & (cameras.person_id.transform("size") >= 2)].index
    held = held.assign(split=np.where(held.index.isin(queries), "query", "gallery"))
    return catalog.drop(index=held.index).reset_index(drop=True), held.reset_index(drop=True)


def describe_validation(validation: pd.DataFrame | None) -> str:
    """Returns a line on what is held out; empty where nothing is."""
    if validation is None:
        return ""
    people, counts = validation.person_id.nunique(), validation.split.value_counts()
    images = f"{counts['query']:,} query and {counts['gallery']:,} gallery images"
    return f"held out for validation: {people:,} training identities, {images}"
