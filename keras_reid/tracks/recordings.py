"""Recordings: whose boxes, in which pictures, by which camera, from when on; a table with a row for each names them."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from keras_reid.data.tables import check_columns, read_csv
from keras_reid.errors import ReidError
from keras_reid.tracks import boxes as box_files
from keras_reid.tracks import detecting
from keras_reid.tracks.boxes import BoxFile, mot_rows, read_box_file
from keras_reid.tracks.clocks import start_in
from keras_reid.tracks.formats import IN_WORDS
from keras_reid.tracks.frames import UnreadableVideo
from keras_reid.tracks.sequences import frames_at, rate_in, rate_of
from keras_reid.tracks.tables import Form, write_table

_COLUMNS = ("camera", "boxes", "frames", "start", "fps")
DETECTED = "detected"  # folder for boxes of people whom no tracker found, in the output of a job


@dataclasses.dataclass(frozen=True)
class Recording:
    """One camera's pictures over some time, and the boxes that a tracker found in them.

    Attributes:
        camera: its name.
        boxes: as `boxes.read_boxes` gives them, without the column camera.
        frames: a folder of pictures, or a video file.
        start: of frame 0, unix seconds; 0 where the clock is not known.
        fps: frames a second; NaN for a video that cannot be opened and says none.
        left_out: words -> how many rows of the file were no boxes.
        source: the file of the boxes; None where they come from elsewhere.
    """

    camera: str
    boxes: pd.DataFrame
    frames: Path
    start: float
    fps: float
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    source: BoxFile | None = None

    def lines(self) -> list[str]:
        """Returns what was read, a line, and what was left out, a line for each reason."""
        tracks, about = self.boxes.track.nunique(), ""
        if self.source:
            about = f" of {str(self.source.path)!r}, {IN_WORDS[self.source.format]}"
        read = f"camera {self.camera}: {len(self.boxes):,} boxes of {tracks:,} tracks{about}"
        return [read, *(f"camera {self.camera}: left out {count:,} {words}" for words, count in self.left_out.items())]


def read_recordings(
    path: str | os.PathLike, *, format: str = "auto", detect: str | os.PathLike | None = None
) -> list[Recording]:
    """Reads a table of recordings, CSV, and the boxes that it names.

    Args:
        path: columns camera; boxes, a file as of `read_boxes`; frames, a folder of pictures or a video file; and
            perhaps start, a time with its zone (2024-05-01T14:00:00+02:00) or unix seconds, and fps. Paths are relative
            to the table. A file of boxes that names cameras itself is divided: a row takes the boxes of its camera, or,
            where its frames hold `{camera}`, there is a recording for each camera of the file.
        format: of the boxes, of `choices.BOX_FORMATS`.
        detect: a folder: where a row names no boxes, people are found (`detecting.detect`, a demonstration), and their
            boxes written there, once.

    Returns:
        The recordings, in the order of the table.

    Raises:
        ReidError: a file is missing or is not what is expected, a time has no zone, or frames a second are not known.
    """
    table = read_csv(path, as_text=_COLUMNS)
    needed = ("camera", "frames") if detect is not None else ("camera", "boxes", "frames")
    check_columns(table, path, needed, ", and perhaps start, fps.")
    if not len(table):
        raise ReidError(f"{str(path)!r} names no recording: expected a line for each below the column names.")
    folder, found = Path(path).parent, []
    read = functools.lru_cache(maxsize=None)(functools.partial(read_box_file, format=format))
    for number, row in enumerate(table.to_dict("records"), 1):
        cells = {name: "" if pd.isna(row.get(name)) else str(row[name]).strip() for name in _COLUMNS}
        for name in needed[1:]:
            if not cells[name]:
                raise ReidError(f"{str(path)!r} has no {name} in row {number}.")
        try:
            frames = folder / cells["frames"]
            file = folder / cells["boxes"] if cells["boxes"] else _detected(detect, frames, cells)
            found += _recordings(read(file), frames, cells["camera"], cells["start"], cells["fps"])
        except ReidError as error:
            raise ReidError(f"{str(path)!r}, row {number}: {error}") from error
    return _counted_once(found)


def recordings_of(
    *,
    frames: str | os.PathLike,
    boxes: str | os.PathLike = "",
    camera: str = "",
    start: str | float = "",
    fps: str | float = "",
    format: str = "auto",
    detect: str | os.PathLike | None = None,
) -> list[Recording]:
    """Returns the recordings of one file of boxes: one, or one a camera; arguments and errors as of `read_recordings`.

    Args:
        camera: "" is "1", and takes each camera of a file that names cameras itself, where frames hold `{camera}`.
    """
    if not boxes and detect is None:
        raise ReidError("boxes= is missing: expected a tracker's file of boxes. People are found only with detect=.")
    boxes = boxes or _detected(detect, Path(frames), {"camera": camera, "fps": str(fps)})
    return _recordings(read_box_file(boxes, format=format), Path(frames), camera, str(start), str(fps))


def clock_lines(recordings: Sequence[Recording]) -> list[str]:
    """Returns a line for each sign of a wrong clock: people's ways between cameras are judged by it."""
    cameras = {one.camera for one in recordings}
    unknown = {one.camera for one in recordings if not one.start}
    lines = []
    if unknown == cameras and len(cameras) > 1:
        lines.append("no start is known: times between cameras are counted as if all had begun at one moment")
    elif unknown and unknown != cameras:
        lines.append(
            f"no start is known of camera {', '.join(sorted(unknown))}, but of others: times between them mean nothing"
        )
    for one in recordings:
        if one.start > time.time() + 86_400:
            lines.append(f"camera {one.camera} starts in the future: {pd.Timestamp(one.start, unit='s', tz='UTC')}")
    for camera in sorted(cameras):
        own = sorted((one for one in recordings if one.camera == camera), key=lambda one: one.start)
        for before, after in zip(own, own[1:]):
            overlap = _end(before) - after.start
            if overlap > 0:
                lines.append(f"two recordings of camera {camera} overlap by {overlap:.1f} s: check their starts")
        others = [one for one in recordings if one.camera != camera and one.start]
        gaps = [max(a.start - _end(b), b.start - _end(a)) for a in own for b in others if a.start]
        if gaps and min(gaps) > 86_400:
            lines.append(f"camera {camera} was recorded {min(gaps) / 86_400:.0f} days from all others: check its start")
    return lines


def _end(recording: Recording) -> float:
    """Returns when a recording's last box is over, unix seconds."""
    seconds = (recording.boxes.frame.max() + 1) / recording.fps  # NaN where there are no boxes, or no rate is known
    return recording.start + (seconds if seconds > 0 else 0.0)


def write_boxes(recording: Recording, global_ids: Mapping[str, int], path: str | os.PathLike) -> None:
    """Writes a recording's boxes in the form of the file that they came from, with people's numbers for the tracker's.

    Args:
        recording: its boxes may have other tracks than the file (`dataclasses.replace`), on rows of the same index.
        global_ids: track -> its person's number; boxes of other tracks, and what was left out, are not written.
        path: a new file: text, or Parquet where `recording.source.path` is.

    Raises:
        ReidError: the file that the boxes came from is gone or has changed.
    """
    if recording.source is None:
        write_table(path, mot_rows(recording.boxes, global_ids), Form(",", has_names=False))
    else:
        box_files.write_boxes(path, recording.boxes, global_ids, recording.source)


def _detected(folder: str | os.PathLike, frames: Path, cells: Mapping[str, str]) -> Path:
    """Returns the file of the boxes of people who are found in frames; they are looked for once."""
    place = frames_at(frames)
    path = Path(folder, re.sub(r"[^\w-]+", "_", f"{cells['camera'] or '1'} {place.stem}") + ".txt")
    if not path.exists():
        boxes = detecting.detect(place, fps=rate_in(cells["fps"], "fps") if cells["fps"] else rate_of(place))
        write_table(path, mot_rows(boxes, {track: int(track) for track in boxes.track}), Form(",", has_names=False))
    return path


def _recordings(file: BoxFile, frames: Path, camera: str, start: str, fps: str) -> list[Recording]:
    if "camera" not in file.boxes:
        parts = [(camera or "1", file.boxes)]
    elif "{camera" in str(frames):
        parts = [(name, part.drop(columns="camera")) for name, part in file.boxes.groupby("camera", sort=True)]
    else:
        parts = [(camera, _of_camera(file, camera))]
    found = []
    for name, boxes in parts:
        place = frames_at(Path(_filled(str(frames), name)))
        rate = rate_in(fps, "fps") if fps else _rate(place, file.path.parent)
        found.append(Recording(name, boxes, place, start_in(start), rate, file.left_out, file))
    return _counted_once(found)


def _rate(frames: Path, near: Path) -> float:
    try:
        return rate_of(frames, near)
    except UnreadableVideo:  # its tracks are left out and counted with those of other damaged videos; others go on
        return float("nan")


def _counted_once(recordings: list[Recording]) -> list[Recording]:
    """Returns recordings of which only the first of each file says what was left out of it."""
    found: dict[Path | None, Recording] = {}
    first = [found.setdefault(one.source and one.source.path, one) is one for one in recordings]
    return [one if is_first else dataclasses.replace(one, left_out={}) for one, is_first in zip(recordings, first)]


def _of_camera(file: BoxFile, camera: str) -> pd.DataFrame:
    there = sorted(file.boxes.camera.unique())
    if camera not in there and len(there) != 1:
        raise ReidError(
            f"{str(file.path)!r} holds boxes of cameras {', '.join(there)}, not of camera={camera}: give one of these, "
            "or frames with {camera} in the place of its name."
        )
    return file.boxes[file.boxes.camera == (camera if camera in there else there[0])].drop(columns="camera")


def _filled(frames: str, camera: str) -> str:
    """Returns a path for a camera: {camera} is its name, {camera:03d} its number with three digits."""
    try:
        return re.sub(r"\{camera:0?(\d+)d\}", lambda width: f"{int(camera):0{width[1]}d}", frames).replace(
            "{camera}", camera
        )
    except ValueError as error:
        raise ReidError(f"frames={frames} needs cameras that are numbers, got {camera!r}.") from error
