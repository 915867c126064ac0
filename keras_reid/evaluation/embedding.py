"""Embedding of a dataset: query and gallery, from the images of a catalog or from saved embeddings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.artifacts import Artifact, SavedEmbeddings, check_one_network, embed_files
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.ids import NAME_SUFFIX, as_names, names_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.embedded import Embedded


def embed_catalog(
    artifact: Artifact,
    catalog: pd.DataFrame,
    *,
    batch_size: int = 64,
    test_time_augmentation: str = "none",
    multi_query: str | None = None,
    tracklets: str | None = None,
    team=None,
) -> Embedded:
    """Embeds the query and gallery images of a catalog.

    Args:
        artifact: what embeds.
        catalog: with the splits "query" and "gallery"; junk (id -1) is never embedded.
        batch_size: images at once.
        test_time_augmentation: as in `Artifact.embed`.
        multi_query: None, or how the images of a query's person by its camera become its embedding, "mean" or "max":
            those of the split "multi_query" where the catalog has it, else those of the split "query".
        tracklets: None, or how the frames of a track become one embedding, "mean" or "max".
        team: as in `embed_files`.

    Raises:
        ReidError: a split is empty, an image cannot be read, or what is pooled has no ids to pool by.
    """
    if tracklets and "tracklet_id" not in catalog:  # before anything is embedded
        raise ReidError("images are pooled by tracklet_id, which the dataset does not give for every image.")
    splits = {name: catalog[catalog.split == name].reset_index(drop=True) for name in ("query", "gallery")}
    splits["gallery"] = splits["gallery"][splits["gallery"].person_id != JUNK_ID].reset_index(drop=True)
    for name, split in splits.items():
        if not len(split):
            raise ReidError(f"the {name} split is empty: nothing to score. Check the dataset.")
    more = catalog[catalog.split == "multi_query"]
    if multi_query and len(more):
        asked = splits["query"][["person_id", "camera_id"]].drop_duplicates()
        splits["multi_query"] = more.merge(asked, on=["person_id", "camera_id"])
    paths = [path for split in splits.values() for path in split.image_path]
    options = {"batch_size": batch_size, "test_time_augmentation": test_time_augmentation, "team": team}
    embeddings = embed_files(artifact, paths, **options)
    ends = np.cumsum([len(split) for split in splits.values()])
    sides = list(zip(splits.values(), np.split(embeddings, ends[:-1])))
    # Where the dataset has images for multi_query they are the third side; else queries are pooled among themselves.
    pooled = sides[2] if len(sides) > 2 else sides[0]
    embedded = Embedded(*sides[0], *sides[1], artifact.metric, artifact.network_fingerprint)
    return _pooled(embedded, *pooled, multi_query, tracklets)


def _pooled(
    embedded: Embedded, frame: pd.DataFrame, embeddings: np.ndarray, multi_query: str | None, tracklets: str | None
) -> Embedded:
    if multi_query and tracklets:
        raise ReidError(
            f"multi_query={multi_query} and tracklets={tracklets} exclude each other: a track is one query already."
        )
    if tracklets:
        return embedded.with_tracklets(tracklets)
    return embedded.with_multi_query(frame, embeddings, multi_query) if multi_query else embedded


def embedded_of_files(
    query: SavedEmbeddings,
    gallery: SavedEmbeddings,
    *,
    metric: str | None = None,
    multi_query: str | None = None,
    tracklets: str | None = None,
) -> Embedded:
    """Returns saved embeddings, with a column person_id, as query and gallery; the files say the metric by default.

    Ids that are no integers are coded from 1, alike on both sides. `multi_query` and `tracklets` are as in
    `embed_catalog`.

    Raises:
        ReidError: person ids are missing, the files come from two networks, or they name no metric or two.
    """
    sides = {"query": query, "gallery": gallery}
    check_one_network({f"the {name} embeddings": saved.network_fingerprint for name, saved in sides.items()})
    for name, saved in sides.items():
        if "person_id" not in saved.frame or saved.frame.person_id.isna().any():
            some = " for some images" if "person_id" in saved.frame else ""
            raise ReidError(
                f"the {name} embeddings name no person_id{some}: expected one for each. Embed from a .csv with the "
                "columns image_path, person_id and camera_id."
            )
    named = {saved.metric for saved in (query, gallery) if saved.metric}
    if not metric and len(named) != 1:
        raise ReidError(
            f"the embeddings name {'two metrics' if named else 'no metric'}: set metric=euclidean or metric=cosine."
        )
    frames = [query.frame.reset_index(drop=True), gallery.frame.reset_index(drop=True)]
    coded = _coded(frames, "person_id")
    coded = _coded(coded, "camera_id") if all("camera_id" in frame for frame in coded) else coded
    known = (coded[1].person_id != JUNK_ID).to_numpy(bool)  # as in a catalog: junk is nobody's neighbor
    sides = (coded[0], query.embeddings, coded[1][known].reset_index(drop=True), gallery.embeddings[known])
    embedded = Embedded(*sides, metric or named.pop(), query.network_fingerprint or gallery.network_fingerprint)
    return _pooled(embedded, coded[0], query.embeddings, multi_query, tracklets)


def _coded(frames: list[pd.DataFrame], column: str) -> list[pd.DataFrame]:
    """Returns the frames with ids that are no integers coded from 1, beside their names; missing ones stay missing."""
    if all(pd.api.types.is_integer_dtype(frame[column]) for frame in frames):
        return frames
    text = pd.concat([as_names(frame[column]) for frame in frames], ignore_index=True)
    codes, _ = pd.factorize(text)
    codes = pd.Series(np.where(codes < 0, 0, codes + 1), dtype="Int64").mask(codes < 0)
    codes = codes.mask((text == str(JUNK_ID)).fillna(False), JUNK_ID)  # Market-1501's, kept as text by some tool
    parts = codes.iloc[: len(frames[0])], codes.iloc[len(frames[0]) :]
    return [
        frame.assign(**{column: part.to_numpy(), f"{column}{NAME_SUFFIX}": names_of(frame, column)})
        for frame, part in zip(frames, parts)
    ]


def mean_color_artifact() -> Artifact:
    """Returns the baseline that every network must beat: an image's mean red, green and blue as its embedding."""
    metadata = {"metric": "euclidean", "embedding_size": 3}
    return Artifact("mean color", "mean color", metadata, lambda images: images.mean(axis=(1, 2)))
