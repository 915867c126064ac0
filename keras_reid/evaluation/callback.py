"""Keras callback of retrieval scores: the model as it ships, or an artifact exported from it, every n epochs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd

from keras_reid.artifacts import Artifact, open_artifact
from keras_reid.errors import ReidError
from keras_reid.evaluation.reference import ReferenceModel
from keras_reid.evaluation.scoring import score
from keras_reid.keras2 import tf
from keras_reid.models.structure import check_embedder


class RetrievalEvaluation(tf.keras.callbacks.Callback):
    """Scores the model, or an exported artifact, on the query and gallery of a catalog, as `score` does.

    Every n epochs it adds to the epoch's logs `val_mean_average_precision`,
    `val_mean_average_precision_trapezoid`, `val_top1`, `val_top5` and `val_top10`, as fractions: callbacks after it in
    the list see them. The model is scored as it would ship, in float32. It works under Keras 2 and Keras 3, on any
    functional or Sequential model from images of one size to embeddings; another is refused when `fit` begins.

    Args:
        catalog: holds the splits "query" and "gallery".
        artifact: None for the model itself; an opened artifact; the path of an exported one, opened anew each time; or
            a function that exports the embedder that it is given and returns the path.
        every: epochs from one evaluation to the next.
        ignore: as in `evaluate_retrieval`.
        missing_cameras: as in `evaluate_retrieval`.
        batch_size: images at once on each device.
        team: the workers and devices that share the work on the model, as in `score`.

    Attributes:
        score: the last `Score`; None before the first.
    """

    def __init__(
        self,
        catalog: pd.DataFrame,
        *,
        artifact: Artifact | str | os.PathLike | Callable[[Any], str | os.PathLike] | None = None,
        every: int = 1,
        ignore: str = "same_camera",
        missing_cameras: str = "refuse",
        batch_size: int = 64,
        team: Any = None,
    ):
        super().__init__()
        if every < 1:
            raise ReidError(f"every={every}, expected at least 1 epoch.")
        self.score = None
        self._catalog, self._artifact, self._every = catalog, artifact, every
        self._options = {"ignore": ignore, "missing_cameras": missing_cameras, "batch_size": batch_size}
        self._options["team"] = team if artifact is None else None
        self._reference = ReferenceModel(team.devices if team else ())

    def set_model(self, model) -> None:
        """Takes the model at the beginning of `fit`; ReidError, before any step, where it cannot be scored."""
        super().set_model(model)
        embedder = getattr(model, "embedder", model)
        # A Sequential without Input learns its sizes from the first batch.
        if self._artifact is None and not (isinstance(embedder, tf.keras.Sequential) and not embedder.built):
            check_embedder(embedder, "model")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self._every == 0:
            self.score = score(self._open(), self._catalog, **self._options)
            logs.update(self.score.logs())

    def _open(self) -> Artifact:
        embedder = getattr(self.model, "embedder", self.model)
        if self._artifact is None:
            ships = getattr(self.model, "shipped_embedder", None)  # of a `TripletTrainer`
            return self._reference.artifact_of(ships() if ships else embedder)
        if isinstance(self._artifact, Artifact):
            return self._artifact
        return open_artifact(self._artifact(embedder) if callable(self._artifact) else self._artifact)
