"""Attention on a page: overlays for a sample of the pairs that its ranked lists show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_reid.artifacts import Artifact
from keras_reid.errors import ReidError
from keras_reid.evaluation.embedded import Embedded
from keras_reid.reports.attention import attention_maps, overlay
from keras_reid.reports.crops import Crop, jpeg_of, photo
from keras_reid.reports.queries import Block, ShownHit, ShownQuery

QUERIES, HITS = 3, 3  # of each block, of each list
_OTHERS = 2000  # gallery embeddings behind the mean

Looks = dict[tuple[int, int], tuple[Crop, Crop]]


def looks(artifact: Artifact | None, embedded: Embedded, blocks: Sequence[Block]) -> tuple[Looks, str]:
    """Returns the overlays of both photos by the rows of query and gallery image, and a sentence on what they are."""
    if artifact is None:
        return {}, "Attention is not shown: it needs the network, and here are embeddings alone."
    hits = [hit for block in blocks for query in block.queries[:QUERIES] for hit in _counted(query)]
    places = dict.fromkeys(hit.place for hit in hits)
    paths = [frame.image_path if "image_path" in frame else None for frame in (embedded.query, embedded.gallery)]
    if any(side is None for side in paths):
        return {}, "Attention is not shown: it needs photos."
    pairs = {place: [photo(side.iloc[row]) for side, row in zip(paths, place)] for place in places}
    pairs = {place: both for place, both in pairs.items() if not any(isinstance(one, str) for one in both)}
    others = embedded.gallery_embeddings[:: -(-len(embedded.gallery) // _OTHERS)]
    try:
        maps = attention_maps(artifact, *_columns(pairs.values()), others=others)
    except ReidError as error:
        return {}, f"Attention is not shown: {error}"
    found = {
        place: tuple(jpeg_of(overlay(*one)) for one in zip(both, sides))
        for (place, both), sides in zip(pairs.items(), zip(*maps))
    }
    about = (
        f"Attention, what in query and image made them close, is there for the first {HITS} images that count, of the "
        f"first {QUERIES} queries of each block ({len(found)} pairs): bright places did most."
    )
    return found, about


def _counted(query: ShownQuery) -> list[ShownHit]:
    return [hit for hit in query.hits if hit.rank][:HITS]


def _columns(pairs) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = list(pairs)
    return [one for one, _ in pairs], [other for _, other in pairs]
