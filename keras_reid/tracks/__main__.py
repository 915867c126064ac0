"""python -m keras_reid.tracks --artifact=PATH --recordings=FILE --output=FOLDER: tracks and video in, embeddings out.

FILE is a CSV with a row for each recording: camera, boxes (a tracker's file: MOT Challenge, AI City, or a CSV or
Parquet with named columns), frames (a folder of pictures, or a video), and perhaps start and fps. For one recording
--boxes and --frames name the same. Of each track the best crops are cut out and embedded, and become one row of
FOLDER/tracks.parquet. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd

from keras_reid import command, options
from keras_reid.artifacts.places import check_whole
from keras_reid.errors import ReidError
from keras_reid.tracks.recordings import Recording, read_recordings, recordings_of
from keras_reid.tracks.tracks_file import Tracks

_ONE = ("boxes", "frames", "camera", "start", "fps")  # flags that say what a row of --recordings says
_SHOWN = 20


def tracks(flags: command.Flags) -> None:
    command.required(flags, "artifact", "output")
    command.check_folder("output", flags.output)
    check_whole(flags.artifact)
    recordings = _recordings(flags)
    for recording in recordings[:_SHOWN]:
        print(recording.lines()[0])
    if len(recordings) > _SHOWN:
        print(f"and {len(recordings) - _SHOWN} more recordings")

    from keras_reid.artifacts import open_artifact  # TensorFlow takes seconds: after the checks
    from keras_reid.tracks.job import embed_tracks

    how = command.given(flags, "output", "crops_per_track", "pool", "split_gap", "batch_size")
    found, notes = embed_tracks(open_artifact(flags.artifact), recordings, **how)
    print(table(found))
    for note in notes:
        print(note)
    print(f"{len(found)} tracks written to {flags.output}, comparable by {found.metric} distance")


def table(found: Tracks) -> str:
    """Returns what was found by each camera as a table for the screen."""
    rows = []
    for camera, part in found.frame.groupby("camera", sort=True):
        first, last = part.start.min(), part.end.max()
        crops = sum(map(len, part.crops))
        rows.append([camera, len(part), int(part.boxes.sum()), crops, as_time(first), as_time(last)])
    names = ["camera", "tracks", "boxes", "crops", "first", "last"]
    return pd.DataFrame(rows, columns=names).to_string(index=False)


def as_time(seconds: float) -> str:
    """Returns a time of tracks as text: of the day, or since the start of a recording whose clock is not known."""
    moment = pd.Timestamp(seconds, unit="s").round("s")
    return moment.strftime("%Y-%m-%d %H:%M:%S" if seconds >= 1e8 else "%H:%M:%S")


def _recordings(flags: command.Flags) -> list[Recording]:
    given = {name: flags[name].value for name in _ONE if flags[name].value is not None}
    if flags.recordings and not given:
        return read_recordings(flags.recordings, format=flags.format)
    if flags.recordings or not {"boxes", "frames"} <= set(given):
        raise ReidError("expected --recordings, or --boxes with --frames and perhaps --camera, --start and --fps.")
    return recordings_of(**given, format=flags.format)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(tracks, options.tracks_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
