"""Enrolling tracks: each becomes an entry of a gallery, from its start until its end, with its best crop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.gallery.gallery import Gallery
from keras_reid.gallery.results import Added
from keras_reid.tracks.link_files import read_links
from keras_reid.tracks.tracks_file import Tracks


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
        identity=_identities(frame, read_links(folder) or {}),
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


def _identities(frame: pd.DataFrame, linked: Mapping[tuple[str, str], str]) -> list[str]:
    """Returns who each track is: the number that linking gave, or else its camera and track."""
    return [linked.get(name, "/".join(name)) for name in zip(frame.camera, frame.track)]
