"""python -m keras_reid.tracks --artifact=PATH --recordings=FILE --output=FOLDER: tracks and video in, embeddings out.

FILE is a CSV with a row for each recording: camera, boxes (a tracker's file: MOT Challenge, AI City, or a CSV or
Parquet with named columns), frames (a folder of pictures, or a video), and perhaps start and fps. For one recording
--boxes and --frames name the same. Of each track the best crops are cut out and embedded, and become one row of
FOLDER/tracks.parquet. The same command goes on where it was interrupted.

With --link the tracks of one person get one global id, across cameras and gaps: FOLDER/links.csv, identities.csv,
global/ (the boxes with global ids) and tracks.html, a page that shows it and takes corrections.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import pandas as pd

from keras_reid import command, options
from keras_reid.data.corrections import read_corrections
from keras_reid.describing_flags import check_artifact
from keras_reid.errors import ReidError
from keras_reid.files import write_text
from keras_reid.tracks.recordings import DETECTED, Recording, read_recordings, recordings_of
from keras_reid.tracks.scores import import_motmetrics, read_scenes
from keras_reid.tracks.tracks_file import Tracks
from keras_reid.tracks.travel_times import known_threshold, learn_travel_times, read_travel_times

_ONE = ("boxes", "frames", "camera", "start", "fps")  # flags that say what a row of --recordings says
_SHOWN = 20


def tracks(flags: command.Flags) -> None:
    command.required(flags, "artifact", "output")
    command.check_folder("output", flags.output)
    _check_linking(flags)
    check_artifact(flags)
    recordings = _recordings(flags)
    _check_cameras(flags, {one.camera for one in recordings})
    if flags.truth:
        read_scenes(recordings, flags.truth)
    for recording in recordings[:_SHOWN]:
        print(recording.lines()[0])
    if len(recordings) > _SHOWN:
        print(f"and {len(recordings) - _SHOWN} more recordings")

    from keras_reid.artifacts import open_artifact  # TensorFlow takes seconds: after the checks
    from keras_reid.tracks.job import embed_tracks

    artifact = open_artifact(flags.artifact)
    if flags.link:
        known_threshold(artifact, flags.threshold)
    how = command.given(flags, "output", "crops_per_track", "pool", "split_gap", "batch_size")
    found, notes = embed_tracks(artifact, recordings, **how)
    print(table(found))
    for note in notes:
        print(note)
    print(f"{len(found)} tracks written to {flags.output}, comparable by {found.metric} distance")
    if flags.link:
        _link(flags, recordings, found)


def table(found: Tracks) -> str:
    """Returns what was found by each camera as a table for the screen."""
    from keras_reid.reports.timelines import as_moment  # TensorFlow takes seconds

    rows = []
    for camera, part in found.frame.groupby("camera", sort=True):
        first, last = part.start.min(), part.end.max()
        crops = sum(map(len, part.crops))
        rows.append([camera, len(part), int(part.boxes.sum()), crops, as_moment(first), as_moment(last)])
    names = ["camera", "tracks", "boxes", "crops", "first", "last"]
    return pd.DataFrame(rows, columns=names).to_string(index=False)


def _check_linking(flags: command.Flags) -> None:
    """Raises ReidError for flags of linking that do not fit, before anything is embedded."""
    if not flags.link:
        for name in ("online", "threshold", "travel_times", "overlapping", "corrections", "truth"):
            if flags[name].value != flags[name].default:
                raise ReidError(f"--{name} is for --link: add it, or leave --{name} out.")
    if flags.online and flags.corrections:
        raise ReidError("--corrections are for links of the whole recording: leave out --online, or --corrections.")
    if flags.online and flags.travel_times == "learn":
        raise ReidError("--travel_times=learn knows the future: give --online a file, such as an earlier day's.")
    if flags.truth:
        import_motmetrics()
    if flags.travel_times not in (None, "learn"):
        read_travel_times(flags.travel_times)
    if flags.corrections:
        read_corrections(flags.corrections)
    for pair in flags.overlapping:
        if len(pair.split(",")) != 2 and flags.overlapping != ["none"]:
            raise ReidError(f"--overlapping={pair}: expected two cameras, such as --overlapping=door,hall, or none.")


def _check_cameras(flags: command.Flags, cameras: set[str]) -> None:
    """Raises ReidError for pairs of cameras that are not recorded; says which of the travel times' are not."""
    named = {camera for pair in flags.overlapping for camera in pair.split(",")} - {"none"}
    if named - cameras:
        raise ReidError(
            f"--overlapping names {', '.join(sorted(named - cameras))}: the cameras are {', '.join(sorted(cameras))}."
        )
    if flags.travel_times not in (None, "learn"):
        strange = {camera for pair in read_travel_times(flags.travel_times).windows for camera in pair} - cameras
        if strange:
            print(f"travel times name {len(strange)} cameras without a recording: {', '.join(sorted(strange))}")


def _link(flags: command.Flags, recordings: list[Recording], found: Tracks) -> None:
    """Links what was found, and writes and shows it."""
    from keras_reid.reports.tracks_page import write_tracks_page
    from keras_reid.tracks.corrections import said_of_tracks
    from keras_reid.tracks.link_files import write_links
    from keras_reid.tracks.linkers import ablation, ablation_table
    from keras_reid.tracks.linking import link
    from keras_reid.tracks.online import link_online
    from keras_reid.tracks.splitting import split_tracks

    windows = None
    if flags.travel_times == "learn":
        windows = learn_travel_times(found, threshold=flags.threshold)
        print(f"learned travel times\n{windows.to_frame().round(1).to_string(index=False)}")
    elif flags.travel_times:
        windows = read_travel_times(flags.travel_times)
    pairs = [tuple(pair.split(",")) for pair in flags.overlapping if pair != "none"] if flags.overlapping else None
    how = {"threshold": flags.threshold, "travel_times": windows, "overlapping": pairs}
    if flags.online:
        links = link_online(found, **how, description="link")
    else:
        same, different = [], []
        if flags.corrections:
            same, different = said_of_tracks(found, read_corrections(flags.corrections), flags.output)
            print(f"corrections: {len(same)} pairs of tracks are the same person, {len(different)} are not")
        links = link(found, **how, same=same, different=different, description="link")
    split, _ = split_tracks(recordings, split_gap=flags.split_gap)
    paths = write_links(flags.output, split, found, links)
    page = os.path.join(flags.output, "tracks.html")
    write_tracks_page(page, found, links, flags.output, title=os.path.basename(flags.output), source=flags.artifact)
    people = pd.Series(links.identities).value_counts()
    print(f"{len(found)} tracks are {len(people)} people, {(people > 1).sum()} of them of several tracks")
    for path in [*paths, page]:
        print(f"written {path}")
    if flags.truth:
        scores = ablation(found, read_scenes(split, flags.truth), identities=links.identities, **how)
        path = os.path.join(flags.output, "scores.csv")
        write_text(path, scores.to_csv(index_label="linker"))
        print(f"written {path}\n{ablation_table(scores)}")


def _recordings(flags: command.Flags) -> list[Recording]:
    detect = os.path.join(flags.output, DETECTED) if flags.detect else None
    given = {name: flags[name].value for name in _ONE if flags[name].value is not None}
    if flags.recordings and not given:
        return read_recordings(flags.recordings, format=flags.format, detect=detect)
    if flags.recordings or not ({"frames"} if flags.detect else {"boxes", "frames"}) <= set(given):
        raise ReidError("expected --recordings, or --boxes with --frames and perhaps --camera, --start and --fps.")
    return recordings_of(**given, format=flags.format, detect=detect)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(tracks, options.tracks_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
