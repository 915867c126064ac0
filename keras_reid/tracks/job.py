"""Job of embedding tracks: one pass over each recording; what is finished is kept, so that it goes on where it stopped.

A folder holds it: `job.json` says what was asked for, `parts/` has the finished tracks until all are, `crops/` their
pictures; at the end there are `tracks.parquet`, and `notes.txt` with what was left out or is odd.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from keras_reid.choices import TRACK_POOLINGS
from keras_reid.data.video import import_cv2
from keras_reid.errors import ReidError
from keras_reid.tracks.collecting import Collector
from keras_reid.tracks.crops import box_quality, choose_boxes
from keras_reid.tracks.cutting import cut_crops
from keras_reid.tracks.frames import frame_size, frames_of
from keras_reid.tracks.job_folder import JobFolder, recipe_of
from keras_reid.tracks.recordings import Recording, clock_lines
from keras_reid.tracks.splitting import split_tracks
from keras_reid.tracks.tracks_file import Tracks

_SECONDS = 30.0  # between two parts: what a kill loses


def embed_tracks(
    artifact: Any,
    recordings: Sequence[Recording],
    *,
    output: str,
    crops_per_track: int = 8,
    pool: str = "quality",
    split_gap: float = 30.0,
    batch_size: int = 64,
) -> tuple[Tracks, list[str]]:
    """Embeds the tracks of recordings: the best crops of each become one embedding.

    Each recording is decoded once, forward. Called again with the same arguments it goes on where it was interrupted,
    and returns what is there once it is finished.

    Args:
        artifact: embeds the crops.
        recordings: of one or many cameras.
        output: folder for `tracks.parquet`, `notes.txt` and the crops.
        crops_per_track: most crops of a track that are embedded.
        pool: "quality", the mean weighted by the quality of each crop, or "mean".
        split_gap: seconds without a box after which an id of the tracker is taken for another track.
        batch_size: crops that are embedded at once.

    Returns:
        The tracks, sorted by camera and start; and a line for each thing that was left out or is odd, with its count.

    Raises:
        ReidError: the folder holds tracks that were made in another way, or something else; no track has a crop.
    """
    for name, value, least in (("crops_per_track", crops_per_track, 1), ("batch_size", batch_size, 1)):
        if value < least:
            raise ReidError(f"{name}={value}, expected at least {least}.")
    if pool not in TRACK_POOLINGS:
        raise ReidError(f"pool={pool}, expected one of {', '.join(TRACK_POOLINGS)}.")
    asked = {"crops_per_track": crops_per_track, "pool": pool, "split_gap": split_gap}
    if not all(one.frames.is_dir() for one in recordings):
        import_cv2()  # without it no video could be opened, which is no fault of the videos
    folder = JobFolder(Path(output), recipe_of(artifact, recordings, **asked))
    if folder.is_finished:
        return folder.result(artifact)
    split, renamed = split_tracks(recordings, split_gap=split_gap)
    notes = clock_lines(split)
    if renamed:
        notes.append(
            f"{renamed} tracks have the number of an earlier one of their camera: they are called 7+2, 7+3, ..."
        )
    options = {"crops_per_track": crops_per_track, "pool": pool, "batch_size": batch_size}
    progress = {"total": sum(map(_length, split)), "desc": "tracks", "unit": "frame", "leave": False}
    try:
        with folder.writing(), tqdm(**progress, disable=None) as bar:
            for number, recording in enumerate(split):
                before = bar.n
                if not folder.has_recording(number):
                    _embed_recording(artifact, recording, folder, number, bar, **options)
                bar.update(before + _length(recording) - bar.n)
            return folder.finish(artifact, len(split), notes)
    except KeyboardInterrupt:
        print(f"finished tracks are kept in {output}: the same command goes on there.", file=sys.stderr)
        raise


def _embed_recording(
    artifact: Any,
    recording: Recording,
    folder: JobFolder,
    number: int,
    bar: tqdm,
    *,
    crops_per_track: int,
    **options: Any,
) -> None:
    """Writes the tracks of a recording that the folder does not hold yet, part by part, and then that it is done."""
    notes = [f"left out {count:,} {words}" for words, count in recording.left_out.items()]
    boxes = recording.boxes
    try:
        picture_size = frame_size(recording.frames)
    except ReidError as error:  # a video that cannot be opened: others can
        notes.append(f"{boxes.track.nunique()} tracks are left out: {error}")
        folder.end_recording(number, [f"camera {recording.camera}: {note}" for note in notes])
        return
    if len(boxes):
        quality = box_quality(boxes, picture_size=picture_size, image_size=artifact.image_size)
        chosen = choose_boxes(boxes, quality, crops_per_track=crops_per_track)
        chosen = chosen[~chosen.track.isin(folder.tracks_of(number))].reset_index(drop=True)
        notes += _embed_chosen(artifact, recording, chosen, folder, number, bar, **options)
        notes += _counts(boxes, quality, folder.tracks_of(number))
    else:
        notes.append("no tracks")
    folder.end_recording(number, [f"camera {recording.camera}: {note}" for note in notes])


def _embed_chosen(
    artifact: Any,
    recording: Recording,
    chosen: pd.DataFrame,
    folder: JobFolder,
    number: int,
    bar: tqdm,
    **options: Any,
) -> list[str]:
    """Writes the tracks of the boxes chosen; returns what is wrong with the pictures."""
    collector = Collector(artifact, recording, folder.path, **options)
    ends = chosen.groupby("track", sort=False).frame.max().sort_values(kind="stable")
    tracks, last, done, written = ends.index.tolist(), ends.to_numpy(), 0, time.monotonic()
    frames = frames_of(recording.frames, _wanted(recording, chosen), fps=recording.fps)
    start = bar.n
    for frame, crops in cut_crops(frames, recording.boxes, chosen, artifact.image_size):
        collector.add(crops)
        bar.update(start + frame - bar.n)
        if time.monotonic() - written > _SECONDS:
            until = int(np.searchsorted(last, frame, side="right"))
            folder.write_part(number, collector.pooled(tracks[done:until], frames.seconds))
            done, written = until, time.monotonic()
    folder.write_part(number, collector.pooled(tracks[done:], frames.seconds))
    return frames.lines()


def _wanted(recording: Recording, chosen: pd.DataFrame) -> list[int]:
    """Returns the frames to decode: of the boxes chosen and, of a video, of each track's ends, for their times."""
    frames = [chosen.frame]
    if not recording.frames.is_dir():
        of_track = recording.boxes[recording.boxes.track.isin(chosen.track)].groupby("track").frame
        frames += [of_track.min(), of_track.max()]
    return np.unique(np.concatenate([part.to_numpy(np.int64) for part in frames])).tolist()


def _counts(boxes: pd.DataFrame, quality: np.ndarray, tracks: set[str]) -> list[str]:
    """Returns a line for what is odd about a recording's boxes, each with its count."""
    outside, sizes = boxes[quality == 0], boxes.groupby("track").size()
    counts = {
        f"boxes of {outside.track.nunique()} tracks lie outside the picture, or below a pixel in it": len(outside),
        "tracks are of one box": int((sizes == 1).sum()),
        "tracks are left out: none of their boxes has a picture": len(set(sizes.index) - tracks),
    }
    return [f"{count} {words}" for words, count in counts.items() if count]


def _length(recording: Recording) -> int:
    return int(recording.boxes.frame.max()) + 1 if len(recording.boxes) else 0
