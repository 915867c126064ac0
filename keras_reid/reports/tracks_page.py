"""Page of linked tracks: who was seen where and when, each link with its distance, and corrections of links."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_reid import __version__
from keras_reid.files import whole_or_not_at_all
from keras_reid.reports.crops import Crop, crops
from keras_reid.reports.html import template
from keras_reid.reports.page import LARGEST
from keras_reid.reports.timelines import THUMBNAIL, Timeline, as_time, span_in_words, timeline
from keras_reid.tracks.linking import Links
from keras_reid.tracks.tracks_file import Tracks

PEOPLE = 300  # on a page, at most
_BARS = 250  # on all timelines together for each camera, at most
_DOUBTFUL = 12
_SIZE = (96, 64)  # of crops, at most


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A track as a page shows it; all of it is text."""

    crop: Crop
    path: str  # of the crop, relative to the tracks' file; empty where there is none
    camera: str
    track: str
    when: str


@dataclasses.dataclass(frozen=True)
class LinkCard:
    """A track and the nearest one of its identity, and what else it might have been linked with."""

    one: Sighting
    other: Sighting
    distance: float
    next: Sighting | None
    next_distance: float
    next_identity: int


@dataclasses.dataclass(frozen=True)
class Person:
    """An identity of several tracks."""

    identity: int
    color: str
    about: str
    sightings: Sequence[Sighting]
    links: Sequence[LinkCard]


@dataclasses.dataclass(frozen=True)
class TracksPage:
    """All that a page of tracks shows."""

    title: str
    source: str
    key: str  # under which a browser keeps the corrections
    answer: str
    about: Sequence[str]
    timelines: Sequence[Timeline]
    doubtful: Sequence[LinkCard]
    people: Sequence[Person]
    linked: int  # identities of several tracks; the page shows the first of them
    version: str = __version__

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {"key": self.key}


def write_tracks_page(
    path: str | os.PathLike,
    tracks: Tracks,
    links: Links,
    folder: str | os.PathLike,
    *,
    title: str = "Tracks",
    source: str = "",
) -> None:
    """Writes the page, whole or not at all; of so many people that it stays below 10 MB.

    Args:
        path: of the HTML file.
        tracks: that were linked.
        links: of them.
        folder: that the tracks' crops are relative to. A crop that is missing is no error: the page says so.
        title: what was linked.
        source: where it comes from, such as the folder's name.

    Raises:
        OSError: the file cannot be written.
    """
    count, html_of = max(1, min(PEOPLE, len(tracks))), template("tracks.html.j2")
    while True:
        page = gather(tracks, links, folder, title=title, source=source, most=count)
        html = html_of.render(page=page).encode("utf-8", "backslashreplace")
        if len(html) <= LARGEST or count == 1:
            break
        count = max(1, count * 2 // 3)
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(html)


def gather(
    tracks: Tracks, links: Links, folder: str | os.PathLike, *, title: str, source: str, most: int = PEOPLE
) -> TracksPage:
    """Returns what the page shows of at most so many people; arguments as of `write_tracks_page`."""
    frame = tracks.frame.assign(identity=links.identities)
    frame["linked"] = frame.groupby("identity").camera.transform("size") > 1
    frame["best"] = [_best(crops_, quality) for crops_, quality in zip(frame.crops, frame.quality)]
    frame = frame.sort_values(["start", "end"], kind="stable")
    identities = frame.identity[frame.linked].drop_duplicates().tolist()
    people, table = identities[:most], _each_once(links.links)
    doubtful = table.assign(margin=table.next_distance - table.distance).sort_values("margin", kind="stable")
    doubtful = doubtful[doubtful.next_distance.notna()].head(min(_DOUBTFUL, most))
    shown = _Sightings(frame, folder, [table[table.identity.isin(people)], doubtful], people)
    span = (frame.start.min(), frame.end.max()) if len(frame) else (0.0, 0.0)
    return TracksPage(
        title,
        source,
        _key(title, frame),
        _answer(frame),
        _about(frame, links, span, len(identities), most),
        [
            _timeline(camera, part, folder, span, set(people), max(1, min(_BARS, most)))
            for camera, part in frame.groupby("camera", sort=True)
        ],
        [shown.card(one) for one in doubtful.itertuples()],
        [
            shown.person(identity, group, table[table.identity == identity])
            for identity, group in frame[frame.identity.isin(people)].groupby("identity", sort=False)
        ],
        len(identities),
    )


class _Sightings:
    """Looks up what a page shows of tracks."""

    def __init__(self, frame: pd.DataFrame, folder: str | os.PathLike, tables: list[pd.DataFrame], people: list[int]):
        names = {*frame[frame.identity.isin(people)][["camera", "track"]].itertuples(index=False, name=None)}
        for table in tables:
            for prefix in ("", "other_", "next_"):
                names |= {*table[[f"{prefix}camera", f"{prefix}track"]].itertuples(index=False, name=None)}
        rows = {(one.camera, one.track): one for one in frame.itertuples()}
        found = [rows[name] for name in sorted(names, key=str) if name in rows]
        pictures = crops([_place(folder, one.best) for one in found], size=_SIZE)
        self._sightings = {
            (one.camera, one.track): Sighting(picture, one.best, one.camera, one.track, _when(one.start, one.end))
            for one, picture in zip(found, pictures)
        }
        self._identity = {name: one.identity for name, one in rows.items()}

    def card(self, one: tuple) -> LinkCard:
        """Returns a row of a table of links."""
        nothing = Sighting(Crop(b"", _SIZE, "no track"), "", one.other_camera, one.other_track, "known before")
        ends = (one.camera, one.track), (one.other_camera, one.other_track)
        sighting, other = (self._sightings.get(name, nothing) for name in ends)
        name = (one.next_camera, one.next_track)
        following = self._sightings.get(name)
        return LinkCard(sighting, other, one.distance, following, one.next_distance, self._identity.get(name, 0))

    def person(self, identity: int, group: pd.DataFrame, table: pd.DataFrame) -> Person:
        """Returns an identity from its tracks and links."""
        sightings = [self._sightings[one.camera, one.track] for one in group.itertuples()]
        cameras = group.camera.nunique()
        seconds = (group.end - group.start).sum()
        about = f"{len(group)} tracks, {_plural(cameras, 'camera')}, {seconds:.0f} seconds in view, "
        about += span_in_words(group.start.min(), group.end.max())
        return Person(identity, f"c{identity % 8}", about, sightings, [self.card(one) for one in table.itertuples()])


def _each_once(links: pd.DataFrame) -> pd.DataFrame:
    """Returns the links without the way back; of both the one with the nearer alternative."""
    ends = [tuple(sorted([(one.camera, one.track), (one.other_camera, one.other_track)])) for one in links.itertuples()]
    ordered = links.assign(ends=ends).sort_values("next_distance", kind="stable")
    return ordered.drop_duplicates("ends").sort_index().drop(columns="ends")


def _timeline(
    camera: str, frame: pd.DataFrame, folder: str | os.PathLike, span: tuple[float, float], shown: set[int], most: int
) -> Timeline:
    pictures = crops([_place(folder, path) for path in frame.best.head(most)], size=THUMBNAIL)
    return timeline(camera, frame, pictures, span, shown, most)


def _best(paths: Sequence[str], quality: Sequence[float]) -> str:
    """Returns the crop of the highest quality; empty where there is none."""
    if not len(paths):
        return ""
    return paths[int(np.argmax(quality))] if len(quality) == len(paths) else paths[0]


def _place(folder: str | os.PathLike, crop: str) -> str | None:
    return os.path.join(folder, crop) if crop else None


def _when(start: float, end: float) -> str:
    return f"{as_time(start)} to {as_time(end)}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _answer(frame: pd.DataFrame) -> str:
    people, cameras = frame.identity.nunique(), frame.camera.nunique()
    if not len(frame):
        return "No track was found"
    tracks = f"{_plural(len(frame), 'track')} of {_plural(cameras, 'camera')}"
    return f"{tracks} {'is' if len(frame) == 1 else 'are'} {people:,} {'person' if people == 1 else 'people'}"


def _about(frame: pd.DataFrame, links: Links, span: tuple[float, float], linked: int, most: int) -> list[str]:
    """Returns how it was linked, in sentences."""
    if not len(frame):
        return []
    several = frame[frame.linked].groupby("identity").camera.nunique().gt(1).sum()
    sentences = [
        f"{linked:,} people have several tracks, and {several:,} were seen by several cameras.",
        f"Seen {span_in_words(*span)}.",
        f"Tracks are linked up to a mean distance of {links.threshold:.4g}.",
    ]
    if links.travel_times is not None:
        sentences.append(
            f"Travel times are known for {_plural(len(links.travel_times.windows), 'way')} between cameras."
        )
    if linked > most:
        sentences.append(f"The page shows the first {most:,} people of several tracks.")
    return sentences


def _key(title: str, frame: pd.DataFrame) -> str:
    """Returns a name that the same tracks always have."""
    names = "\n".join([title, *(f"{one.camera}\t{one.track}\t{one.start}" for one in frame.itertuples())])
    return f"keras_reid links {hashlib.sha256(names.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"
