"""Parity of an export with the reference model: cosine similarities and scores, side by side."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.data.catalog import DISTRACTOR_ID, JUNK_ID
from keras_reid.errors import ReidError
from keras_reid.evaluation import Score, confidence_intervals
from keras_reid.files import write_text

REPORT = "parity.json"
_ROUNDING = 1e-5  # of float32, where min_cosine is 1
MINIMUM_IMAGES = 1000  # that a report is made over, or all there are


def parity_of(reference: Score, shipped: Score) -> dict:
    """Compares what was exported with the reference model on the images of the catalog that both were scored on.

    Returns:
        images; worst_cosine, first_percentile_cosine, mean_cosine; worst_relative_difference and
        last_percentile_relative_difference, of embeddings to their lengths, which the metric "euclidean" sees and a
        cosine does not; mean_average_precision and top1 with their change (shipped - reference), images_per_second,
        the whole of both scores, and the 95 % intervals of the artifact's.
    """
    sides = ((score.embedded.query_embeddings, score.embedded.gallery_embeddings) for score in (reference, shipped))
    expected, actual = (np.concatenate(both).astype(np.float64) for both in sides)
    cosines = row_cosines(expected, actual)
    lengths = np.linalg.norm(expected, axis=1)
    differences = np.linalg.norm(actual - expected, axis=1) / np.where(lengths > 0, lengths, 1)
    before, after = reference.result.to_dict(), shipped.result.to_dict()
    return {
        "images": len(cosines),
        "worst_cosine": float(cosines.min()),
        "first_percentile_cosine": float(np.percentile(cosines, 1)),
        "mean_cosine": float(cosines.mean()),
        "worst_relative_difference": float(differences.max()),
        "last_percentile_relative_difference": float(np.percentile(differences, 99)),
        **{name: after[name] for name in ("mean_average_precision", "top1")},
        **{f"{name}_change": after[name] - before[name] for name in ("mean_average_precision", "top1")},
        "images_per_second": shipped.images_per_second,
        "live_images_per_second": reference.images_per_second,
        "scores": after,
        "live_scores": before,
        "intervals": confidence_intervals(shipped.result),
    }


def row_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the cosine similarity of two arrays row by row, `[N]` for `[N, D]`.

    It is 1 for two rows of zeros, and -1 for a row that is not finite.
    """
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    cosines = np.where(lengths > 0, cosines, np.where((first == second).all(axis=1), 1.0, 0.0))
    return np.where(np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1), cosines, -1.0)


def shortfall(name: str, parity: Mapping, *, min_cosine: float | None, max_map_drop: float) -> str | None:
    """Returns how a format falls short of the reference model; None where it does not.

    Where embeddings are compared by Euclidean distance their lengths count, too: a threshold lies on their scale. They
    may differ by as much as two of one length and the least cosine do, sqrt(2 - 2 cosine) of it. `min_cosine` is None
    for that of the format, `max_map_drop` is in points.
    """
    limit = FORMATS[name].min_cosine if min_cosine is None else min_cosine
    percentile = FORMATS[name].judged_by_first_percentile
    key = "first_percentile_cosine" if percentile else "worst_cosine"
    if parity[key] < limit:
        return f"the {key.replace('_', ' ')} to the reference model is {parity[key]:.6f}, below min_cosine={limit:g}"
    difference = parity[f"{'last_percentile' if percentile else 'worst'}_relative_difference"]
    if parity["scores"]["metric"] == "euclidean" and difference > math.sqrt(2 - 2 * limit) + _ROUNDING:
        return (
            f"embeddings differ from the reference model's by {difference:.2%} of their length, more than "
            f"{math.sqrt(2 - 2 * limit):.2%}, which min_cosine={limit:g} stands for"
        )
    drop = -100 * parity["mean_average_precision_change"]
    if drop > max_map_drop:
        return f"mAP falls by {drop:.2f} points, more than max_map_drop={max_map_drop:g}"
    return None


def parity_table(reference: Score, parities: Mapping[str, Mapping]) -> str:
    """Returns a table with a column for the reference model and one for each format."""
    scores = reference.result.to_dict()
    columns = {
        "reference": {
            "mAP %": f"{100 * scores['mean_average_precision']:.2f}",
            "top-1 %": f"{100 * scores['top1']:.2f}",
            "images/s": _rate(reference.images_per_second),
        }
    }
    for name, parity in parities.items():
        columns[name] = {
            "worst cosine": f"{parity['worst_cosine']:.6f}",
            "1st percentile": f"{parity['first_percentile_cosine']:.6f}",
            "mean cosine": f"{parity['mean_cosine']:.6f}",
            "worst difference %": f"{100 * parity['worst_relative_difference']:.3f}",
            "mAP %": f"{100 * parity['mean_average_precision']:.2f}",
            "mAP change": f"{100 * parity['mean_average_precision_change']:+.2f}",
            "top-1 %": f"{100 * parity['top1']:.2f}",
            "top-1 change": f"{100 * parity['top1_change']:+.2f}",
            "MB": f"{parity['megabytes']:.1f}",
            "images/s": _rate(parity["images_per_second"]),
        }
    last = columns[next(reversed(columns))]
    return pd.DataFrame(columns).reindex(list(last)).fillna("").to_string()


def record_parity(directory: Path, parities: Mapping[str, Mapping]) -> None:
    """Adds to the report of an export folder, under the path of each artifact; forgets what is no longer there."""
    path, held = directory / REPORT, {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        held = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(held, dict):  # damaged: what it held of other artifacts is lost already
        held = {}
    held = {name: parity for name, parity in held.items() if (directory / name).exists()}
    write_text(path, json.dumps({**held, **parities}, indent=2) + "\n")


def some_people(catalog: pd.DataFrame, images: int, *, seed: int = 0) -> pd.DataFrame:
    """Returns a catalog whose query and gallery hold at least so many images: all those of fewer identities.

    Distractors and junk are left out; other splits stay as they are.

    Raises:
        ReidError: fewer than `MINIMUM_IMAGES` are wanted.
    """
    if images < MINIMUM_IMAGES:
        raise ReidError(f"parity_images={images}, expected at least {MINIMUM_IMAGES}, or 0 for all images.")
    scored = catalog.split.isin(["query", "gallery"])
    counts = catalog[scored & (catalog.person_id > DISTRACTOR_ID)].person_id.value_counts(sort=False)
    counts = counts.sort_index().sample(frac=1, random_state=seed)
    chosen = counts.index[: int((counts.cumsum() < images).sum()) + 1]
    return catalog[~scored | catalog.person_id.isin(chosen)]


def scored_images(catalog: pd.DataFrame) -> int:
    """Returns how many images an evaluation embeds."""
    return int((catalog.split.isin(["query", "gallery"]) & (catalog.person_id != JUNK_ID)).sum())


def _rate(images_per_second: float | None) -> str:
    return "-" if images_per_second is None else f"{images_per_second:.1f}"
