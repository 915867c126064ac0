"""Enrolling tracks: each becomes an entry of a gallery, from its start until its end, with its best crop."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.data.tables import read_csv
from keras_reid.gallery.gallery import Gallery
from keras_reid.gallery.results import Added
from keras_reid.tracks.tracks_file import Tracks

_LINKS = "links.csv"


def enroll_tracks(gallery: Gallery, folder: str | os.PathLike, tracks: Tracks) -> Added:
    """Adds tracks to a gallery; what is there already is not added twice, and gets a new identity where that changed.

    Args:
        gallery: of the same network.
        folder: that holds the tracks and their crops. Where they are linked, `links.csv` in it says whose they are;
            another track's identity is CAMERA/TRACK.
        tracks: what stands in the folder's `tracks.parquet`.

    Raises:
        ReidError: as `Gallery.add`.
    """
    frame, folder = tracks.frame, Path(folder).absolute()
    best = [crops[int(np.argmax(quality))] for crops, quality in zip(frame.crops, frame.quality)]
    # What an entry is known by; two tracks that a tracker began with one box are told apart by their crops alone.
    keys = pd.DataFrame({"source": frame.source, "start": frame.start, "box": frame.box.map(tuple)})
    is_one = ~keys.duplicated(keep=False)
    added = gallery.add(
        tracks.embeddings,
        identity=_identities(frame, folder / _LINKS),
        camera=frame.camera.tolist(),
        time=frame.start.where(tracks.has_clock).tolist(),
        until=frame.end.where(tracks.has_clock).tolist(),
        source=frame.source.where(is_one, "").tolist(),
        box=frame.box.tolist(),
        crop=[str(folder / path) for path in best],
    )
    if tracks.threshold is not None and gallery.header.threshold is None:
        gallery.calibrate({"threshold": tracks.threshold, "false_positive_rate": tracks.false_positive_rate})
    return added


def _identities(frame: pd.DataFrame, links: Path) -> list[str]:
    """Returns who each track is: the number that linking gave, or else its camera and track."""
    names = [f"{camera}/{track}" for camera, track in zip(frame.camera, frame.track)]
    if not links.exists():
        return names
    table = read_csv(links, as_text=("identity", "camera", "track"))
    linked = {f"{row.camera}/{row.track}": row.identity for row in table.itertuples()}
    return [linked.get(name, name) for name in names]
