"""Decides how an artifact is scored on a catalog: embed query and gallery, rank, and show the scores side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from keras_reid.artifacts import Artifact, embed_files
from keras_reid.data.catalog import JUNK_ID
from keras_reid.errors import ReidError
from keras_reid.evaluation.ranking import evaluate_retrieval
from keras_reid.evaluation.results import RetrievalResult

_ROWS = {
    "mAP %": "mean_average_precision",
    "mAP % (trapezoid)": "mean_average_precision_trapezoid",
    "top-1 %": "top1",
    "top-5 %": "top5",
    "top-10 %": "top10",
    "mINP %": "mean_inverse_negative_penalty",
}


def evaluate_artifact(
    artifact: Artifact, catalog: pd.DataFrame, *, ignore: str = "same_camera", batch_size: int = 64
) -> RetrievalResult:
    """Embeds the query and gallery images of a catalog and ranks them, by the artifact's own metric.

    Args:
        artifact: what embeds.
        catalog: with the splits "query" and "gallery"; junk (id -1) is never embedded.
        ignore: as in `evaluate_retrieval`.
        batch_size: images at once.

    Raises:
        ReidError: a split is empty, an image cannot be read, or no query has a match.
    """
    query = catalog[catalog.split == "query"]
    gallery = catalog[(catalog.split == "gallery") & (catalog.person_id != JUNK_ID)]
    for name, split in (("query", query), ("gallery", gallery)):
        if not len(split):
            raise ReidError(f"the {name} split is empty: nothing to score. Check the data set.")
    embeddings = embed_files(artifact, [*query.image_path, *gallery.image_path], batch_size=batch_size)
    return evaluate_retrieval(
        embeddings[: len(query)],
        embeddings[len(query) :],
        query_person_ids=query.person_id.to_numpy(),
        gallery_person_ids=gallery.person_id.to_numpy(),
        query_camera_ids=query.camera_id.to_numpy(),
        gallery_camera_ids=gallery.camera_id.to_numpy(),
        metric=artifact.metric,
        ignore=ignore,
    )


def mean_colour_artifact() -> Artifact:
    """Returns the baseline that every network must beat: an image's mean red, green and blue as its embedding."""
    metadata = {"metric": "euclidean", "embedding_size": 3}
    return Artifact("mean colour", "mean colour", metadata, lambda images: images.mean(axis=(1, 2)))


def scores_table(scores: Mapping[str, Mapping]) -> str:
    """Returns a table on which each of several artifacts has a column, in percent.

    Args:
        scores: name -> `RetrievalResult.to_dict()`.
    """
    columns = {name: {row: 100 * score[key] for row, key in _ROWS.items()} for name, score in scores.items()}
    return pd.DataFrame(columns).to_string(float_format="{:.2f}".format)
