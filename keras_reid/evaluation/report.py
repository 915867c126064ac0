"""Report of one dataset: the scores that `evaluate` shows and writes, and the results behind them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data.ids import names_of
from keras_reid.evaluation.open_set import OpenSetResult
from keras_reid.evaluation.reassociation import ReassociationResult
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.single_shot import SingleShotResult
from keras_reid.evaluation.verification import VerificationResult


@dataclasses.dataclass
class Report:
    """Everything that was asked for about one dataset.

    Attributes:
        result: the scores; after re-ranking where that was asked for.
        per_query: of `per_query`.
        rules: how it was scored, by name.
        intervals: 95 % intervals of the scores, as `confidence_intervals` returns them; empty where not asked for.
        before_reranking: the scores before re-ranking; None without it.
        single_gallery_shot: the scores of that protocol; None without it.
        open_set: the same.
        reassociation: the same.
        verification: genuine and impostor pairs; None where they are not counted.
        camera_pairs: columns of what `camera_pairs` returns; None where not asked for.
        identities: columns of what `identities` returns; None where not asked for.
        against: how another run differs, by score; None where none was given.
        calibration: what was written into the artifact; None where nothing was.
    """

    result: RetrievalResult
    per_query: dict[str, list]
    rules: dict[str, Any]
    intervals: dict[str, tuple] = dataclasses.field(default_factory=dict)
    before_reranking: RetrievalResult | None = None
    single_gallery_shot: SingleShotResult | None = None
    open_set: OpenSetResult | None = None
    reassociation: ReassociationResult | None = None
    verification: VerificationResult | None = None
    camera_pairs: dict[str, list] | None = None
    identities: dict[str, list] | None = None
    against: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None

    @property
    def skipped(self) -> list[str]:
        """The names of the queries without a match."""
        return [self.per_query["query"][row] for row in self.result.skipped_queries]

    def other_scores(self) -> dict[str, Mapping]:
        """Returns the scores to show before `result`: what they are -> their numbers."""
        others = {"before re-ranking": self.before_reranking, "single gallery shot": self.single_gallery_shot}
        return {name: scores.to_dict() for name, scores in others.items() if scores}

    def to_dict(self) -> dict[str, Any]:
        """Returns the report in plain Python types that `json.dump` accepts: None for what is not a number."""
        content = self.result.to_dict()
        for name in ("before_reranking", "single_gallery_shot", "open_set", "reassociation"):
            if getattr(self, name):
                content[name] = getattr(self, name).to_dict()
        content["verification"] = self.verification and self.verification.to_dict()
        content |= {"rules": self.rules, "intervals": self.intervals, "per_query": self.per_query}
        content["skipped_query_names"] = self.skipped
        for name in ("camera_pairs", "identities", "against", "calibration"):
            if getattr(self, name) is not None:
                content[name] = getattr(self, name)
        return _plain(content)


def per_query(frame: pd.DataFrame, result: RetrievalResult) -> dict[str, list]:
    """Returns the scores of each query, a row of `frame`, and what names it: its file, or its number."""
    rows = {"query": _query_names(frame), "person_id": names_of(frame, "person_id")}
    if "camera_id" in frame:
        rows["camera_id"] = names_of(frame, "camera_id")
    rows |= {"average_precision": result.average_precision, "first_match_rank": result.first_match_rank}
    return {name: _plain(values) for name, values in rows.items()}


def _query_names(frame: pd.DataFrame) -> list[str]:
    """Returns what names each query in every run: its file, without the folders where that is enough, or its row."""
    if "image_path" not in frame or frame.image_path.isna().any():
        return [str(row) for row in range(len(frame))]
    paths = [str(path) for path in frame.image_path]
    files = [os.path.basename(path) for path in paths]
    return files if len(set(files)) == len(files) else paths


def _plain(value: Any) -> Any:
    """Returns numbers of NumPy and pandas, gaps included, as what `json.dump` accepts: None for a gap."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray, pd.Series)):
        return [_plain(item) for item in value]
    if value is None or value is pd.NA or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value
