"""Forgetting: entries leave the gallery and its disk, also when a forget is interrupted, and that is looked into."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reid.gallery import audit, proof
from keras_reid.gallery.entries import now
from keras_reid.gallery.nearest import nearest
from keras_reid.gallery.results import Forgotten
from keras_reid.gallery.selection import Selection
from keras_reid.gallery.store import Store

_DAY = 86_400_000_000  # microseconds


def forget(store: Store, selected: Selection, event: str = "forget") -> Forgotten:
    """Removes the entries selected, from the disk too, and looks for some of them in every file.

    The header says that a forget is unfinished until nothing of it is left on the disk: the next writer ends it.
    """
    engine = store.engine
    count = engine.count(selected)
    if not count:
        return end_interrupted(store) or Forgotten(0, "no entry matches", False)
    sample = next(engine.rows(selected))[1][: proof.SAMPLE]
    before = proof.found_in(engine.files(), sample)
    audit.record(engine, event, count, by=audit.rules_of(selected))
    store.write_header(unfinished_forget=True, recall=None)
    engine.delete(selected)
    store.purge()
    files = engine.files()
    after = {row for row in proof.found_in(files, sample) if not _is_held(store, sample[row])}
    about = {"local": engine.folder is not None, "promised": engine.forgets_physically, "engine": engine.name}
    return Forgotten(count, *proof.verdict(before, after, len(files), **about))


def end_interrupted(store: Store) -> Forgotten | None:
    """Ends a forget that was interrupted after its delete; None where there is none to end.

    Its embeddings can no longer be read to be looked for: that no file is left that was there before proves as much,
    because what remains is written anew.
    """
    if not store.header.unfinished_forget:
        return None
    engine = store.engine
    before = _as_written(engine)
    store.purge()
    left = before & _as_written(engine)
    about = {"local": engine.folder is not None, "promised": engine.forgets_physically, "engine": engine.name}
    said, proven = proof.verdict_of_interrupted(len(before), len(left), **about)
    return Forgotten(0, f"an interrupted forget is ended; {said}", proven)


def expire(store: Store) -> Forgotten:
    """Forgets what is older than `keep_days` allows, by whole days: at most one such forget comes a day."""
    keep_days = store.header.keep_days
    selected = None if keep_days is None else Selection(before=int(now() // _DAY * _DAY - keep_days * _DAY))
    if selected is None or not store.engine.count(selected):
        return Forgotten(0, "no entry is too old", False)
    return forget(store, selected, "expire")


def _as_written(engine: Any) -> set[tuple]:
    """Returns the files of entries, each as it was written last."""
    found = [(path, path.stat()) for path in engine.entry_files()]
    return {(path, about.st_ino, about.st_mtime_ns) for path, about in found}


def _is_held(store: Store, embedding: np.ndarray) -> bool:
    """Whether an entry that is left has the very same embedding."""
    rows = nearest(store.engine, embedding, 1, Selection(), metric=store.header.metric)[1]
    return len(rows) > 0 and np.array_equal(rows[0], embedding)
