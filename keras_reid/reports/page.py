"""Page: one HTML file that shows what a network does, opens without a network, and takes corrections of labels.

Its content is gathered into plain values first; the template shows them and computes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import jinja2
import pandas as pd

from keras_reid import __version__
from keras_reid.evaluation import breakdown
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.report import Report
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.tables import SCORE_ROWS, shown_name
from keras_reid.evaluation.uncertainty import DRAWS, confidence_intervals
from keras_reid.files import whole_or_not_at_all
from keras_reid.reports.photos import Photos
from keras_reid.reports.queries import QUERIES, Block, blocks
from keras_reid.reports.words import counted, percent, verdict

LARGEST = 9_500_000  # bytes of a page


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of the run that a network comes from.

    Attributes:
        baselines: name -> scores on the same query and gallery.
        metrics: a row an epoch, as `metrics.csv`; None where there is none.
        card: the content of `run_card.json`; empty where there is none.
    """

    baselines: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
    metrics: pd.DataFrame | None = None
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts; the first cell of a row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Page:
    """All that a page shows."""

    title: str
    source: str
    key: str  # under which the browser keeps corrections
    verdict: list[str]
    counted: list[str]
    scores: Table
    has_cameras: bool
    blocks: tuple[Block, ...]
    version: str = __version__

    def cut(self, count: int) -> Page:
        """Returns the page with at most so many queries in each block."""
        return dataclasses.replace(self, blocks=tuple(block.cut(count) for block in self.blocks))


def write_page(
    path: str | os.PathLike,
    embedded: Embedded,
    report: Report,
    *,
    title: str,
    source: str,
    record: Record | None = None,
    seed: int = 0,
) -> None:
    """Writes the page of one dataset, whole or not at all.

    Args:
        path: of the HTML file.
        embedded: query and gallery, as they were scored.
        report: of these embeddings.
        title: what was scored, such as the dataset.
        source: what scored it, such as the artifact's path.
        record: of the run.
        seed: of all samples on the page.

    Raises:
        OSError: the file cannot be written.
    """
    page = gather(embedded, report, title=title, source=source, record=record or Record(), seed=seed)
    text = _fitting(page).encode("utf-8", "backslashreplace")
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(text)


def gather(embedded: Embedded, report: Report, *, title: str, source: str, record: Record, seed: int) -> Page:
    """Returns what the page shows."""
    result, rules = report.before_reranking or report.result, _rules(report)
    draws = report.rules.get("bootstrap", DRAWS)
    intervals = confidence_intervals(result, seed=seed)
    photos = Photos(embedded)
    return Page(
        title=title,
        source=source,
        key=_key(embedded, title, source),
        verdict=verdict(result, intervals, record.baselines),
        counted=counted(report, result, draws),
        scores=_scores(report, result, intervals, record.baselines),
        has_cameras=photos.has_cameras,
        blocks=blocks(embedded, result, report.per_query["query"], photos, seed=seed, **rules),
    )


def _fitting(page: Page) -> str:
    """Returns the text of the page; queries are left out where it would be too large."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_reid.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "shown": shown_name}
    template, count, text = environment.get_template("report.html.j2"), QUERIES, ""
    while count:
        text = template.render(page=page.cut(count))
        if len(text) <= LARGEST:
            break
        count //= 2
    return text


def _rules(report: Report) -> dict[str, str]:
    return {name: report.rules[name] for name in ("ignore", "missing_cameras")}
