"""Plots: CMC, ROC, distances of pairs, pairs of cameras, training; as PNG files, and as SVG inside a page."""

from __future__ import annotations

import hashlib
import html
import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keras_reid.data.checks.lettering import Lettering, fitted
from keras_reid.evaluation.report import Report
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.tables import shown_name
from keras_reid.evaluation.uncertainty import cmc_intervals, confidence_intervals
from keras_reid.evaluation.verification import VerificationResult
from keras_reid.files import whole_or_not_at_all

# Colors of Okabe and Ito, which color-blind people can tell apart, on white and on black.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK = "#1f2328"  # of texts and axes; inside a page they have the color of its text
DPI = 200
_PAGE_SIZE = (5.4, 3.7)  # inches: a phone shows an SVG in its own size
_LETTERS = 32  # of a dataset's name
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.2,
    "image.composite_image": False,  # photos of a sheet in SVG keep their pixels
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",  # texts stay texts
    **dict.fromkeys(_INKED, INK),
}
_FEWEST_BINS, _MOST_BINS = 5, 100
_WRITTEN_CELLS = 12  # cameras, up to which each cell of their matrix says its number
_NAMED_CAMERAS = 40


def draw(folder: str | os.PathLike, report: Report, *, dataset: str = "", threshold: float | None = None) -> list[Path]:
    """Writes what a report holds as PNG files into a folder: cmc, roc, distances, camera_pairs.

    Args:
        folder: made if it is not there.
        report: without a verification there are no roc.png and distances.png, without pairs of cameras none of them.
        dataset: its name, for the titles.
        threshold: the largest distance of two images of one person, where it is calibrated.

    Returns:
        The paths.
    """
    verification, pairs, options = report.verification, report.camera_pairs, {"dataset": dataset}
    painters = {"cmc": lambda axes: paint_cmc(axes, report.result, intervals=report.intervals, **options)}
    if verification:
        painters["roc"] = lambda axes: paint_roc(axes, verification, threshold=threshold, **options)
        painters["distances"] = lambda axes: paint_distances(axes, verification, threshold=threshold, **options)
    if pairs:
        painters["camera_pairs"] = lambda axes: paint_camera_pairs(axes, pairs, **options)
    paths = [Path(folder, f"{name}.png") for name in painters]
    for path, paint in zip(paths, painters.values()):
        save(painted(paint), path)
    return paths


def painted(paint: Callable[[Axes], None], size: tuple[float, float] = _PAGE_SIZE) -> Figure:
    """Returns a figure of a (width, height) in inches with one plot on it, in the style of this package."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots())
        return figure


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure, whole or not at all, in the format that the path ends in."""
    for image in (image for axes in figure.axes for image in axes.images):
        image.set_interpolation("none" if Path(path).suffix == ".svg" else "auto")  # an SVG holds photos as they are
    with matplotlib.rc_context(STYLE), whole_or_not_at_all(path) as temporary:  # ticks are made when they are drawn
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight", pad_inches=0.1)  # nothing is cut off


def png(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Returns a figure as the content of a PNG file."""
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def svg(figure: Figure, title: str, description: str = "") -> str:
    """Returns a figure as an `<svg>` element for a page, whose texts and axes have the color of the page's text.

    Args:
        figure: of `painted`.
        title: what a screen reader says, and what tells the ids of this picture from those of others on the page.
        description: more of it, such as the numbers.
    """
    salt, file = hashlib.sha256(f"{title}\n{description}".encode()).hexdigest()[:12], io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)  # of the page
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{salt}-{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(url\(|href=")#', rf"\g<1>#{salt}-", body)
    body = re.sub(r'font: (?:[a-z]+ )*([\d.]+px) [^;"]*', r"font-size: \1", body)  # the page's own font
    body = re.sub(r' *font-family: [^;"]*;?', "", body).replace(INK, "currentColor")
    width, height = (72 * inches for inches in figure.get_size_inches())
    about = f"<title>{html.escape(title)}</title>" + (f"<desc>{html.escape(description)}</desc>" if description else "")
    view = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view}>{about}{body}'


def paint_cmc(
    axes: Axes, result: RetrievalResult, *, dataset: str = "", intervals: Mapping[str, tuple] | None = None
) -> None:
    """Paints the CMC with its 95 % interval; the title says mAP and top-1 with theirs.

    Args:
        axes: to paint on.
        result: of an evaluation.
        dataset: its name, for the title.
        intervals: of `confidence_intervals`, which is asked where they are not given.
    """
    ranks, scored = np.arange(1, len(result.cmc) + 1), result.queries - len(result.skipped_queries)
    intervals = intervals or confidence_intervals(result)
    low, high = cmc_intervals(result)
    axes.fill_between(ranks, 100 * low, 100 * high, color=BLUE, alpha=0.25, linewidth=0, label="95 % interval")
    axes.plot(ranks, 100 * result.cmc, color=BLUE, marker="o", markersize=3, label="CMC")
    axes.set(xlabel="rank", ylabel="queries with a match up to there, %")
    axes.set_ylim(max(0, 100 * low.min() - 4), 101)
    ticks = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(1, len(ranks))
    axes.set_xticks(np.unique(np.clip(ticks, 1, len(ranks))))
    scores = {"mAP": ("mean_average_precision", result.mean_average_precision), "top-1": ("top1", result.top1)}
    texts = []
    for label, (name, value) in scores.items():
        ends = [f"{100 * end:.1f}" for end in intervals[name]]
        texts.append(f"{label} {100 * value:.1f} %" + (f" [{', '.join(ends)}]" if scored > 1 else ""))
    what = "CMC, re-ranked," if "re-ranked" in result.metric else "CMC"
    _title(axes, f"{what} of {_count(scored, 'query', 'queries')}", dataset, ", ".join(texts))
    _legend(axes)


def paint_roc(
    axes: Axes, verification: VerificationResult, *, dataset: str = "", threshold: float | None = None
) -> None:
    """Paints the ROC curve, with the equal error point and, where it is calibrated, the threshold."""
    smallest = 0.5 / verification.impostor_pairs  # where 0 stands, which has no place on the axis
    false, true = verification.false_positive_rate, verification.true_positive_rate
    wanted = np.concatenate([[0.0], np.geomspace(2 * smallest, 1, 300)])
    steps = np.unique(np.searchsorted(false, wanted, side="right") - 1)
    steps = steps[steps >= 0]
    axes.plot(100 * np.maximum(false[steps], smallest), 100 * true[steps], color=BLUE, drawstyle="steps-post")
    error, marks = verification.equal_error_rate, [(verification.equal_error(), "D", GREEN)]
    labels = [f"equal error rate {_percent(error)}"]
    if threshold is not None:
        point = verification.at(threshold)
        marks.append((point, "o", VERMILION))
        accepted = f"{_percent(point.false_positive_rate)} of impostor, {_percent(point.true_positive_rate)} of genuine"
        labels.append(f"threshold {threshold:.4g}: accepts {accepted} pairs")
    for (point, marker, color), label in zip(marks, labels):
        place = 100 * max(point.false_positive_rate, smallest), 100 * point.true_positive_rate
        axes.plot(*place, marker, color=color, markersize=7, clip_on=False, label=label, zorder=3)
    axes.set_xscale("log")
    axes.set(xlim=(100 * smallest, 100), ylim=(-1, 101))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="impostor pairs accepted, % (0 stands at the left edge)", ylabel="genuine pairs accepted, %")
    _title(axes, "ROC", dataset, _pairs(verification))
    _legend(axes, columns=1)


def paint_distances(
    axes: Axes, verification: VerificationResult, *, dataset: str = "", threshold: float | None = None
) -> None:
    """Paints how the distances of genuine and of impostor pairs are spread, each in percent of its own number."""
    sides = {
        f"genuine pairs ({verification.genuine_pairs:,})": (verification.true_positive_rate, BLUE),
        f"impostor pairs ({verification.impostor_pairs:,})": (verification.false_positive_rate, VERMILION),
    }
    edges = bin_edges(verification)
    at = np.searchsorted(verification.thresholds, edges[1:-1], side="right") - 1
    for label, (rate, color) in sides.items():
        shares = np.diff(np.concatenate([[0.0], np.where(at >= 0, rate[at], 0), [1.0]]))
        axes.stairs(100 * shares, edges, fill=True, alpha=0.5, color=color, label=label)
        axes.stairs(100 * shares, edges, color=color, linewidth=1)
    lines = {f"equal error rate {_percent(verification.equal_error_rate)}": (verification.equal_error().threshold, ":")}
    if threshold is not None:
        lines[f"threshold {threshold:.4g}"] = threshold, "--"
    span = edges[-1] - edges[0]
    for label, (distance, style) in lines.items():
        if edges[0] - span <= distance <= edges[-1] + span:
            axes.axvline(distance, color=INK, linewidth=1.2, linestyle=style, label=label)
        else:
            axes.plot([], [], " ", label=f"{label}, far outside")
    axes.set(xlabel=f"{verification.metric} distance", ylabel="pairs of each kind, %")
    _title(axes, "Distances of pairs", dataset, f"{len(edges) - 1} bins")
    _legend(axes)


def bin_edges(verification: VerificationResult) -> np.ndarray:
    """Returns the edges of bins for the distances of pairs, as many as the rarer kind of pair fills (Rice's rule)."""
    rates = verification.true_positive_rate, verification.false_positive_rate
    fewest = min(verification.genuine_pairs, verification.impostor_pairs)
    bins = int(np.clip(np.ceil(2 * fewest ** (1 / 3)), _FEWEST_BINS, _MOST_BINS))
    low = verification.thresholds[min(np.searchsorted(rate, 0, side="right") for rate in rates)]
    high = verification.thresholds[max(np.searchsorted(rate, rate[-1]) for rate in rates)]
    if high - low <= 1e-6 * high:  # all at one distance
        low, high = 0.9 * low, 1.1 * high
    return np.linspace(low, high, bins + 1)


def paint_camera_pairs(axes: Axes, pairs: Mapping[str, list], *, dataset: str = "") -> None:
    """Paints the mAP of each pair of cameras as a matrix, queries down; `pairs` are columns of `camera_pairs`."""
    frame = pd.DataFrame(pairs)
    if not len(frame):
        _title(axes, "mAP by pairs of cameras", dataset, "no pair of cameras has a match")
        axes.set_axis_off()
        return
    table = frame.pivot(index="query_camera", columns="gallery_camera", values="mean_average_precision")
    names, values = [list(map(str, side)) for side in (table.columns, table.index)], 100 * table.to_numpy(float)
    lettering = Lettering([name for side in names for name in side])
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=100)
    for axis, side in zip((axes.xaxis, axes.yaxis), names):
        shown = range(0, len(side), -(-len(side) // _NAMED_CAMERAS))
        labels = [lettering.label(side[place]) for place in shown]
        axis.set_ticks([place + 0.5 for place in shown], labels, **lettering.style)
    axes.tick_params(axis="x", rotation=90 if max(map(len, names[0])) > 3 else 0, length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    axes.invert_yaxis()
    if max(values.shape) <= _WRITTEN_CELLS:
        for (row, column), value in np.ndenumerate(values):
            color = INK if np.isnan(value) else "black" if value > 55 else "white"
            text = "\u2013" if np.isnan(value) else f"{value:.0f}"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=color, fontsize=9)
    axes.figure.colorbar(mesh, ax=axes, label="mAP, %", pad=0.02).outline.set_visible(False)
    axes.set(xlabel="camera of the gallery images", ylabel="camera of the queries")
    _title(axes, "mAP by pairs of cameras", dataset, "")


def paint_training(axes: Axes, metrics: pd.DataFrame, baselines: Mapping[str, Mapping] | None = None) -> None:
    """Paints mAP and top-1 by epoch, with the mAP of the baselines as lines.

    Args:
        axes: to paint on.
        metrics: rows of `metrics.csv`: epoch and, where it was scored, val_mean_average_precision and val_top1.
        baselines: name -> scores, as `evaluation.json` holds them.
    """
    for name, label, color in (("val_mean_average_precision", "mAP", BLUE), ("val_top1", "top-1", VERMILION)):
        scored = metrics[["epoch", name]].dropna() if name in metrics else metrics[:0]
        if len(scored):
            marker = {"marker": "o", "markersize": 3} if len(scored) <= 40 else {}
            axes.plot(scored.epoch, 100 * scored[name], color=color, label=label, **marker)
    for (name, scores), style in zip((baselines or {}).items(), (":", "--", "-.")):
        value = 100 * scores["mean_average_precision"]
        axes.axhline(value, color=INK, linewidth=1, linestyle=style, label=f"{shown_name(name)}: mAP {value:.1f} %")
    axes.set(xlabel="epoch", ylabel="score, %")
    axes.set_ylim(0, 101)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _title(axes, "Scores in training", "", "")
    _legend(axes)


def title_lines(what: str, dataset: str, details: str) -> dict:
    """Returns the arguments of `Axes.set_title`: what is shown of which dataset, and a line of details."""
    lettering = Lettering([dataset])
    lines = [f"{what} on {fitted(lettering.label(dataset), _LETTERS)}" if dataset else what, details]
    return {"label": "\n".join(filter(None, lines)), **lettering.style}


def _title(axes: Axes, what: str, dataset: str, details: str) -> None:
    axes.set_title(**title_lines(what, dataset, details))


def _legend(axes: Axes, columns: int = 2) -> None:
    """Puts the legend below, where it covers nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside lower left", ncols=columns)


def _pairs(verification: VerificationResult) -> str:
    genuine = _count(verification.genuine_pairs, "genuine pair", "genuine pairs")
    return f"{genuine}, {_count(verification.impostor_pairs, 'impostor pair', 'impostor pairs')}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
