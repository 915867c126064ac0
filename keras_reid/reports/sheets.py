"""Sheets: rows of photos under captions on one page: ranked lists, and what in two photos made them close."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from keras_reid.artifacts import Artifact
from keras_reid.data.checks.lettering import Lettering, fitted
from keras_reid.data.ids import as_names, names_of
from keras_reid.evaluation.blocks import threads
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.ranked import IGNORED, RIGHT, WRONG, Hit, RankedList, choose_queries, ranked_lists
from keras_reid.evaluation.report import Report
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.reports.attention import attention_maps, overlay
from keras_reid.reports.crops import photo
from keras_reid.reports.plots import BLUE, DPI, INK, STYLE, VERMILION, save

# Told apart by mark and line, not by color alone.
_MARKS = {RIGHT: ("\u2713", BLUE, "-"), WRONG: ("\u2717", VERMILION, "--"), IGNORED: ("\u2013", "0.5", ":")}
_LEGEND = "\u2713 right, \u2717 wrong: rank, distance. \u2013 ignored: the query's person, but not counted"
_HEIGHT, _LINE, _GAP = 1.28, 0.125, 0.14  # inches: of a photo, of a line of text, between photos
_FONT, _LETTER = 7, 0.058  # points, and inches of a letter
_TITLE_LINE, _TITLE_LETTER = 0.16, 0.07  # inches
_NARROWEST, _WIDEST = 0.5, 1.5  # photos, width by height
_WORST = 8  # queries, and images beside each
_EMPTY = "0.85"  # a light gray


class Cell(NamedTuple):
    """Photos of one place on a sheet, side by side, and the lines below them."""

    photos: tuple[np.ndarray | str, ...]  # uint8 [H, W, 3]; or why there is none
    lines: tuple[str, ...] = ()
    outcome: str = ""  # RIGHT, WRONG or IGNORED; empty for what is none


def draw_worst_queries(
    folder: str | os.PathLike, embedded: Embedded, report: Report, *, dataset: str = "", seed: int = 0, **rules: str
) -> Path:
    """Writes worst_queries.png into a folder: the ranked lists of the queries with the lowest average precision.

    Args:
        folder: made if it is not there.
        embedded: query and gallery, as they were scored.
        report: of them; ranks and scores are those before re-ranking.
        dataset: its name, for the title.
        seed: of the order among queries that are equally bad.
        **rules: `ignore` and `missing_cameras`, as in `evaluate_retrieval`.
    """
    result = report.before_reranking or report.result
    rows = choose_queries(result, "worst", _WORST, seed=seed)
    lists = ranked_lists(embedded, rows, depth=_WORST, **rules)
    name = Lettering([dataset]).label(dataset) or "dataset"
    title = f"{name}: worst {len(rows)} of {result.queries:,} queries"
    path = Path(folder, "worst_queries.png")
    save(draw_ranked_lists(embedded, lists, title=title, columns=_WORST, notes=precisions(result, rows)), path)
    return path


def precisions(result: RetrievalResult, rows: Sequence[int]) -> list[str]:
    """Returns the average precision of each query as text."""
    values = [100 * result.average_precision[row] for row in rows]
    return ["no true match" if np.isnan(value) else f"AP {value:.1f} %" for value in values]


def draw_ranked_lists(
    embedded: Embedded, lists: Sequence[RankedList], *, title: str, columns: int = 10, notes: Sequence[str] = ()
) -> Figure:
    """Draws queries and the images nearest to each; where no right one is among them, also the first right one.

    Args:
        embedded: query and gallery; without image paths the boxes are empty.
        lists: of `ranked_lists`.
        title: of the sheet.
        columns: images of each list at most, ignored ones included.
        notes: a line for each list that stands below its query.
    """
    photos = _Photos(embedded)
    further = [_further(one, columns) for one in lists]
    photos.read([(one, *_shown(one, columns, more)) for one, more in zip(lists, further)])
    rows = []
    for one, more, note in zip(lists, further, notes or [""] * len(lists)):
        cells: list[Cell | None] = [photos.query_cell(one, note)]
        cells += [photos.cell(one, hit) for hit in one.hits[:columns]]
        if any(further):
            cells += [None] * (columns + 1 - len(cells))
            cells.append(photos.cell(one, more, "1st right") if more else None)
        rows.append(cells)
    return sheet(f"{title}\n{_LEGEND}", rows)


def draw_attention(
    artifact: Artifact, embedded: Embedded, lists: Sequence[RankedList], *, title: str, columns: int = 4
) -> Figure:
    """Draws queries and, for each of the images nearest to it, where in both lies what made them close.

    Args:
        artifact: that made the embeddings, a Keras network.
        embedded: query and gallery, with image paths.
        lists: of `ranked_lists`.
        title: of the sheet.
        columns: pairs of each list at most.

    Raises:
        ReidError: as `attention_maps`.
    """
    photos = _Photos(embedded)
    photos.read([(one, *one.hits[:columns]) for one in lists])
    pairs = [(one, hit) for one in lists for hit in one.hits[:columns]]
    both = [photos.pair(*pair) for pair in pairs]
    readable = [pair for pair, images in zip(pairs, both) if not any(isinstance(image, str) for image in images)]
    images = [photos.pair(*pair) for pair in readable]
    maps = attention_maps(
        artifact, [one for one, _ in images], [other for _, other in images], others=embedded.gallery_embeddings
    )
    under = {
        (one.query, hit.image): tuple(overlay(image, places) for image, places in zip(pair, found))
        for (one, hit), pair, *found in zip(readable, images, *maps)
    }
    rows = []
    for one in lists:
        cells: list[Cell | None] = [photos.query_cell(one)]
        for hit in one.hits[:columns]:
            cell = photos.cell(one, hit)
            cells.append(cell._replace(photos=under.get((one.query, hit.image), photos.pair(one, hit))))
        rows.append(cells)
    legend = "bright: what made query (left) and gallery image (right) close; each photo by its own largest value"
    return sheet(f"{title}\n{legend}\n{_LEGEND}", rows)


def sheet(title: str, rows: Sequence[Sequence[Cell | None]]) -> Figure:
    """Returns a page with cells in rows and columns under a title."""
    cells = [cell for row in rows for cell in row if cell]
    lettering = Lettering([title, *(line for cell in cells for line in cell.lines)])
    shapes = [one.shape for cell in cells for one in cell.photos if not isinstance(one, str)]
    width = _HEIGHT * float(np.clip(np.median([w / h for h, w, _ in shapes] or [0.5]), _NARROWEST, _WIDEST))
    columns = max((len(row) for row in rows), default=0)
    counts = [max([len(row[c].photos) for row in rows if c < len(row) and row[c]] or [1]) for c in range(columns)]
    lines = max((len(cell.lines) for cell in cells), default=0)
    edges = _GAP + np.concatenate([[0.0], np.cumsum([count * width + _GAP for count in counts])])
    headline = title.split("\n")
    first, tall = _GAP + len(headline) * _TITLE_LINE, _HEIGHT + lines * _LINE + _GAP
    page = max(edges[-1], _TITLE_LETTER * max(map(len, headline))), first + len(rows) * tall
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=page)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page[0]), ylim=(page[1], 0), autoscale_on=False)
        axes.set_axis_off()
        axes.text(_GAP, _GAP / 2, title, fontsize=9, va="top", **lettering.style)
        for number, row in enumerate(rows):
            for left, cell in zip(edges, row):
                if cell:
                    _paint(axes, cell, left, first + number * tall, width, lettering)
        return figure


def _paint(axes: Axes, cell: Cell, left: float, top: float, width: float, lettering: Lettering) -> None:
    """Paints a cell; lengths are in inches, downwards."""
    for number, one in enumerate(cell.photos):
        x = left + number * width
        axes.add_patch(Rectangle((x, top), width, _HEIGHT, color=_EMPTY, linewidth=0, zorder=-1))
        if isinstance(one, str):
            text = one.replace(" ", "\n", 1)
            axes.text(x + width / 2, top + _HEIGHT / 2, text, fontsize=_FONT, ha="center", va="center", color="black")
            continue
        image = Image.fromarray(one)
        scale = min(width * DPI / image.width, _HEIGHT * DPI / image.height)
        size = [max(1, round(scale * side)) for side in image.size]
        shown = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
        w, h = (side / DPI for side in size)
        x, y = x + (width - w) / 2, top + (_HEIGHT - h) / 2
        axes.imshow(shown, extent=(x, x + w, y + h, y), aspect="auto")
    mark, color, style = _MARKS.get(cell.outcome, ("", INK, "-"))
    whole, thick = len(cell.photos) * width, 2.2 if cell.outcome else 0.8
    border = Rectangle((left, top), whole, _HEIGHT, fill=False, edgecolor=color, linestyle=style, linewidth=thick)
    axes.add_patch(border)
    letters = int((whole + 0.7 * _GAP) / _LETTER)
    for number, line in enumerate(cell.lines):
        first = f"{mark} " if mark and not number else ""
        text, y = first + fitted(lettering.label(line), letters - len(first)), top + _HEIGHT + 0.05 + number * _LINE
        axes.text(left, y, text, fontsize=_FONT, va="top", ha="left", **lettering.style)


def _further(one: RankedList, columns: int) -> Hit | None:
    """Returns the first right image where it is not among the columns."""
    return None if one.first_right in one.hits[:columns] else one.first_right


def _shown(one: RankedList, columns: int, further: Hit | None) -> tuple[Hit, ...]:
    return (*one.hits[:columns], *filter(None, [further]))


class _Photos:
    """Photos of query and gallery, and what stands below them."""

    def __init__(self, embedded: Embedded):
        self._frames, self._read = {"query": embedded.query, "gallery": embedded.gallery}, {}
        self._people = {side: as_names(names_of(frame, "person_id")) for side, frame in self._frames.items()}
        frames = {side: frame for side, frame in self._frames.items() if "camera_id" in frame}
        self._cameras = {side: as_names(names_of(frame, "camera_id")) for side, frame in frames.items()}

    def read(self, lists: Sequence[tuple]) -> None:
        """Reads the photos of queries, the first of each tuple, and of their hits."""
        places = [("query", one.query) for one, *_ in lists]
        places += {("gallery", hit.image) for _, *hits in lists for hit in hits}
        frames = {side: frame for side, frame in self._frames.items() if "image_path" in frame}
        paths = [frames[side].image_path.iloc[row] if side in frames else None for side, row in places]
        with threads() as pool:
            self._read = dict(zip(places, pool.map(photo, paths)))

    def pair(self, one: RankedList, hit: Hit) -> tuple[np.ndarray | str, np.ndarray | str]:
        return self._read["query", one.query], self._read["gallery", hit.image]

    def query_cell(self, one: RankedList, note: str = "") -> Cell:
        lines = ("query", *self._names("query", one.query), *filter(None, [note]))
        return Cell((self._read["query", one.query],), lines)

    def cell(self, one: RankedList, hit: Hit, before: str = "") -> Cell:
        rank, distance = "" if hit.rank is None else f"{hit.rank}, ", f"{hit.distance:#.3g}".rstrip(".")
        lines = (*filter(None, [before]), f"{rank}{distance}", *self._names("gallery", hit.image))
        return Cell((self._read["gallery", hit.image],), lines, hit.outcome)

    def _names(self, side: str, row: int) -> list[str]:
        name = self._people[side].iloc[row]
        names = [f"person {name}" if name.isdecimal() else name]
        if side in self._cameras:
            camera = self._cameras[side].iloc[row]
            names.append("no camera" if pd.isna(camera) else f"camera {camera}")
        return names
