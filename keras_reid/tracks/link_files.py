"""Files of links: who is who as tables, and the tracker's boxes with people's numbers for the tracker's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_reid.data.tables import check_columns, read_csv
from keras_reid.files import whole_or_not_at_all, write_text
from keras_reid.tracks.crops import safe_name
from keras_reid.tracks.linking import Links
from keras_reid.tracks.recordings import Recording, write_boxes
from keras_reid.tracks.tracks_file import Tracks

LINKS, IDENTITIES, BOXES = "links.csv", "identities.csv", "global"


def write_links(folder: str | os.PathLike, recordings: Sequence[Recording], tracks: Tracks, links: Links) -> list[Path]:
    """Writes `links.csv`, `identities.csv`, and in `global/` the boxes of each recording; each whole or not at all.

    Args:
        folder: of the tracks' file.
        recordings: of the tracks, as `split_tracks` returns them. Boxes of tracks without a crop are left out.
        tracks: T tracks.
        links: of them.

    Returns:
        Their paths.

    Raises:
        ReidError: a file of boxes is gone or has changed.
    """
    folder = Path(folder)
    tables = {folder / LINKS: links.links, folder / IDENTITIES: links.where(tracks)}
    for path, table in tables.items():
        write_text(path, table.to_csv(index=False))
    people = pd.Series(links.identities, pd.MultiIndex.from_frame(tracks.frame[["camera", "track"]]))
    paths: list[Path] = []
    for recording in recordings:
        suffix = recording.source.path.suffix if recording.source else ".txt"
        names = (
            f"{safe_name(recording.camera)}{number}{suffix}" for number in ("", *(f"-{n}" for n in range(2, 10**6)))
        )
        path = next(place for name in names if (place := folder / BOXES / name) not in paths)
        path.parent.mkdir(exist_ok=True)
        known = people[people.index.get_level_values("camera") == recording.camera]
        with whole_or_not_at_all(path) as temporary:
            write_boxes(recording, dict(zip(known.index.get_level_values("track"), known.tolist())), temporary)
        paths.append(path)
    return [*tables, *paths]


def read_links(folder: str | os.PathLike) -> dict[tuple[str, str], str] | None:
    """Returns the global id of each linked track, by camera and track; None where nothing was linked.

    Raises:
        ReidError: `links.csv` is no such table.
    """
    path, names = Path(folder, LINKS), ("identity", "camera", "track")
    if not path.is_file():
        return None
    links = read_csv(path, as_text=names)
    check_columns(links, path, names, ", as python -m keras_reid.tracks --link writes them.")
    return {(camera, track): identity for identity, camera, track in links[list(names)].itertuples(index=False)}
