"""Clips: a short video of one track, cut out of its recording, with its box and a label drawn into it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.data.video import import_cv2
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all
from keras_reid.tracks.frames import frames_of, open_video
from keras_reid.tracks.job_folder import read_job
from keras_reid.tracks.recordings import Recording, recordings_of
from keras_reid.tracks.splitting import split_tracks
from keras_reid.tracks.tracks_file import FILE_NAME, read_tracks

_AROUND = 1.0  # seconds before a track's first box, and after its last
_LONGEST = 20.0  # seconds of a clip
_WIDEST = 1280  # pixels
_COLOR = (40, 200, 255)  # blue, green, red
_HELD = 1.0  # seconds without a box over which the box is drawn between its neighbors


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A track as a clip needs it."""

    recording: Recording
    track: str
    times: tuple[float, float]  # of its first and last box, seconds since 1970 or since the recording's start


def sighting_of(crop: str | os.PathLike) -> Sighting | None:
    """Returns the track that a crop belongs to; None for a picture that `tracks` did not cut out.

    Args:
        crop: path of a crop, FOLDER/crops/CAMERA/TRACK/FRAME.jpg.

    Raises:
        ReidError: the recording's boxes or frames are not what they were.
    """
    crop = Path(crop)
    folder = crop.absolute().parents[3] if len(crop.absolute().parents) > 3 else crop
    if not (folder / FILE_NAME).exists():
        return None
    tracks, name = read_tracks(folder).frame, crop.absolute().relative_to(folder).as_posix()
    found = tracks[[name in crops for crops in tracks.crops]]
    if not len(found):
        return None
    row, job = found.iloc[0], read_job(folder)
    of_camera = [one for one in job["recordings"] if one["camera"] == row.camera]
    for recording in split_tracks([_recording(one) for one in of_camera], split_gap=job["split_gap"])[0]:
        if str(recording.frames) == row.source and (recording.boxes.track == row.track).any():
            return Sighting(recording, row.track, (row.start, row.end))
    raise ReidError(f"the boxes of camera {row.camera} are not what they were: no track {row.track} in {row.source!r}.")


def write_clip(path: str | os.PathLike, sighting: Sighting, *, label: str) -> float:
    """Writes a video of a track, from a second before it until a second after it, of 20 seconds at most.

    Args:
        path: of the .mp4 file, written whole or not at all.
        sighting: the track.
        label: stands above its box; letters that OpenCV cannot draw become ?.

    Returns:
        Its length in seconds.

    Raises:
        ReidError: OpenCV is missing, or none of its frames can be read.
    """
    cv2, recording = import_cv2(), sighting.recording
    boxes, fps = recording.boxes[recording.boxes.track == sighting.track], recording.fps
    around = round(_AROUND * fps)
    first = max(0, int(boxes.frame.min()) - around)
    last = min(int(boxes.frame.max()) + around, first + max(1, round(_LONGEST * fps)) - 1)
    writer, count = None, 0
    with whole_or_not_at_all(path) as temporary:
        try:
            for frame, picture in _pictures(recording, first, last):
                picture = _drawn(cv2, picture, _box(boxes, frame, fps), label)
                if writer is None:
                    size = picture.shape[1::-1]
                    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
                writer.write(picture)
                count += 1
        finally:
            if writer is not None:
                writer.release()
        if not count:
            raise ReidError(f"no frame from {first} to {last} of {str(recording.frames)!r} can be read.")
    return count / fps


def _recording(about: dict) -> Recording:
    how = {name: about[name] for name in ("camera", "boxes", "frames", "start", "fps")}
    if how["boxes"] is None:
        raise ReidError(f"the boxes of camera {about['camera']} came from no file: no clip can be cut.")
    how["fps"] = how["fps"] or ""
    return recordings_of(**how, format=about["boxes_format"])[0]


def _pictures(recording: Recording, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields frames; a video is wound to the first where its clock then shows that it is there, else gone through."""
    cv2, wanted = import_cv2(), range(first, last + 1)
    if recording.frames.is_dir():
        yield from frames_of(recording.frames, wanted)
        return
    video = open_video(recording.frames)
    video.set(cv2.CAP_PROP_POS_FRAMES, first)
    found, picture = video.read()
    if not found or abs(video.get(cv2.CAP_PROP_POS_MSEC) / 1000 - first / recording.fps) > 0.5 / recording.fps:
        video.release()
        yield from frames_of(recording.frames, wanted)
        return
    for frame in wanted:
        if not found:
            break
        yield frame, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        found, picture = video.read()
    video.release()


def _box(boxes: pd.DataFrame, frame: int, fps: float) -> np.ndarray | None:
    """Returns left, top, width and height of a track in a frame; None where it has no box near."""
    numbers = boxes.frame.to_numpy()
    after = int(np.searchsorted(numbers, frame))
    near = numbers[max(0, after - 1) : after + 1]
    if not numbers[0] <= frame <= numbers[-1] or near.max() - near.min() > max(1, _HELD * fps):
        return None
    return np.array([np.interp(frame, numbers, boxes[name]) for name in ("x", "y", "width", "height")])


def _drawn(cv2, picture: np.ndarray, box: np.ndarray | None, label: str) -> np.ndarray:
    """Returns a picture as OpenCV writes it, not wider than allowed, with a box and its label."""
    scale = min(1.0, _WIDEST / picture.shape[1])
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if box is None:
        return picture
    left, top, right, bottom = (round(scale * one) for one in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    cv2.rectangle(picture, (left, top), (right, bottom), _COLOR, 2)
    size, text = max(0.4, picture.shape[1] / 1600), label.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    x = max(0, min(left, picture.shape[1] - width))
    y = max(height + below, top)
    cv2.rectangle(picture, (x, y - height - below), (x + width, y), _COLOR, cv2.FILLED)
    cv2.putText(picture, text, (x, y - below // 2), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return picture
