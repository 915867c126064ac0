"""Folder of a job of embedding tracks: what was asked for, what is finished, and in the end the tracks.

| in it | is |
|---|---|
| job.json | what was asked for: another job is refused |
| parts/0000-000003.parquet | tracks of recording 0, finished |
| parts/0000.json | says that recording 0 is done, in how many parts, and what was odd about it |
| crops/ | pictures |
| tracks.parquet, notes.txt | the end; parts/ goes |
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.files import is_leftover, remove, remove_leftovers, write_text
from keras_reid.locks import locked
from keras_reid.tracks.recordings import DETECTED, Recording
from keras_reid.tracks.tracks_file import FILE_NAME, Tracks, read_tracks, write_tracks

_FORMAT = 1
_LOCK = ".lock"


class JobFolder:
    """The folder of a job.

    Args:
        path: of the folder, made here.
        recipe: of the job, as `recipe_of` gives it.

    Raises:
        ReidError: it holds another job, or something else.
    """

    def __init__(self, path: Path, recipe: dict[str, Any]):
        self.path, self._parts, self._job = path, path / "parts", path / "job.json"
        if os.path.lexists(path) and not path.is_dir():
            raise ReidError(f"output={path} is a file: expected a folder, new or of the same tracks.")
        others = [one for one in path.iterdir() if one.name not in (DETECTED, _LOCK)] if path.is_dir() else []
        found = next((one for one in others if not is_leftover(one)), None)
        if self._job.exists():
            _refuse_another(path, read_job(path), recipe)
            remove_leftovers(self._parts)
        elif found:
            raise ReidError(
                f"output={path} is a folder with {found.name!r} in it, but no tracks: expected a new or empty one."
            )
        else:
            write_text(self._job, json.dumps(recipe, indent=2, ensure_ascii=False) + "\n")

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes out while a block runs; ReidError where one is writing."""
        taken = f"output={self.path}: another process is writing to it. Wait for its end."
        return locked(self.path / _LOCK, seconds=0, taken=taken)

    @property
    def is_finished(self) -> bool:
        return (self.path / FILE_NAME).exists()

    def has_recording(self, number: int) -> bool:
        """Whether a recording is done, and each of its parts can be read."""
        return len(self._read(number)) == self._end(number).get("parts")

    def tracks_of(self, number: int) -> set[str]:
        """Returns the names of a recording's finished tracks."""
        return {track for part in self._read(number) for track in part.frame.track}

    def write_part(self, number: int, tracks: Tracks) -> None:
        """Writes finished tracks of a recording."""
        if len(tracks):
            there = [int(path.stem.split("-")[1]) for path in self._parts.glob(f"{number:04}-*.parquet")]
            write_tracks(self._parts / f"{number:04}-{max(there, default=-1) + 1:06}.parquet", tracks)

    def end_recording(self, number: int, notes: Sequence[str]) -> None:
        """Writes that a recording is done."""
        about = {"parts": len(self._read(number)), "notes": list(notes)}
        write_text(self._parts / f"{number:04}.json", json.dumps(about, ensure_ascii=False) + "\n")

    def finish(self, artifact: Any, recordings: int, notes: Sequence[str]) -> tuple[Tracks, list[str]]:
        """Writes all tracks as one file, and the notes; returns both."""
        parts = [part for number in range(recordings) for part in self._read(number)]
        notes = [*notes, *(note for number in range(recordings) for note in self._end(number)["notes"])]
        if not parts:
            remove(self._parts)
            self._job.unlink()  # nothing in it is worth keeping
            raise ReidError(f"no track has a crop: {'; '.join(notes[:5]) or 'there are no boxes'}.")
        frame = pd.concat([part.frame for part in parts], ignore_index=True)
        order = frame.sort_values(["camera", "start", "track"], kind="stable").index
        embeddings = np.concatenate([part.embeddings for part in parts])[order]
        tracks = dataclasses.replace(parts[0], frame=frame.loc[order].reset_index(drop=True), embeddings=embeddings)
        write_text(self.path / "notes.txt", "".join(f"{note}\n" for note in notes))
        write_tracks(self.path / FILE_NAME, tracks)
        return self.result(artifact)

    def result(self, artifact: Any) -> tuple[Tracks, list[str]]:
        """Returns the finished tracks, with the artifact's threshold of today, and the notes."""
        remove(self._parts)
        tracks = read_tracks(self.path)
        rate = artifact.metadata.get("false_positive_rate")
        if (tracks.threshold, tracks.false_positive_rate) != (artifact.threshold, rate):
            tracks = dataclasses.replace(tracks, threshold=artifact.threshold, false_positive_rate=rate)
            write_tracks(self.path / FILE_NAME, tracks)
        notes = self.path / "notes.txt"
        return tracks, notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []

    def _read(self, number: int) -> list[Tracks]:
        """Returns the parts of a recording; one that is damaged goes, and its tracks are made again."""
        found = []
        for path in sorted(self._parts.glob(f"{number:04}-*.parquet")):
            try:
                found.append(read_tracks(path))
            except ReidError:
                path.unlink()
        return found

    def _end(self, number: int) -> dict[str, Any]:
        try:
            return json.loads((self._parts / f"{number:04}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}


def recipe_of(artifact: Any, recordings: Sequence[Recording], **options: Any) -> dict[str, Any]:
    """Returns what a job is made from: with anything else its tracks would be others."""
    return {
        "format": _FORMAT,
        "artifact": artifact.network_fingerprint or artifact.name,
        **options,
        "recordings": [_recording(one) for one in recordings],
    }


def read_job(path: Path) -> dict[str, Any]:
    """Returns what a folder's job was made from."""
    try:
        job = json.loads((path / "job.json").read_text(encoding="utf-8"))
        if job["format"] != _FORMAT:
            raise ReidError(
                f"output={path} has format {job['format']}, this version reads {_FORMAT}: update keras_reid."
            )
        return job
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ReidError):
            raise
        raise ReidError(f"output={path} is damaged: its job.json cannot be read. Give another folder.") from error


def _refuse_another(path: Path, there: dict[str, Any], recipe: dict[str, Any]) -> None:
    changed = [name for name in recipe if there.get(name) != recipe[name]]
    if changed:
        values = [
            f"another {name}" if name in ("artifact", "recordings") else f"{name}={there.get(name)}, not {recipe[name]}"
            for name in changed
        ]
        raise ReidError(
            f"output={path} holds tracks that were made with {'; '.join(values)}: give the same, or another output."
        )


def _recording(recording: Recording) -> dict[str, Any]:
    frames, boxes = recording.frames.absolute(), pd.util.hash_pandas_object(recording.boxes, index=False)
    stamp = None if frames.is_dir() else [frames.stat().st_size, frames.stat().st_mtime_ns]
    return {
        "camera": recording.camera,
        "boxes": None if recording.source is None else str(recording.source.path.absolute()),
        "boxes_format": None if recording.source is None else recording.source.format,
        "boxes_hash": hashlib.sha256(boxes.to_numpy().tobytes()).hexdigest(),
        "frames": str(frames),
        "frames_stamp": stamp,
        "start": recording.start,
        "fps": recording.fps if recording.fps > 0 else None,  # JSON knows no NaN
    }
