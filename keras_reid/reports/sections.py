"""Sections of a page that are tables and plots: scores, curves, pairs of cameras, identities, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from keras_reid.data.ids import names_of
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.report import Report
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.tables import SCORE_ROWS, shown_name
from keras_reid.evaluation.verification import VerificationResult
from keras_reid.reports.photos import QUERY, Photo, Photos
from keras_reid.reports.plots import BLUE, paint_cmc, paint_distances, paint_roc, paint_training, painted, svg

_PLOT_SIZE = (4.8, 3.8)  # inches: letters are readable where three plots stand side by side, and on a phone
_CAMERAS, _WORST = 24, 10  # in the matrix each way; identities


class Table(NamedTuple):
    """A table of texts; the first cell of a row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Plot(NamedTuple):
    """A picture as an `<svg>` element, and what to know of it."""

    svg: str
    caption: str


class Cell(NamedTuple):
    """The score of a pair of cameras; None where no query of the one has a match by the other."""

    share: float | None
    queries: int


class Matrix(NamedTuple):
    """Pairs of cameras: for each camera of queries a cell for each camera of the gallery."""

    how: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]


class Identity(NamedTuple):
    """Scores of an identity, and one of its queries."""

    photo: Photo
    queries: int
    score: float
    top1: float


def scores_table(
    report: Report, result: RetrievalResult, intervals: Mapping[str, tuple], baselines: Mapping[str, Mapping]
) -> Table:
    """Returns all scores beside those of the baselines, and after re-ranking or in a single shot where asked for."""
    columns = {shown_name(name): scores for name, scores in baselines.items()}
    columns["this network"] = result.to_dict()
    if report.before_reranking:
        columns["re-ranked"] = report.result.to_dict()
    if report.single_gallery_shot:
        columns["single gallery shot"] = report.single_gallery_shot.to_dict()

    def cell(name: str, key: str) -> str:
        if key not in columns[name]:
            return ""
        text = f"{100 * columns[name][key]:.2f}"
        low, high = intervals.get(key, (None, None)) if name == "this network" else (None, None)
        return text if low is None else f"{text} ({100 * low:.2f} to {100 * high:.2f})"

    rows = [(row, *(cell(name, key) for name in columns)) for row, key in SCORE_ROWS.items()]
    return Table("Scores" + (", in parentheses 95 % intervals" if intervals else ""), ("score", *columns), rows)


def verification_table(verification: VerificationResult) -> Table:
    """Returns what share of the genuine pairs is accepted at given shares of the impostor pairs."""
    found = verification.to_dict()
    rows = [("equal error", f"{found['equal_error_threshold']:.4g}", *2 * [f"{100 * found['equal_error_rate']:.2f} %"])]
    for rate, point in found["at_false_positive_rate"].items():
        if point is None:
            rows.append((f"false positive rate {rate}", "–", "–", "too few pairs, or too many at distance 0"))
        else:
            rates = point["false_positive_rate"], 1 - point["true_positive_rate"]
            shares = f"{100 * rates[0]:.3g} %", f"{100 * rates[1]:.2f} %"
            rows.append((f"false positive rate {rate}", f"{point['threshold']:.4g}", *shares))
    columns = ("operating point", "threshold", "impostor pairs accepted", "genuine pairs refused")
    return Table("Pairs at some thresholds", columns, rows)


def curves(
    result: RetrievalResult,
    intervals: Mapping[str, tuple],
    verification: VerificationResult | None,
    threshold: float | None,
) -> list[Plot]:
    """Returns CMC and, where pairs were counted, ROC and distances."""
    ranks = {rank: f"{100 * share:.1f} % at rank {rank}" for rank, share in enumerate(result.cmc, 1)}
    said = ", ".join(ranks[rank] for rank in (1, 5, 10, 20, 50) if rank in ranks)
    plots = [
        _plot(
            lambda axes: paint_cmc(axes, result, intervals=intervals or None),
            "CMC: share of queries with a right image among the first ranks",
            f"{said}. The band is the 95 % interval.",
        )
    ]
    if verification:
        error = f"Equal error rate {100 * verification.equal_error_rate:.2f} %."
        plots += [
            _plot(
                lambda axes: paint_roc(axes, verification, threshold=threshold),
                "ROC: genuine pairs accepted against impostor pairs accepted",
                error,
            ),
            _plot(
                lambda axes: paint_distances(axes, verification, threshold=threshold),
                "Distances of genuine and impostor pairs",
                "The less the two overlap, the better a threshold tells people apart.",
            ),
        ]
    return plots


def training_plots(metrics: pd.DataFrame | None, baselines: Mapping[str, Mapping]) -> list[Plot]:
    """Returns the scores by epoch, with the baselines as lines, and the loss; nothing where no epoch was scored."""
    if metrics is None or "val_mean_average_precision" not in metrics:
        return []
    named = {shown_name(name): scores for name, scores in baselines.items()}
    scored = metrics[["epoch", "val_mean_average_precision"]].dropna()
    said = ", ".join(f"epoch {epoch:.0f}: {100 * score:.1f} %" for epoch, score in scored.tail(5).to_numpy())
    scores = _plot(lambda axes: paint_training(axes, metrics, named), "Scores in training", f"mAP, {said}.")
    said = ", ".join(f"epoch {row.epoch:.0f}: {row.loss:.3g}" for row in metrics.tail(5).itertuples())
    return [scores, _plot(lambda axes: _paint_loss(axes, metrics), "Loss in training", f"Mean of an epoch, {said}.")]


def _paint_loss(axes: Axes, metrics: pd.DataFrame) -> None:
    axes.plot(metrics.epoch, metrics.loss, color=BLUE, marker="o", markersize=3)
    axes.set(xlabel="epoch", ylabel="loss", title="Loss in training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def data_table(card: Mapping[str, Any]) -> Table | None:
    """Returns what the run card says about the images; None without a card."""
    if not card:
        return None
    rows = [
        (name, *(f"{split[key]:,}" for key in ("images", "people", "cameras")), split["sha256"][:16])
        for name, split in card["data"][-1]["splits"].items()
    ]
    return Table("Data", ("split", "images", "identities", "cameras", "SHA-256 begins"), rows)


def _plot(paint: Callable[[Axes], None], title: str, said: str) -> Plot:
    figure = painted(paint, _PLOT_SIZE)
    return Plot(svg(figure, title, said), f"{title}. {said}")


def camera_matrix(pairs: Mapping[str, Any]) -> Matrix | None:
    """Returns mAP by pairs of cameras, from the columns of `breakdown.camera_pairs`; None where no pair has a match."""
    frame = pd.DataFrame(pairs)
    if not len(frame):
        return None
    counts = {side: frame.groupby(side).queries.sum().nlargest(_CAMERAS) for side in ("query_camera", "gallery_camera")}
    queries, gallery = (sorted(one.index) for one in counts.values())
    cells = {
        (row.query_camera, row.gallery_camera): Cell(row.mean_average_precision, row.queries)
        for row in frame.itertuples()
    }
    more = max(frame.query_camera.nunique(), frame.gallery_camera.nunique())
    how = "queries down, gallery across; a stronger tint is better"
    if more > _CAMERAS:
        how += f"; of {more:,} cameras the {_CAMERAS} with the most queries"
    rows = {str(one): [cells.get((one, other), Cell(None, 0)) for other in gallery] for one in queries}
    return Matrix(how, [str(one) for one in gallery], rows)


def worst_identities(embedded: Embedded, identities: pd.DataFrame, photos: Photos) -> list[Identity]:
    """Returns the identities found worst, the first rows of what `breakdown.identities` returns."""
    queries = list(enumerate(names_of(embedded.query, "person_id")))
    first, worst = {person: row for row, person in reversed(queries)}, identities.head(_WORST)
    found = photos.of((QUERY, first[person]) for person in worst.person_id)
    return [
        Identity(found[QUERY, first[row.person_id]], row.queries, row.mean_average_precision, row.top1)
        for row in worst.itertuples()
    ]
