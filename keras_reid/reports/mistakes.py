"""Mistakes on a page: what a threshold would answer wrongly, and identities that are likely one person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keras_reid.errors import ReidError
from keras_reid.evaluation.confusions import (
    MERGE,
    ConfusedIdentities,
    confused_identities,
    suggested_corrections,
)
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.threshold_errors import Pair, errors_at
from keras_reid.evaluation.verification import VerificationResult
from keras_reid.reports.photos import GALLERY, QUERY, Photo, Photos, as_text
from keras_reid.reports.sections import Table

_RATE = 1e-3  # of false positives, for a threshold where none is calibrated
_PAIRS, _CONFUSED = 10, 12  # the worst of each kind; pairs of identities


class ShownPair(NamedTuple):
    """A query and a gallery image."""

    query: Photo
    image: Photo
    distance: float


class Threshold(NamedTuple):
    """What a threshold would answer."""

    about: str  # which one it is
    counts: Table
    accepts: list[ShownPair]  # two people, the nearest first
    rejects: list[ShownPair]  # one person, the farthest first


class Confused(NamedTuple):
    """Two identities that are likely one, or one of which likely holds images of the other."""

    first: str
    second: str
    about: str
    pairs: list[ShownPair]
    corrections: list[tuple[str, str, str]]  # that follow: image_path, other_path, verdict; empty without files


def at_threshold(
    embedded: Embedded, verification: VerificationResult, threshold: float | None, photos: Photos, **rules: str
) -> Threshold:
    """Returns what the calibrated threshold would answer; without one, what another one would, which is named."""
    about = "The calibrated threshold"
    if threshold is None:
        try:
            point, which = verification.operating_point(_RATE), f"has a false positive rate of {_RATE:g} here"
        except ReidError:  # too few pairs, or too many at distance 0
            point, which = verification.equal_error(), "refuses and accepts wrongly at one rate here"
        threshold, about = point.threshold, f"No threshold is calibrated for these distances. The one that {which}"
    found = errors_at(embedded, threshold, count=_PAIRS, **rules)
    genuine, impostor = found.genuine_pairs, found.impostor_pairs
    columns = ("pairs of", "pairs", "called the same person", "called two people")
    accepts, rejects = found.false_accepts, found.false_rejects
    same = _part(genuine - rejects, genuine), f"false accepts: {_part(accepts, impostor)}"
    two = f"false rejects: {_part(rejects, genuine)}", _part(impostor - accepts, impostor)
    rows = [("one person", f"{genuine:,}", same[0], two[0]), ("two people", f"{impostor:,}", same[1], two[1])]
    return Threshold(
        f"{about} is {threshold:.4g}: up to that distance two images are called the same person.",
        Table("What it answers", columns, rows),
        _shown(found.worst_accepts, photos),
        _shown(found.worst_rejects, photos),
    )


def _part(count: int, pairs: int) -> str:
    return f"{count:,} ({100 * count / pairs:.3g} %)"


def confused(embedded: Embedded, photos: Photos, **rules: str) -> list[Confused]:
    """Returns the pairs of identities that are most likely label errors, the most likely first."""
    sides = embedded.query, embedded.gallery
    files = all("image_path" in side and side.image_path.notna().all() for side in sides)
    shown = []
    for one in confused_identities(embedded, count=_CONFUSED, **rules):
        follow = [tuple(map(as_text, row)) for row in suggested_corrections(embedded, one)] if files else []
        names = as_text(one.first), as_text(one.second)
        shown.append(Confused(*names, _suggestion(one), _shown(one.evidence, photos), follow))
    return shown


def _suggestion(one: ConfusedIdentities) -> str:
    if one.suggestion == MERGE:
        return f"likeness {one.score:.2f}: perhaps one person under two names"
    count = len(one.moved)
    images = "1 image" if count == 1 else f"{count} images"
    return f"likeness {one.score:.2f}: perhaps {images} of the first {'shows' if count == 1 else 'show'} the second"


def _shown(pairs: Iterable[Pair], photos: Photos) -> list[ShownPair]:
    pairs = list(pairs)
    found = photos.of(place for one in pairs for place in ((QUERY, one.query), (GALLERY, one.image)))
    return [ShownPair(found[QUERY, one.query], found[GALLERY, one.image], one.distance) for one in pairs]
