"""Boxes with track numbers, read from a tracker's file: what is no box is left out, counted and named."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.tracks.formats import is_name, parse
from keras_reid.tracks.tables import Form, read_table, write_table

COLUMNS = {
    "track": str,
    "frame": "int64",
    "x": "float64",
    "y": "float64",
    "width": "float64",
    "height": "float64",
    "confidence": "float64",
}
_MOT = ("frame", "track", "x", "y", "width", "height", "confidence")
_LAST_FRAME = 2**53  # float64 holds each whole number up to this one


@dataclasses.dataclass(frozen=True)
class BoxFile:
    """A tracker's file of boxes.

    Attributes:
        path: where it is.
        format: of `choices.BOX_FORMATS`, without "auto".
        id_column: place of the tracks among its columns.
        boxes: a row for each box as `read_boxes` gives them, and `camera` (text) where the file names it.
        left_out: words -> how many rows.
    """

    path: Path
    format: str
    id_column: int
    boxes: pd.DataFrame
    left_out: dict[str, int]


def read_boxes(path: str | os.PathLike, *, format: str = "auto") -> pd.DataFrame:
    """Reads the boxes of a tracker's file; `read_box_file` also says what was left out.

    Args:
        path: text or Parquet, in one of the formats of `tracks.formats`.
        format: of `choices.BOX_FORMATS`; "auto" recognizes it by its content.

    Returns:
        A row for each box, sorted by frame: track (text), frame (int64, from 0), x, y, width, height (float64, pixels,
        from the left upper corner; a box may leave the picture), confidence (float64, 0 to 1, NaN where not known), and
        camera (text) where the file names it. The index is the row's number in the file. Without rows in
        the file there are none.

    Raises:
        ReidError: there is no such file, or it holds no boxes with track numbers.
    """
    return read_box_file(path, format=format).boxes


def read_box_file(path: str | os.PathLike, *, format: str = "auto") -> BoxFile:
    """Reads a tracker's file of boxes; arguments and errors as of `read_boxes`."""
    table, form, longer = read_table(path, is_name)
    if not len(table.columns):
        return BoxFile(Path(path), "mot" if format == "auto" else format, 1, _nothing(), {})
    parsed = parse(table, has_names=form.has_names, path=os.fspath(path), format=format)
    rows, left_out = parsed.columns, {"lines with more cells than the others": longer}
    kept = np.ones(len(rows), bool)
    for words, out in {**_no_boxes(rows), **parsed.left_out}.items():
        left_out[words] = int((out & kept).sum())
        kept &= ~out
    rows = rows[kept]
    twice = rows.duplicated([name for name in ("camera", "track", "frame") if name in rows])
    left_out["boxes of a track that has one in that frame already"] = int(twice.sum())
    rows = rows[~twice.to_numpy()].sort_values("frame", kind="stable")
    rows["confidence"] = rows.confidence.where(rows.confidence.between(0, 1))
    columns = {**COLUMNS, **({"camera": str} if "camera" in rows else {})}
    boxes = rows[list(columns)].astype(columns)
    left_out = {words: count for words, count in left_out.items() if count}
    return BoxFile(Path(path), parsed.format, list(table).index(parsed.id_column), boxes, left_out)


def write_boxes(path: str | os.PathLike, boxes: pd.DataFrame, identities: Mapping[str, int], source: BoxFile) -> None:
    """Writes boxes as they came, with people's numbers in the place of the tracker's; whole or not at all.

    Args:
        path: the new file, text or Parquet as the source is.
        boxes: rows of `source.boxes`, by their index; their tracks may have other names since.
        identities: track -> its person's number; boxes of other tracks are left out.
        source: the file from which they were read.

    Raises:
        ReidError: the source is gone or has fewer rows than it had.
    """
    table, form, _ = read_table(source.path, is_name, as_text=True)
    people = boxes.track.map(identities).dropna().astype("int64").sort_index()
    if len(people) and people.index[-1] >= len(table):
        raise ReidError(f"{str(source.path)!r} has changed since it was read: it has {len(table)} rows now.")
    rows = table.loc[people.index]
    columns = {name: people if place == source.id_column else rows[name] for place, name in enumerate(table)}
    write_table(path, pd.DataFrame(columns, people.index), form if columns else Form(",", has_names=False))


def mot_rows(boxes: pd.DataFrame, identities: Mapping[str, int]) -> pd.DataFrame:
    """Returns boxes as rows of MOT Challenge: frame from 1, person, x, y, width, height, confidence, -1, -1, -1."""
    people = boxes.track.map(identities)
    known = boxes.assign(frame=boxes.frame + 1, track=people, confidence=boxes.confidence.fillna(-1))[people.notna()]
    return known[list(_MOT)].astype({"track": "int64"}).assign(a=-1, b=-1, c=-1)


def _nothing() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()})


def _no_boxes(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns words -> bool [N], rows that are no boxes of a track."""
    numbers = rows[["frame", "x", "y", "width", "height"]].to_numpy()
    broken = ~np.isfinite(numbers).all(axis=1)
    frame, size = numbers[:, 0], numbers[:, 3:]
    return {
        "rows without a number where one is expected": broken,
        "boxes without a track's number": rows.track.isna().to_numpy(),
        "boxes whose frame is no whole number": ~broken & ((np.floor(frame) != frame) | (frame > _LAST_FRAME)),
        "boxes before the first frame, which is 1 in rows of MOT Challenge and else 0": ~broken & (frame < 0),
        "boxes of no size: their width or height is zero or negative": ~broken & (size <= 0).any(axis=1),
    }
