"""Curves of a run as one picture, `curves.png`."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from keras_reid.files import whole_or_not_at_all
from keras_reid.reports.plots import BLUE, GREEN, PURPLE, VERMILION
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_folder import RunFolder

_MARKED = 30  # up to so many points of a curve each is marked: a single one would not show
_WIDE = 20  # above this ratio of largest to smallest number an axis is logarithmic
_LOSSES = {
    "loss": ("loss", BLUE, "-"),
    "metric_loss": ("of pairs alone", GREEN, "--"),
    "identity_loss": ("identity", VERMILION, "--"),
    "center_loss": ("center", PURPLE, "--"),
}
_DISTANCES = {
    "hardest_positive_distance": ("hardest positive", VERMILION, "-"),
    "positive_distance": ("mean positive", VERMILION, ":"),
    "hardest_negative_distance": ("hardest negative", BLUE, "-"),
    "negative_distance": ("mean negative", BLUE, ":"),
}
_SCORES = {"val_mean_average_precision": ("mAP", BLUE, "-"), "val_top1": ("top-1", VERMILION, "-")}
_SHARES = {
    "active_triplets": ("triplets that are active", BLUE, "-"),
    "identity_accuracy": ("training people recognized", GREEN, "-"),
}


def draw_curves(run: RunFolder) -> None:
    """Writes `curves.png` from `metrics.csv` and `times.csv`; nothing before the first epoch."""
    log = EpochLog(run)
    metrics, times = log.metrics(), log.times()
    if not len(metrics):
        return
    with matplotlib.rc_context({"axes.grid": True, "grid.alpha": 0.3, "font.size": 10, "axes.titlesize": 11}):
        figure = Figure(figsize=(11, 11), layout="constrained")
        panels = figure.subplots(4, 2, sharex=True)
        name = run.path.absolute().name
        figure.suptitle(f"{name}, after epoch {metrics.epoch.iloc[-1]}", parse_math=False)  # $ is a character
        (loss, scores), (distances, shares), (norm, rate), (speed, waiting) = panels
        _paint(loss, metrics, _LOSSES, "loss, mean of the epoch", may_be_logarithmic=True)
        _paint(scores, metrics, _SCORES, "scores on query and gallery, %", percent=True)
        _paint(distances, metrics, _DISTANCES, "distances in a batch")
        _paint(shares, metrics, _SHARES, "shares in training, %", percent=True)
        _paint(norm, metrics, {"embedding_norm": ("", BLUE, "-")}, "norm of the embeddings")
        _paint(rate, metrics, {"learning_rate": ("", BLUE, "-")}, "learning rate", may_be_logarithmic=True)
        _paint(speed, times, {"images_per_second": ("", BLUE, "-")}, "training images per second")
        _paint(waiting, times, {"waiting_share": ("", BLUE, "-")}, "time waiting for input, %", percent=True)
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        with whole_or_not_at_all(run.curves) as temporary:
            figure.savefig(temporary, dpi=100)


def _paint(
    axes: Axes,
    rows: pd.DataFrame,
    lines: Mapping[str, tuple[str, str, str]],
    title: str,
    *,
    percent: bool = False,
    may_be_logarithmic: bool = False,
) -> None:
    """Paints columns by epoch; `lines` gives label, color and style of each, columns that are missing are left out."""
    axes.set_title(title, loc="left")
    shown = {name: rows[["epoch", name]].dropna() for name in lines if name in rows and rows[name].notna().any()}
    for name, points in shown.items():
        label, color, style = lines[name]
        marker = {"marker": "o", "markersize": 4} if len(points) <= _MARKED else {}
        marker |= {"markerfacecolor": "white"} if marker and style != "-" else {}
        values = 100 * points[name] if percent else points[name]
        axes.plot(points.epoch, values, color=color, linestyle=style, label=label or None, **marker)
    if not shown:
        axes.text(0.5, 0.5, "nothing yet", transform=axes.transAxes, ha="center", color="gray")
        return
    numbers = pd.concat([points[name] for name, points in shown.items()])
    if may_be_logarithmic and numbers.min() > 0 and numbers.max() > _WIDE * numbers.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if numbers.max() < 100 * numbers.min() else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=min(0, numbers.min()), top=102 if percent else 1.06 * numbers.max() or 1)
    axes.yaxis.set_major_formatter("{x:g}")
    if len(shown) > 1 or any(lines[name][0] not in title for name in shown):
        axes.legend(fontsize=8, framealpha=0.7)
