"""Breakdown of a score: the pairs of cameras, and the identities, that are found well or badly."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_reid.data.ids import names_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.results import RetrievalResult


def camera_pairs(embedded: Embedded, *, ignore: str = "same_camera", missing_cameras: str = "refuse") -> pd.DataFrame:
    """Scores each pair of cameras by the rules of `evaluate_retrieval`, queries of one, gallery of the other.

    Returns:
      A row for each pair with a scored query: query_camera, gallery_camera, queries, mean_average_precision, top1.
    """
    if not all("camera_id" in frame for frame in (embedded.query, embedded.gallery)):
        raise ReidError("there are no camera ids: scores cannot be broken down by pairs of cameras.")
    rows, names = [], dict(zip(embedded.gallery.camera_id, names_of(embedded.gallery, "camera_id")))
    for camera in sorted(embedded.gallery.camera_id.dropna().unique()):
        seen = embedded.of_gallery_camera(camera)
        try:
            result = seen.evaluate(ignore=ignore, missing_cameras=missing_cameras)
        except ReidError:  # no query has a match there
            continue
        means = _means(result, names_of(embedded.query, "camera_id"))
        rows += [[query_camera, names[camera], *scores] for query_camera, *scores in means.itertuples()]
    columns = ["query_camera", "gallery_camera", "queries", "mean_average_precision", "top1"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:2], ignore_index=True)


def identities(embedded: Embedded, result: RetrievalResult) -> pd.DataFrame:
    """Returns person_id, queries, mean_average_precision, top1 of the identities of scored queries, the worst first."""
    frame = _means(result, names_of(embedded.query, "person_id")).rename_axis("person_id").reset_index()
    return frame.sort_values(["mean_average_precision", "person_id"], ignore_index=True)


def _means(result: RetrievalResult, groups: pd.Series) -> pd.DataFrame:
    """Returns a row for each group of queries: how many were scored, and their means."""
    scores = {"mean_average_precision": result.average_precision, "top1": result.first_match_rank == 1}
    scored = result.first_match_rank > 0
    grouped = pd.DataFrame(scores)[scored].groupby(np.asarray(groups)[scored])
    return grouped.agg(
        queries=("top1", "size"), mean_average_precision=("mean_average_precision", "mean"), top1=("top1", "mean")
    )
