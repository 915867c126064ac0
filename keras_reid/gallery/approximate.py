"""Approximate search: an index that looks at a part of the gallery, and the share of the true nearest that it finds."""

from __future__ import annotations

import numpy as np

from keras_reid.gallery.header import Header
from keras_reid.gallery.nearest import nearest
from keras_reid.gallery.selection import Selection, keys
from keras_reid.gallery.store import Store

_SAMPLE = 50  # entries that are searched for both ways
_NEIGHBORS = 10


def indexed(store: Store) -> Header:
    """Returns the header once there is an index, whose recall it tells; a small gallery needs none."""
    header = store.read(store.read_header)
    if header is None or header.recall is not None:
        return store.header
    if store.read(lambda: store.engine.count(Selection())) < store.engine.fewest_to_index:
        return header
    with store.writing():
        store.engine.build_index(header.metric)
        store.write_header(recall=_recall(store))
    return store.header


def _recall(store: Store) -> float:
    """Returns the share of the true nearest that approximate search finds, the mean over a sample of the entries."""
    shares = []
    for key, query in zip(*_sample(store)):
        exact, approximate = (
            set(
                nearest(store.engine, query, _NEIGHBORS + 1, Selection(), metric=store.header.metric, approximate=way)[
                    0
                ].key
            )
            for way in (False, True)
        )
        shares.append(len((exact & approximate) - {key}) / max(1, len(exact - {key})))
    return float(np.mean(shares))


def _sample(store: Store) -> tuple[list[str], np.ndarray]:
    """Returns keys and embeddings of a few entries; keys are hashes, so the lowest are a random choice."""
    every = np.concatenate([frame.key for frame, _ in store.engine.rows(Selection(), embeddings=False)])
    chosen = np.sort(every.astype(str))[:_SAMPLE].tolist()
    parts = list(store.engine.rows(keys(chosen)))
    return [key for frame, _ in parts for key in frame.key], np.concatenate([rows for _, rows in parts])
