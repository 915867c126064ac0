"""Query and gallery of a dataset, embedded: what an evaluation scores, pools, expands and verifies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data.ids import NAME_SUFFIX, as_names, names_of
from keras_reid.errors import ReidError
from keras_reid.evaluation.inputs import ARGUMENTS
from keras_reid.evaluation.open_set import OpenSetResult, evaluate_open_set
from keras_reid.evaluation.pairs import Pairs, find_pairs
from keras_reid.evaluation.pooling import pool_rows
from keras_reid.evaluation.ranking import NoMatch, evaluate_distances, evaluate_retrieval
from keras_reid.evaluation.reassociation import (
    ReassociationResult,
    check_times,
    evaluate_reassociation,
    seconds_of,
)
from keras_reid.evaluation.reranking import expand_queries, rerank
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.single_shot import SingleShotResult, evaluate_single_gallery_shot
from keras_reid.evaluation.verification import VerificationResult, verify


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """Query and gallery, embedded.

    Attributes:
      query: a row for each query: person_id; where the dataset has them camera_id, tracklet_id, image_path.
      query_embeddings: float `[Q, D]`.
      gallery: the same of the gallery.
      gallery_embeddings: float `[G, D]`.
      metric: how embeddings are compared, "euclidean" or "cosine".
      network_fingerprint: of the network that made them; None where that is not known.
    """

    query: pd.DataFrame
    query_embeddings: np.ndarray
    gallery: pd.DataFrame
    gallery_embeddings: np.ndarray
    metric: str = "euclidean"
    network_fingerprint: str | None = None

    def __repr__(self) -> str:
        """Returns one line: how many images, and how they are compared."""
        width = self.gallery_embeddings.shape[-1]
        return f"Embedded({len(self.query)} queries, {len(self.gallery)} gallery images, width {width}, {self.metric})"

    def evaluate(self, **rules: Any) -> RetrievalResult:
        """Scores them by `evaluate_retrieval`, which tells the rules."""
        return self._scored(evaluate_retrieval, self.query_embeddings, self.gallery_embeddings, **rules)

    def evaluate_reranked(self, *, k1: int, k2: int, lambda_value: float, **rules: Any) -> RetrievalResult:
        """Scores them after re-ranking by `rerank`."""
        options = {"k1": k1, "k2": k2, "lambda_value": lambda_value, "metric": self.metric}
        distances = rerank(self.query_embeddings, self.gallery_embeddings, **options)
        rules["metric"] = f"{self.metric}, re-ranked (k1={k1}, k2={k2}, lambda={lambda_value:g})"
        return self._scored(evaluate_distances, distances, **rules)

    def evaluate_single_gallery_shot(self, **rules: Any) -> SingleShotResult:
        """Scores them by `evaluate_single_gallery_shot`, which tells the rules."""
        return self._scored(evaluate_single_gallery_shot, self.query_embeddings, self.gallery_embeddings, **rules)

    def evaluate_open_set(self, **rules: Any) -> OpenSetResult:
        """Scores them by `evaluate_open_set`, which tells the rules; `enrolled` holds names where ids were coded."""
        result = self._scored(evaluate_open_set, self.query_embeddings, self.gallery_embeddings, **rules)
        named = dict(zip(self.query.person_id, names_of(self.query, "person_id")))
        return dataclasses.replace(result, enrolled=np.array([[named[one] for one in row] for row in result.enrolled]))

    def evaluate_reassociation(self, **rules: Any) -> ReassociationResult:
        """Scores them by `evaluate_reassociation`, which tells the rules; ReidError where they have no times."""
        sides = {"query": self.query, "gallery": self.gallery}
        for name, frame in sides.items():
            check_times(frame, f"the {name} images")
        times = {f"{name}_times": seconds_of(frame.time) for name, frame in sides.items()}
        return self._scored(evaluate_reassociation, self.query_embeddings, self.gallery_embeddings, **times, **rules)

    def verify(self, **rules: Any) -> VerificationResult:
        """Counts genuine and impostor pairs by `verify`."""
        return self._scored(verify, self.query_embeddings, self.gallery_embeddings, **rules)

    def pairs(self, **rules: Any) -> Pairs:
        """Returns the genuine and impostor pairs, by the rules of `evaluate`."""
        return self._scored(find_pairs, self.query_embeddings, self.gallery_embeddings, **rules)

    def with_expanded_queries(self, neighbors: int) -> Embedded:
        """Returns them with each query averaged with its nearest gallery embeddings, by `expand_queries`."""
        options = {"neighbors": neighbors, "metric": self.metric}
        expanded = expand_queries(self.query_embeddings, self.gallery_embeddings, **options)
        return dataclasses.replace(self, query_embeddings=expanded)

    def without_missing_cameras(self) -> Embedded:
        """Returns them without the gallery images whose camera is not known; queries stay, and are skipped."""
        if "camera_id" not in self.gallery or self.gallery.camera_id.isna().all():  # `evaluate` says what that means
            return self
        return self._of_gallery(self.gallery.camera_id.notna())

    def with_tracklets(self, how: str) -> Embedded:
        """Returns them with the frames of each track pooled, by mean or max: one query or gallery entry for a track."""
        options = {"by": ["tracklet_id"], "how": how, "metric": self.metric}
        query = pool_rows(self.query, self.query_embeddings, **options)
        gallery = pool_rows(self.gallery, self.gallery_embeddings, **options)
        return Embedded(*query, *gallery, self.metric, self.network_fingerprint)

    def with_multi_query(self, frame: pd.DataFrame, embeddings: np.ndarray, how: str) -> Embedded:
        """Returns them with each query's embedding replaced by that of several images of its identity by its camera.

        Args:
          frame: person_id and camera_id of those images: Market-1501's `gt_bbox`, or the queries themselves.
          embeddings: float `[N, D]` of them.
          how: "mean" or "max".

        Raises:
          ReidError: a query's identity was not seen by its camera there.
        """
        by = ["person_id", "camera_id"]
        if not frame.duplicated(by).any():
            raise ReidError("multi_query finds one image of each identity and camera: there is nothing to pool.")
        pooled_frame, pooled = pool_rows(frame, embeddings, by=by, how=how, metric=self.metric)
        positions = {names: row for row, names in enumerate(pooled_frame[by].itertuples(index=False, name=None))}
        rows = [positions.get(names, -1) for names in self.query[by].itertuples(index=False, name=None)]
        missing = rows.count(-1)
        if missing:
            person, camera = (names_of(self.query, name).iloc[rows.index(-1)] for name in by)
            raise ReidError(
                f"{missing} of {len(rows)} queries have no multi_query image of their identity and camera, the "
                f"first is person {person}, camera {camera}: expected one or more. Check the dataset."
            )
        return dataclasses.replace(self, query_embeddings=pooled[rows])

    def of_gallery_camera(self, camera: Any) -> Embedded:
        """Returns them with the gallery of one camera alone."""
        return self._of_gallery((self.gallery.camera_id == camera).fillna(False))

    def _of_gallery(self, which: pd.Series) -> Embedded:
        rows = which.to_numpy(bool)
        return dataclasses.replace(self, gallery=self.gallery[rows], gallery_embeddings=self.gallery_embeddings[rows])

    def _scored(self, function: Callable, *inputs: np.ndarray, **rules: Any) -> Any:
        """Returns what a function of an evaluation gives; its error where nothing matches tells names, not codes."""
        try:
            return function(*inputs, **self._options(rules))
        except NoMatch as error:
            raise error.named(*map(_given, (self.query, self.gallery))) from error

    def _options(self, rules: dict[str, Any]) -> dict[str, Any]:
        """Returns the rules, and who is on the images, as the functions of an evaluation take them."""
        people = {
            f"{side}_{name}": frame[column].to_numpy() if column in frame else None
            for side, frame in (("query", self.query), ("gallery", self.gallery))
            for column, name in ARGUMENTS.items()
        }
        return {"metric": self.metric, **people, **rules}


def _given(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns the names of people and cameras that were coded, as `People` keeps them for messages."""
    named = {"given_ids": f"person_id{NAME_SUFFIX}", "given_keys": f"camera_id{NAME_SUFFIX}"}
    return {field: as_names(frame[name]).to_numpy(object) for field, name in named.items() if name in frame}
