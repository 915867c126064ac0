"""Sheets: rows of photos under captions on one page: ranked lists, and what in two photos made them close."""

from __future__ import annotations

import os
import unicodedata
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
from keras_reid.data.checks.lettering import Lettering
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
    title = f"{dataset or 'dataset'}: worst {len(rows)} of {result.queries:,} queries"
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
            cells.append(photos.cell(one, more, "first right:") if more else None)
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
    """Returns a page with cells in rows and columns; `plots.save` cuts it to what stands on it."""
    cells = [cell for row in rows for cell in row if cell]
    lettering = Lettering([title, *(line for cell in cells for line in cell.lines)])
    shapes = [one.shape for cell in cells for one in cell.photos if not isinstance(one, str)]
    width = _HEIGHT * float(np.clip(np.median([w / h for h, w, _ in shapes] or [0.5]), _NARROWEST, _WIDEST))
    columns = max((len(row) for row in rows), default=0)
    counts = [max([len(row[c].photos) for row in rows if c < len(row) and row[c]] or [1]) for c in range(columns)]
    lines = max((len(cell.lines) for cell in cells), default=0)
    edges = np.concatenate([[0.0], np.cumsum([count * width + _GAP for count in counts])])
    tall = _HEIGHT + lines * _LINE + _GAP
    with matplotlib.rc_context(STYLE):
        page = (max(edges[-1], 1.0), max(len(rows) * tall, 0.5))
        figure = Figure(figsize=page)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page[0]), ylim=(page[1], 0), autoscale_on=False)
        axes.set_axis_off()
        axes.text(0, -0.12, title, fontsize=9, va="bottom", **lettering.style)
        for number, row in enumerate(rows):
            for left, cell in zip(edges, row):
                if cell:
                    _paint(axes, cell, left, number * tall, width, lettering)
        return figure


def _paint(axes: Axes, cell: Cell, left: float, top: float, width: float, lettering: Lettering) -> None:
    """Paints a cell; lengths are in inches, downwards."""
    for number, one in enumerate(cell.photos):
        x = left + number * width
        axes.add_patch(Rectangle((x, top), width, _HEIGHT, color=_EMPTY, linewidth=0))
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
        axes.imshow(shown, extent=(x, x + w, y + h, y), aspect="auto", interpolation="none")
    mark, color, style = _MARKS.get(cell.outcome, ("", INK, "-"))
    whole, thick = len(cell.photos) * width, 2.2 if cell.outcome else 0.8
    border = Rectangle((left, top), whole, _HEIGHT, fill=False, edgecolor=color, linestyle=style, linewidth=thick)
    axes.add_patch(border)
    letters = int((whole + 0.7 * _GAP) / _LETTER)
    for number, line in enumerate(cell.lines):
        first = f"{mark} " if mark and not number else ""
        text, y = first + fitted(lettering.label(line), letters - len(first)), top + _HEIGHT + 0.05 + number * _LINE
        axes.text(left, y, text, fontsize=_FONT, va="top", ha="left", **lettering.style)


def fitted(text: str, letters: int) -> str:
    """Returns a text of at most so many letters, wide ones counted twice: names often differ at their ends."""
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= letters:
        return text
    head, tail = (letters - 1) // 2, letters - 1 - (letters - 1) // 2
    ends = np.cumsum(widths), np.cumsum(widths[::-1])
    head, tail = int(np.searchsorted(ends[0], head, side="right")), int(np.searchsorted(ends[1], tail, side="right"))
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"


def _further(one: RankedList, columns: int) -> Hit | None:
    """Returns the first right image where it is not among the columns."""
    return None if one.first_right in one.hits[:columns] else one.first_right


def _shown(one: RankedList, columns: int, further: Hit | None) -> tuple[Hit, ...]:
    return (*one.hits[:columns], *filter(None, [further]))


class _Photos:
    """Photos of query and gallery, and what stands below them."""

    def __init__(self, embedded: Embedded):
        self._embedded, self._read = embedded, {}

    def read(self, lists: Sequence[tuple]) -> None:
        """Reads the photos of queries, the first of each tuple, and of their hits."""
        places = [("query", one.query) for one, *_ in lists]
        places += {("gallery", hit.image) for _, *hits in lists for hit in hits}
        frames = {side: getattr(self._embedded, side) for side in ("query", "gallery")}
        paths = [frames[side].image_path.iloc[row] if "image_path" in frames[side] else None for side, row in places]
        with threads() as pool:
            self._read = dict(zip(places, pool.map(photo, paths)))

    def pair(self, one: RankedList, hit: Hit) -> tuple[np.ndarray | str, np.ndarray | str]:
        return self._read["query", one.query], self._read["gallery", hit.image]

    def query_cell(self, one: RankedList, note: str = "") -> Cell:
        lines = ("query", *self._names("query", one.query), *filter(None, [note]))
        return Cell((self._read["query", one.query],), lines)

    def cell(self, one: RankedList, hit: Hit, before: str = "") -> Cell:
        rank = "" if hit.rank is None else f"{hit.rank}, "
        lines = (f"{rank}{hit.distance:.3g}", *self._names("gallery", hit.image), *filter(None, [before]))
        return Cell((self._read["gallery", hit.image],), lines, hit.outcome)

    def _names(self, side: str, row: int) -> list[str]:
        frame: pd.DataFrame = getattr(self._embedded, side).iloc[[row]]
        names = [as_names(names_of(frame, "person_id")).iloc[0]]
        if "camera_id" in frame:
            camera = as_names(names_of(frame, "camera_id")).iloc[0]
            names.append("no camera" if pd.isna(camera) else f"camera {camera}")
        return names
