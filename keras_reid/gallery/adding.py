"""Adding: entries come into a gallery once, whatever is killed or given again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.gallery import audit
from keras_reid.gallery.header import Header, calibration_of
from keras_reid.gallery.results import Added
from keras_reid.gallery.selection import keys
from keras_reid.gallery.store import Store

_ROWS_AT_ONCE = 50_000


def make_or_update(
    store: Store,
    width: int,
    *,
    metric: str | None,
    network_fingerprint: str | None,
    test_time_augmentation: str | None,
    keep_days: float | None,
    metadata: Mapping[str, Any],
) -> Header:
    """Makes the gallery where there is none, takes over threshold and days, and ends an interrupted forget."""
    if not store.is_there():
        store.make(Header(metric or "euclidean", width, test_time_augmentation=test_time_augmentation or "none"))
    header = store.header
    wanted = {
        "network_fingerprint": header.network_fingerprint or network_fingerprint,
        "calibration": calibration_of(metadata, header.test_time_augmentation) or header.calibration,
        "keep_days": header.keep_days if keep_days is None else keep_days,
    }
    if any(getattr(header, name) != value for name, value in wanted.items()):
        store.write_header(**wanted)
    if header.unfinished_forget:
        store.purge()
    return store.header


def add_entries(store: Store, entries: pd.DataFrame, embeddings: np.ndarray) -> Added:
    """Adds entries whose keys are not there; those there under another identity get the new one, if there is one."""
    counts = Added()
    for start in range(0, len(entries), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        counts += _add_part(store.engine, entries[part].reset_index(drop=True), embeddings[part])
    store.engine.tidy()
    return counts


def identities_of(engine: Any, wanted: Sequence[str]) -> dict[str, str]:
    """Returns key -> identity of those of the keys that are there."""
    found = {}
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        for frame, _ in engine.rows(keys(wanted[start : start + _ROWS_AT_ONCE]), embeddings=False):
            found.update(zip(frame.key, frame.identity))
    return found


def is_renamed(held: pd.Series, identity: pd.Series) -> np.ndarray:
    """Returns which entries have another identity now than is held; one that is not known changes nothing."""
    wanted = identity.astype("string")
    return ((wanted != "") & (held.astype("string").fillna("") != wanted)).to_numpy(bool)


def _add_part(engine: Any, entries: pd.DataFrame, embeddings: np.ndarray) -> Added:
    held = entries.key.map(identities_of(engine, entries.key.tolist())).astype("string")
    is_new = held.isna().to_numpy(bool)
    renamed = ~is_new & is_renamed(held, entries.identity)
    wanted = is_new | renamed
    if wanted.any():
        audit.record(engine, "add", int(wanted.sum()))  # first: nobody comes in without a line in the log
        engine.upsert(entries[wanted].reset_index(drop=True), embeddings[wanted])
    return Added(int(is_new.sum()), int(renamed.sum()), int((~wanted).sum()))
