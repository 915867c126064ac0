"""Audit log of a gallery: when how many entries came and went, and by which rule. It names nobody and no file."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

import pandas as pd

from keras_reid.gallery.entries import now
from keras_reid.gallery.selection import Selection

_PREFIX = "event-"


def record(engine: Any, event: str, entries: int, **about: Any) -> None:
    """Appends an event to the log; records are never changed."""
    moment = now()
    key = f"{_PREFIX}{moment:020d}-{uuid.uuid4().hex[:8]}"
    time = datetime.datetime.fromtimestamp(moment / 1e6, datetime.timezone.utc).isoformat(timespec="milliseconds")
    engine.put_record(key, json.dumps({"time": time, "event": event, "entries": entries, **about}))


def rules_of(selected: Selection) -> list[str]:
    """Returns by what entries were chosen, such as ["identity", "before"], without the values."""
    rules = [column for column, _ in selected.among]
    return rules + [name for name in ("before",) if getattr(selected, name) is not None]


def read_log(records: dict[str, str]) -> pd.DataFrame:
    """Returns the events in order: time, event, entries, and by what."""
    events = [json.loads(text) for key, text in sorted(records.items()) if key.startswith(_PREFIX)]
    frame = pd.DataFrame(events, columns=["time", "event", "entries", "by"])
    return frame.assign(by=frame.by.map(lambda rules: ", ".join(rules) if isinstance(rules, list) else ""))
