"""Page of a search: photos of one person and the entries of a gallery that are nearest, as one HTML file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from keras_reid import __version__
from keras_reid.files import whole_or_not_at_all
from keras_reid.gallery.results import SearchResult, span
from keras_reid.reports.crops import HEIGHT, WIDTH, Crop, crop_of
from keras_reid.reports.html import template
from keras_reid.reports.photos import as_text

LARGEST = 500  # hits on a page


@dataclasses.dataclass(frozen=True)
class Found:
    """An entry of a gallery as a page shows it; text is empty where it is not known."""

    crop: Crop
    rank: int
    distance: float
    near: bool | None  # whether it counts as the same person; None without a threshold
    identity: str
    camera: str
    time: str
    source: str


@dataclasses.dataclass(frozen=True)
class SearchPage:
    """All that a page of a search shows."""

    asked: Sequence[tuple[str, Crop]]  # name and picture of each photo
    found: Sequence[Found]
    hits: int  # of the search; a page shows the first `LARGEST`
    answer: str
    gallery: str
    how: Sequence[str]
    version: str = __version__


def write_search_page(
    path: str | os.PathLike, photos: Sequence[str], result: SearchResult, *, answer: str, gallery: str
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the HTML file.
        photos: paths of those that were searched for, all of one person.
        result: of the search. An entry's picture is its crop or else its source, cut to its box; where that file is not
            there any more, the page says so.
        answer: who it is, in a sentence.
        gallery: its name.

    Raises:
        OSError: the file cannot be written.
    """
    page = SearchPage(
        [(as_text(os.path.basename(photo)), crop_of(photo)) for photo in photos],
        [_found(hit, result.threshold) for hit in result.hits.head(LARGEST).itertuples()],
        len(result.hits),
        answer,
        gallery,
        _how(result),
    )
    html = template("search.html.j2").render(page=page)
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(html.encode("utf-8", "backslashreplace"))


def _found(hit: tuple, threshold: float | None) -> Found:
    text = {name: as_text(getattr(hit, name)) for name in ("identity", "camera", "source", "box", "crop")}
    box = None if text["crop"] or not text["box"] else tuple(float(number) for number in text["box"].split(","))
    return Found(
        crop_of(text["crop"] or text["source"] or None, size=(HEIGHT, WIDTH), box=box),
        int(hit.rank),
        float(hit.distance),
        None if threshold is None else bool(hit.distance <= threshold),
        text["identity"],
        text["camera"],
        span(hit.time, hit.until),
        os.path.basename(text["source"]) or text["source"],
    )


def _how(result: SearchResult) -> list[str]:
    """Returns how it was searched, in sentences."""
    sentences = [f"{result.searched:,} entries were searched, by {result.metric} distance."]
    if result.threshold is None:
        sentences.append("The gallery holds no threshold: no distance here says whether it is the same person.")
    else:
        sentences.append(f"Near is a distance up to {result.threshold:.4g}, the calibrated threshold.")
    if result.recall is not None:
        sentences.append(f"The search was approximate: it finds {result.recall:.1%} of the true nearest 10.")
    if result.reranked:
        sentences.append("The order is that of k-reciprocal re-ranking, not of the distances.")
    if len(result.hits) > LARGEST:
        sentences.append(f"The page shows the first {LARGEST} of {len(result.hits):,}.")
    return sentences
