"""Score of an artifact on a catalog: its retrieval result, the embeddings behind it, and its speed, as one value."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.artifacts import Artifact
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.embedding import embed_catalog
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.verification import VerificationResult

_LOGGED = ("mean_average_precision", "mean_average_precision_trapezoid", "top1", "top5", "top10")


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """What an artifact scores on a catalog.

    Attributes:
        result: mAP, CMC and the other retrieval scores.
        embedded: the embeddings of query and gallery.
        images_per_second: how fast the artifact embedded, decoding apart; None where nothing was measured.
        rules: `ignore` and `missing_cameras`, as in `evaluate_retrieval`.
    """

    result: RetrievalResult
    embedded: Embedded
    images_per_second: float | None
    rules: dict[str, str]

    def __repr__(self) -> str:
        """Returns one line: the result, and the speed where it was measured."""
        speed = f", {self.images_per_second:.1f} images/s" if self.images_per_second else ""
        return f"Score({self.result!r}{speed})"

    def verify(self) -> VerificationResult:
        """Counts genuine and impostor pairs of the same embeddings by the same rules."""
        return self.embedded.verify(**self.rules)

    def logs(self) -> dict[str, float]:
        """Returns the scores as Keras logs them: `val_mean_average_precision`, `val_top1` and so on, as fractions."""
        scores = self.result.to_dict()
        return {f"val_{name}": scores[name] for name in _LOGGED}


def score(
    artifact: Artifact,
    catalog: pd.DataFrame,
    *,
    ignore: str = "same_camera",
    missing_cameras: str = "refuse",
    batch_size: int = 64,
    test_time_augmentation: str = "none",
    team: Any = None,
) -> Score:
    """Embeds the query and gallery images of a catalog and ranks them by the artifact's own metric.

    Args:
        artifact: embeds the images.
        catalog: holds the splits "query" and "gallery"; junk (id -1) is never embedded.
        ignore: as in `evaluate_retrieval`.
        missing_cameras: as in `evaluate_retrieval`.
        batch_size: images at once on each device.
        test_time_augmentation: as in `Artifact.embed`.
        team: the workers and devices that share the work, `keras_reid.training.strategy.Team`. All workers must call
            this at once; each gets the whole score.

    Raises:
        ReidError: a split is empty, an image cannot be read, or no query has a match.
    """
    batches = []

    def embed_batch(images: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        embeddings = np.asarray(artifact.embed_batch(images))
        batches.append((images.shape, time.perf_counter() - start))
        return embeddings

    batch_size *= max(1, len(team.devices) if team else 1)
    options = {"batch_size": batch_size, "test_time_augmentation": test_time_augmentation, "team": team}
    embedded = embed_catalog(dataclasses.replace(artifact, embed_batch=embed_batch), catalog, **options)
    rules = {"ignore": ignore, "missing_cameras": missing_cameras}
    return Score(embedded.evaluate(**rules), embedded, _images_per_second(batches), rules)


def _images_per_second(batches: list[tuple]) -> float | None:
    """Returns the speed from shape and seconds of each batch: the first of a shape pays for traces and memory."""
    frame = pd.DataFrame(batches, columns=["shape", "seconds"])
    later = frame.duplicated("shape")
    counted = frame[later] if later.any() else frame
    seconds = counted.seconds.sum()
    return float(counted["shape"].str[0].sum() / seconds) if seconds else None
