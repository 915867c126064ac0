"""Page: one HTML file that shows what a network does, opens without a network, and takes corrections of labels.

Its content is gathered into plain values first; the template shows them and computes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from keras_reid import __version__
from keras_reid.artifacts import Artifact
from keras_reid.errors import ReidError
from keras_reid.evaluation import breakdown
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.report import Report
from keras_reid.evaluation.uncertainty import DRAWS, confidence_intervals
from keras_reid.files import whole_or_not_at_all
from keras_reid.reports.html import template
from keras_reid.reports.looks import Looks, looks
from keras_reid.reports.mistakes import Confused, Threshold, at_threshold, confused
from keras_reid.reports.photos import Photos
from keras_reid.reports.places import Places, places
from keras_reid.reports.queries import DEPTH, QUERIES, Block, blocks
from keras_reid.reports.sections import (
    Identity,
    Matrix,
    Plot,
    Table,
    camera_matrix,
    curves,
    data_table,
    scores_table,
    training_plots,
    verification_table,
    worst_identities,
)
from keras_reid.reports.words import counted, verdict

LARGEST = 9_500_000  # bytes of a page
_MOST_CAMERAS = 100


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
class Page:
    """All that a page shows; a section without content is None or empty."""

    title: str
    source: str
    key: str  # under which a browser keeps the corrections
    verdict: Sequence[str]
    counted: Sequence[str]
    scores: Table
    plots: Sequence[Plot]
    verification: Table | None
    cameras: Matrix | None
    no_cameras: str  # why there is no matrix
    threshold: Threshold | None
    confused: Sequence[Confused]
    worst: Sequence[Identity]
    has_cameras: bool
    blocks: Sequence[Block]
    attention: Looks
    about_attention: str
    map: Places | None
    training: Sequence[Plot]
    card: Mapping[str, Any]
    data_table: Table | None  # of the card
    queries: int  # in the dataset
    depth: int = DEPTH
    version: str = __version__

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Sections in their order: key and title."""
        sections = {
            "verdict": ("Verdict", True),
            "curves": ("Curves", self.plots),
            "threshold": ("Same person or not", self.threshold),
            "weak": ("Where it is weak", True),
            "lists": ("Ranked lists", True),
            "map": ("Embedding map", self.map),
            "training": ("Training", self.training or self.card),
        }
        return [(key, title) for key, (title, shown) in sections.items() if shown]

    @property
    def query_cameras(self) -> list[str]:
        """Cameras of the queries that are shown; empty where the dataset has none."""
        shown = {query.photo.camera for block in self.blocks for query in block.queries}
        return sorted(shown, key=lambda name: (len(name), name)) if self.has_cameras else []

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        shown = {query.name for block in self.blocks for query in block.queries}
        points = self.map.points if self.map else []
        crops = [{"at": one.at, "crop": one.photo.crop.uri if one.photo.crop.jpeg else ""} for one in points]
        return {"key": self.key, "queries": self.queries, "shown": len(shown), "points": crops}

    def cut(self, count: int) -> Page:
        """Returns the page with at most so many queries in each block."""
        return dataclasses.replace(self, blocks=[block.cut(count) for block in self.blocks])


def write_page(
    path: str | os.PathLike,
    embedded: Embedded,
    report: Report,
    *,
    title: str,
    source: str,
    artifact: Artifact | None = None,
    threshold: float | None = None,
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
        artifact: that made the embeddings; without it no attention is shown.
        threshold: the largest distance of two images of one person, where it is calibrated for these distances.
        record: of the run that the network comes from.
        seed: of all samples on the page.

    Raises:
        OSError: the file cannot be written.
    """
    options = {"artifact": artifact, "threshold": threshold, "record": record or Record(), "seed": seed}
    page = gather(embedded, report, title=title, source=source, **options)
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(render(page))


def gather(
    embedded: Embedded,
    report: Report,
    *,
    title: str,
    source: str,
    artifact: Artifact | None,
    threshold: float | None,
    record: Record,
    seed: int,
) -> Page:
    """Returns what the page of one dataset shows; arguments as of `write_page`."""
    result = report.before_reranking or report.result  # distances are those before re-ranking
    rules = {name: report.rules[name] for name in ("ignore", "missing_cameras")}
    intervals, photos = confidence_intervals(result, seed=seed), Photos(embedded)
    cameras, no_cameras = _camera_pairs(embedded, report, rules)
    shown = blocks(embedded, result, report.per_query["query"], photos, seed=seed, **rules)
    attention, about_attention = looks(artifact, embedded, shown)
    pairs = report.verification
    return Page(
        title=title,
        source=source,
        key=_key(title, source, photos),
        verdict=verdict(result, intervals, record.baselines),
        counted=counted(report, result, DRAWS),
        scores=scores_table(report, result, intervals, record.baselines),
        plots=curves(result, intervals, pairs, threshold),
        verification=verification_table(pairs) if pairs else None,
        threshold=at_threshold(embedded, pairs, threshold, photos, **rules) if pairs else None,
        confused=confused(embedded, photos, **rules),
        cameras=cameras,
        no_cameras=no_cameras,
        worst=worst_identities(embedded, breakdown.identities(embedded, result), photos),
        has_cameras=photos.has_cameras,
        blocks=shown,
        attention=attention,
        about_attention=about_attention,
        map=places(embedded, photos, seed=seed),
        training=training_plots(record.metrics, record.baselines),
        card=record.card,
        data_table=data_table(record.card),
        queries=result.queries,
    )


def render(page: Page) -> bytes:
    """Returns the page as HTML in UTF-8, with as many queries in each block as keep it below `LARGEST`."""
    html_of, count = template("report.html.j2"), QUERIES
    while True:
        html = html_of.render(page=page.cut(count)).encode("utf-8", "backslashreplace")
        if len(html) <= LARGEST or count == 1:
            return html
        count = max(1, count * 3 // 4)


def _camera_pairs(embedded: Embedded, report: Report, rules: Mapping[str, str]) -> tuple[Matrix | None, str]:
    """Returns the matrix of pairs of cameras, or why there is none."""
    cameras = embedded.gallery.camera_id.nunique() if "camera_id" in embedded.gallery else 0
    if cameras > _MOST_CAMERAS:  # each of them is an evaluation of its own
        return None, f"No table of camera pairs: there are {cameras:,} cameras."
    try:
        known = report.camera_pairs
        matrix = camera_matrix(breakdown.camera_pairs(embedded, **rules) if known is None else known)
    except ReidError as error:
        return None, f"No table of camera pairs: {error}"
    return matrix, "" if matrix else "No table of camera pairs: no pair of cameras has a match."


def _key(title: str, source: str, photos: Photos) -> str:
    """Returns a name that the same network and dataset always have."""
    digest = hashlib.sha256("\n".join([title, source, *photos.paths]).encode("utf-8", "backslashreplace"))
    return f"keras_reid corrections {digest.hexdigest()[:16]}"
