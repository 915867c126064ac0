"""Results of a gallery: the entries that a search found, who somebody is, and what was forgotten."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from keras_reid.gallery.entries import times_of


@dataclasses.dataclass(frozen=True)
class Added:
    """What an `add` did.

    Attributes:
        new: entries that were not there.
        renamed: entries that were there under another identity.
        known: entries that were there already.
    """

    new: int = 0
    renamed: int = 0
    known: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(self.new + other.new, self.renamed + other.renamed, self.known + other.known)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The entries nearest to somebody, the nearest first.

    Attributes:
        hits: a row each: rank (from 1), distance (float64, as `Artifact.distance`), identity, camera, time (UTC), until
            (of a track), source, box, crop, key; text is "" where it is not known.
        embeddings: float32 `[hits, D]`, of the entries found.
        metric: "euclidean" or "cosine".
        threshold: the largest distance that counts as the same person; None before it is calibrated.
        searched: number of entries that the search had to choose from.
        recall: of an approximate search, its share of the true nearest on a sample; None for an exact one.
        reranked: whether the order is that of re-ranking, not that of the distances.
    """

    hits: pd.DataFrame
    embeddings: np.ndarray
    metric: str
    threshold: float | None
    searched: int
    recall: float | None = None
    reranked: bool = False


@dataclasses.dataclass(frozen=True)
class Identification:
    """Who somebody is, by the enrolled entry that is nearest.

    Attributes:
        identity: None for nobody who is enrolled, "unknown".
        nearest: the identity of the nearest entry, whether or not it is near enough; None where nobody is enrolled.
        distance: of the nearest entry; infinite where nobody is enrolled.
        threshold: up to which it counts.
    """

    identity: str | None
    nearest: str | None
    distance: float
    threshold: float


@dataclasses.dataclass(frozen=True)
class Forgotten:
    """What a `forget` did.

    Attributes:
        entries: how many were removed.
        proof: one sentence: whether the bytes of removed embeddings are still in the gallery's files.
        proven: whether they were looked for, and are gone.
    """

    entries: int
    proof: str
    proven: bool


def hits_of(entries: pd.DataFrame, distances: np.ndarray) -> pd.DataFrame:
    """Returns the table of hits from entries in the order in which they were found."""
    columns = {"rank": np.arange(1, len(entries) + 1), "distance": np.asarray(distances, np.float64)}
    rest = entries[["identity", "camera", "time", "until", "source", "box", "crop", "key"]].reset_index(drop=True)
    return pd.DataFrame(columns).join(rest.assign(time=times_of(rest.time), until=times_of(rest.until)))


def span(time: pd.Timestamp, until: pd.Timestamp) -> str:
    """Returns when a hit was seen, such as 2026-05-01 14:02:10 to 14:02:31 UTC; "" where it is not known."""
    if pd.isna(time):
        return ""
    if pd.isna(until):
        return time.isoformat(sep=" ", timespec="seconds")
    end = until.strftime("%H:%M:%S" if until.date() == time.date() else "%Y-%m-%d %H:%M:%S")
    return f"{time:%Y-%m-%d %H:%M:%S} to {end} UTC"
