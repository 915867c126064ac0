"""Pictures of scores: the CMC curve, the ROC curve, and the distances of genuine and impostor pairs."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.verification import FALSE_POSITIVE_RATES, VerificationResult
from keras_reid.files import whole_or_not_at_all

_ONE, _TWO = "#0072B2", "#D55E00"  # blue and vermilion of Okabe and Ito: apart for color-blind eyes, too
_BINS = 120


def draw(folder: str | os.PathLike, result: RetrievalResult, verification: VerificationResult | None) -> list[Path]:
    """Writes cmc.png and, where there is a verification, roc.png and distances.png into a folder; returns the paths."""
    painters = {"cmc.png": lambda axes: _paint_cmc(axes, result)}
    if verification:
        painters["roc.png"] = lambda axes: _paint_roc(axes, verification)
        painters["distances.png"] = lambda axes: _paint_distances(axes, verification)
    paths = []
    for name, paint in painters.items():
        with matplotlib.rc_context({"axes.grid": True, "grid.alpha": 0.3, "font.size": 11}):
            figure = Figure(figsize=(7, 4.5), layout="constrained")
            paint(figure.subplots())
            paths.append(Path(folder, name))
            with whole_or_not_at_all(paths[-1]) as temporary:
                figure.savefig(temporary, dpi=120)
    return paths


def _paint_cmc(axes: Axes, result: RetrievalResult) -> None:
    ranks = np.arange(1, len(result.cmc) + 1)
    axes.plot(ranks, 100 * result.cmc, color=_ONE, marker="o", markersize=3)
    title = f"CMC: top-1 {result.top1:.1%}, mAP {result.mean_average_precision:.1%}"
    axes.set(title=title, xlabel="rank", ylabel="queries with a match up to there, %")
    axes.set_ylim(top=100.5)


def _paint_roc(axes: Axes, verification: VerificationResult) -> None:
    curve = verification.to_dict()["roc"]
    rates = np.maximum(curve["false_positive_rate"], 1 / verification.impostor_pairs)  # 0 has no place on the axis
    axes.plot(rates, 100 * np.array(curve["true_positive_rate"]), color=_ONE)
    for rate in FALSE_POSITIVE_RATES:
        axes.axvline(rate, color="gray", linewidth=0.8, linestyle=":")
    title = f"ROC: equal error rate {verification.equal_error_rate:.2%}"
    sides = {"xlabel": "impostor pairs called the same", "ylabel": "genuine pairs called the same, %"}
    axes.set(title=title, xscale="log", **sides)


def _paint_distances(axes: Axes, verification: VerificationResult) -> None:
    rates = {
        "genuine pairs": (verification.true_positive_rate, _ONE),
        "impostor pairs": (verification.false_positive_rate, _TWO),
    }
    last = max(np.searchsorted(rate, rate[-1]) for rate, _ in rates.values())
    first = min(np.searchsorted(rate, 0.0005) for rate, _ in rates.values())
    edges = np.linspace(verification.thresholds[first], verification.thresholds[last], _BINS)
    at = np.searchsorted(verification.thresholds, edges).clip(max=len(verification.thresholds) - 1)
    for name, (rate, color) in rates.items():
        axes.stairs(100 * np.diff(rate[at]), edges, fill=True, alpha=0.55, color=color, label=name)
    point = verification.equal_error()
    axes.axvline(point.threshold, color="black", linewidth=1, linestyle="--", label="equal error")
    axes.set(title="distances of pairs", xlabel=f"{verification.metric} distance", ylabel="pairs, %")
    axes.legend()
