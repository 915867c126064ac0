"""Formats of boxes with track numbers: which of a table's columns is what, by its content or its names.

| format | a row | frames from |
|---|---|---|
| mot | frame, track, left, top, width, height, confidence, ...: MOT Challenge's, and trackers' (boxmot, DeepSORT) | 1 |
| mot_truth | frame, track, left, top, width, height, counts, class, visibility; recent boxmot: 1, 1, confidence | 1 |
| ai_city | camera, track, frame, left, top, width, height, and perhaps x, y in the world; NVIDIA's of 2024 | 0 |
| named | columns named as supervision's CSVSink, ultralytics' tables or pandas users call them | 0 |
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.choices import BOX_FORMATS
from keras_reid.errors import ReidError

IN_WORDS = {
    "mot": "rows of MOT Challenge",
    "mot_truth": "rows of MOT Challenge with class and visibility",
    "ai_city": "rows of AI City Challenge",
    "named": "named columns",
}
_PERSON = ("person", "people", "pedestrian", "human")

# What a column holds -> its names, in lower case: supervision, ultralytics, boxmot, motmetrics, and what people write.
NAMES = {
    "camera": ("camera", "camera_id", "cam", "cam_id"),
    "frame": ("frame", "frame_number", "frame_index", "frame_idx", "frame_id", "frameid", "frame_no"),
    "track": ("track", "track_id", "tracker_id", "trackid", "tracking_id", "id", "object_id", "obj_id"),
    "x": ("x_min", "xmin", "x1", "left", "bb_left", "bbox_left", "box.x1", "x"),
    "y": ("y_min", "ymin", "y1", "top", "bb_top", "bbox_top", "box.y1", "y"),
    "width": ("width", "w", "bb_width", "bbox_width"),
    "height": ("height", "h", "bb_height", "bbox_height"),
    "right": ("x_max", "xmax", "x2", "right", "bb_right", "bbox_right", "box.x2"),
    "bottom": ("y_max", "ymax", "y2", "bottom", "bb_bottom", "bbox_bottom", "box.y2"),
    "center_x": ("x_center", "xc", "cx", "center_x"),
    "center_y": ("y_center", "yc", "cy", "center_y"),
    "box": ("box", "bbox"),
    "confidence": ("confidence", "conf", "score"),
    "class": ("class", "class_id", "cls", "class_name", "name", "label"),
}
_KNOWN = {name: meaning for meaning, names in NAMES.items() for name in names}

_SHARES = (
    "no box of {!r} is larger than 1 x 1: these are shares of the picture, as in YOLO's labels. Expected pixels, in "
    "one file a camera with the frame's number in each row."
)
_EXAMPLE = "frame,tracker_id,x_min,y_min,x_max,y_max,confidence"


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A table of boxes whose columns are known, a row for each of its rows.

    Attributes:
        format: its format, of `choices.BOX_FORMATS`.
        columns: camera (where the file names it), frame from 0, track, x, y, width, height, confidence; what is no
            number is NaN.
        id_column: of the table, that holds the tracks.
        left_out: words -> bool [N], rows that stand for nobody who was tracked.
    """

    format: str
    columns: pd.DataFrame
    id_column: Any
    left_out: dict[str, np.ndarray]


def is_name(cell: str) -> bool:
    """Whether a cell, in lower case, is the name of a column that `parse` knows."""
    return cell in _KNOWN


def parse(table: pd.DataFrame, *, has_names: bool, path: str, format: str = "auto") -> Parsed:
    """Returns what a table's columns are.

    Args:
        table: as `tables.read_table` gives it, with at least one column.
        has_names: whether its columns are named.
        path: the file, for messages.
        format: of `choices.BOX_FORMATS`; "auto" recognizes it.

    Raises:
        ReidError: an unknown format, columns are missing, or the rows are detections, 3D boxes or shares of a picture.
    """
    if format not in BOX_FORMATS:
        raise ReidError(f"format={format}, expected {', '.join(BOX_FORMATS)}.")
    if has_names and format in ("auto", "named"):
        return _named(table, path)
    if format == "named":
        raise ReidError(f"format=named, but no line of {path!r} names its columns, such as {_EXAMPLE}.")
    numbers = table.apply(pd.to_numeric, errors="coerce").astype("float64")
    if has_names:
        numbers = numbers.set_axis(range(numbers.shape[1]), axis=1)
    if numbers.shape[1] > 6 and numbers[numbers.shape[1] - 1].isna().all():  # behind a separator at each line's end
        numbers = numbers.iloc[:, :-1]
    parsed = _by_place(numbers, path, _recognized(numbers, path) if format == "auto" else format)
    return dataclasses.replace(parsed, id_column=table.columns[parsed.id_column])


def _recognized(numbers: pd.DataFrame, path: str) -> str:
    """Returns the format of rows without names: it shows in what stands where MOT Challenge has the confidence."""
    count = numbers.shape[1]
    if count < 6:
        raise ReidError(
            f"{path!r} has {count} cells in a row: expected MOT Challenge's frame,id,left,top,width,height,confidence, "
            f"... with at least 6, AI City's 7 to 9, or a line that names the columns, such as {_EXAMPLE}."
        )
    if count >= 11 and (numbers[[7, 8, 9]] > 0).to_numpy().all():
        raise ReidError(
            f"{path!r} has {count} cells in a row, as AI City Challenge's boxes of 2025 in meters of the world: "
            "expected boxes in pixels of each camera's picture."
        )
    shares = numbers[[1, 2, 3, 4]]
    if len(numbers) and shares.max().max() <= 1 and shares.min().min() >= 0:
        raise ReidError(_SHARES.format(path))
    if count in (7, 9) and numbers[6].median() > 1:
        return "ai_city"
    return "mot_truth" if count == 9 and (numbers[8] >= 0).any() else "mot"


def _by_place(numbers: pd.DataFrame, path: str, format: str) -> Parsed:
    places = {"ai_city": (2, 1, 3, 4, 5, 6)}.get(format, (0, 1, 2, 3, 4, 5))
    needed = {"ai_city": 7, "mot_truth": 8}.get(format, 6)
    if numbers.shape[1] < needed:
        raise ReidError(
            f"{path!r} has {numbers.shape[1]} cells in a row: {IN_WORDS[format]} have {needed} at least. Check format=."
        )
    columns = numbers[list(places)].set_axis(["frame", "track", "x", "y", "width", "height"], axis=1)
    _refuse_shares(columns, path)
    left_out = {}
    if format == "ai_city":
        columns["camera"], columns["confidence"] = _as_text(numbers[0]), np.nan
    else:
        columns["frame"] -= 1
        if len(columns) and (columns.track == -1).all():
            raise ReidError(
                f"{path!r} holds detections: each row's track is -1. Run a tracker over them first, or take the "
                "file that your tracker wrote."
            )
        columns["confidence"], left_out = _mot_extras(numbers, format)
    return Parsed(format, columns.assign(track=_as_text(columns.track)), 1, left_out)


def _mot_extras(numbers: pd.DataFrame, format: str) -> tuple[pd.Series, dict[str, np.ndarray]]:
    """Returns the confidence of MOT Challenge's rows, and those that do not count."""
    count = numbers.shape[1]
    no_person, passed_over = "boxes of another class than person", "boxes that the ground truth says not to count"
    if format == "mot_truth":
        left_out = {passed_over: (numbers[6] == 0).to_numpy(), no_person: (numbers[7] != 1).to_numpy()}
        return numbers[8] if count > 8 else pd.Series(np.nan, numbers.index), left_out
    confidence = numbers[6] if count > 6 else pd.Series(np.nan, numbers.index)
    left_out = {no_person: _others(numbers[7])} if count in (8, 9) else {}
    if count > 9 and set(confidence.unique()) == {0.0, 1.0}:
        left_out[passed_over] = (confidence == 0).to_numpy()
    return confidence, left_out


def _others(classes: pd.Series) -> np.ndarray:
    """Returns which boxes are of another class than person: by its name, or by 0, its number in COCO."""
    if pd.api.types.is_numeric_dtype(classes):
        is_person = classes == 0
    else:
        is_person = classes.astype("string").str.strip().str.lower().isin([*_PERSON, "0"])
    # A detector of people alone may number or name them as it likes.
    return ~is_person.to_numpy(bool) if is_person.any() else np.zeros(len(classes), bool)


def _named(table: pd.DataFrame, path: str) -> Parsed:
    found: dict[str, Any] = {}
    for meaning, names in NAMES.items():
        by_name = {str(column).strip().lower(): column for column in table}
        found.update((meaning, by_name[name]) for name in reversed(names) if name in by_name)
    if "box" in found:
        table, found = _unpacked(table, found)
    _refuse_missing(found, table, path)
    number = {
        meaning: pd.to_numeric(table[column], errors="coerce").astype("float64")
        for meaning, column in found.items()
        if meaning not in ("camera", "track", "class", "box")
    }
    nothing = pd.Series(np.nan, table.index)
    if "width" not in found:
        number["width"], number["height"] = number["right"] - number["x"], number["bottom"] - number["y"]
    if "x" not in found:
        number["x"] = number["center_x"] - number["width"] / 2
        number["y"] = number["center_y"] - number["height"] / 2
    names = ("frame", "x", "y", "width", "height")
    columns = pd.DataFrame({name: number[name] for name in names}, index=table.index)
    columns["confidence"] = number.get("confidence", nothing)
    _refuse_shares(columns, path)
    if str(found.get("x", "")).strip().lower() == "bb_left":  # MOT Challenge's own names: from 1
        columns["frame"] -= 1
    columns["track"] = _as_text(table[found["track"]])
    if len(columns) and columns.track.isna().all():
        raise ReidError(
            f"{path!r} holds detections: no row has a number in its column {found['track']!r}. Run a tracker over them "
            "first."
        )
    if "camera" in found:
        columns["camera"] = _as_text(table[found["camera"]])
    left_out = {"boxes of another class than person": _others(table[found["class"]])} if "class" in found else {}
    return Parsed("named", columns, found["track"], left_out)


def _unpacked(table: pd.DataFrame, found: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the table with the corners of ultralytics' column box, {"x1": ..., "y1": ..., "x2": ..., "y2": ...}."""
    text, corners = table[found["box"]].astype(str), {"x": "x1", "y": "y1", "right": "x2", "bottom": "y2"}
    parts = {
        f"box.{name}": text.str.extract(rf"{name}['\"]?\s*[:=]\s*(-?\d+(?:\.\d+)?)", expand=False)
        for name in corners.values()
    }
    return table.assign(**parts), {**found, **{meaning: f"box.{name}" for meaning, name in corners.items()}}


def _refuse_missing(found: dict[str, Any], table: pd.DataFrame, path: str) -> None:
    ways = (("x", "y", "right", "bottom"), ("x", "y", "width", "height"), ("center_x", "center_y", "width", "height"))
    absent = [name for name in ("frame", "track") if name not in found]
    if not any(set(way) <= set(found) for way in ways):
        absent.append("the box (x_min, y_min, x_max, y_max, or x, y, width, height)")
    if absent:
        there = ", ".join(str(column)[:30] for column in list(table)[:20])
        raise ReidError(
            f"{path!r} has no column for {', '.join(absent)}: its columns are {there}. Expected names such "
            f"as {_EXAMPLE}."
        )


def _refuse_shares(columns: pd.DataFrame, path: str) -> None:
    if len(columns) and (columns[["width", "height"]].max() <= 1).all() and (columns.width > 0).any():
        raise ReidError(_SHARES.format(path))


def _as_text(values: pd.Series) -> pd.Series:
    """Returns numbers of tracks or cameras as text, 7.0 as "7"; NA where there is none, or a negative one."""
    codes, unique = pd.factorize(values)
    if pd.api.types.is_numeric_dtype(values):
        names = [str(int(one)) if np.isfinite(one) and one % 1 == 0 else str(one) for one in unique]
    else:
        names = [re.sub(r"^(\d+)\.0$", r"\1", str(one).strip()) for one in unique]
    known = [None if name in ("", "nan") or name.startswith("-") else name for name in names]
    return pd.Series(np.array([*known, None], object)[codes], values.index)
