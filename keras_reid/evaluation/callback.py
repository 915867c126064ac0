"""Decides when a model is scored while it trains: every n epochs, live or as the artifact exported from it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pandas as pd

from keras_reid.artifacts import Artifact, artifact_of, on_devices, open_artifact
from keras_reid.errors import ReidError
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.scoring import embed_catalog
from keras_reid.evaluation.stopwatch import Stopwatch
from keras_reid.evaluation.verification import VerificationResult
from keras_reid.keras2 import keras, tf
from keras_reid.models import rebuild_in_float32


class RetrievalEvaluation(keras.callbacks.Callback):
    """Scores the live model, or an exported artifact, on the query and gallery of a catalog.

    Every n epochs it adds to the epoch's logs `val_mean_average_precision`,
    `val_mean_average_precision_trapezoid`, `val_top1`, `val_top5` and `val_top10`, as fractions: callbacks after it in
    the list see them. The live model is scored as it would ship, rebuilt in float32.

    Args:
        catalog: with the splits "query" and "gallery".
        artifact: None for the live model; an opened artifact; the path of an exported one, opened anew each time; or
            a function that exports the embedder that it is given and returns the path.
        every: epochs from one evaluation to the next.
        ignore: as in `evaluate_retrieval`.
        missing_cameras: the same.
        batch_size: images at once.
        team: replicas that share the work on the live model, `keras_reid.training.strategy.Team`: each device embeds
            its part; each worker gets all scores. All workers must then `evaluate` at once.
    """

    def __init__(
        self,
        catalog: pd.DataFrame,
        *,
        artifact: Artifact | str | os.PathLike | Callable[[keras.Model], str | os.PathLike] | None = None,
        every: int = 1,
        ignore: str = "same_camera",
        missing_cameras: str = "refuse",
        batch_size: int = 64,
        team=None,
    ):
        super().__init__()
        if every < 1:
            raise ReidError(f"--evaluate_every={every}, expected at least 1 epoch.")
        self.result, self.scored_epoch, self.embedded, self.images_per_second = None, None, None, None
        self._catalog, self._artifact, self._every = catalog, artifact, every
        self._batch_size, self._rules = batch_size, {"ignore": ignore, "missing_cameras": missing_cameras}
        self._live, self._team = (None, None, ()), team

    def verify(self) -> VerificationResult:
        """Counts pairs of one person and of two among the embeddings of the last `evaluate`, by the same rules."""
        return self.embedded.verify(**self._rules)

    def of(self, artifact: Artifact | str | os.PathLike) -> RetrievalEvaluation:
        """Returns an evaluation of an artifact on the same catalog by the same rules."""
        return RetrievalEvaluation(self._catalog, artifact=artifact, batch_size=self._batch_size, **self._rules)

    def prepare(self) -> None:
        """Builds what embeds for the live model. A strategy's scope, and so `fit`, would spread it over replicas."""
        self._live_artifact()

    def is_due(self, epoch: int) -> bool:
        """Whether the model is scored after this epoch, counted from 0."""
        return (epoch + 1) % self._every == 0

    def on_epoch_end(self, epoch, logs=None):
        if self.is_due(epoch):
            logs.update(self.evaluate())
            self.scored_epoch = epoch + 1

    def evaluate(self) -> dict[str, float]:
        """Scores now and returns the `val_` logs.

        Afterwards the whole `RetrievalResult` is in `.result`, the embeddings are in `.embedded`, and how fast the
        model embedded, decoding apart, is in `.images_per_second`.
        """
        stopwatch = Stopwatch(self._open())
        team = self._team if self._artifact is None else None
        batch_size = self._batch_size * max(1, len(team.devices) if team else 1)
        self.embedded = embed_catalog(stopwatch.artifact, self._catalog, batch_size=batch_size, team=team)
        self.images_per_second = stopwatch.images_per_second
        self.result = self.embedded.evaluate(**self._rules)
        return _logs(self.result)

    def _open(self) -> Artifact:
        if self._artifact is None:
            return self._live_artifact()
        if isinstance(self._artifact, Artifact):
            return self._artifact
        return open_artifact(self._artifact(self._embedder()) if callable(self._artifact) else self._artifact)

    def _live_artifact(self) -> Artifact:
        # Built and traced once: a new graph for each evaluation would grow without end.
        copy, artifact, others = self._live
        devices = self._team.devices if self._team else ()
        ships = getattr(self.model, "shipped_embedder", None)  # a `TripletTrainer` knows, another model is its own
        model = ships() if ships else rebuild_in_float32(self._embedder(), into=copy)
        if model is not copy:
            others = [_copy_on(device, model) for device in devices[1:]]
            artifact = on_devices([model, *others], devices) if others else artifact_of(model)
        for other in others:
            rebuild_in_float32(model, into=other)
        self._live = (model, artifact, others)
        return artifact

    def _embedder(self) -> keras.Model:
        if self.model is None:
            raise ReidError("RetrievalEvaluation has no model: pass it to fit, call set_model, or give artifact=PATH.")
        return getattr(self.model, "embedder", self.model)


def _copy_on(device: str, model: keras.Model) -> keras.Model:
    with tf.device(device):
        return rebuild_in_float32(model)


def _logs(result: RetrievalResult) -> dict[str, float]:
    scores = result.to_dict()
    names = ("mean_average_precision", "mean_average_precision_trapezoid", "top1", "top5", "top10")
    return {f"val_{name}": scores[name] for name in names}
