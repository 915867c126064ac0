"""Clocks of recordings: when each began, in unix seconds."""

from __future__ import annotations

import pandas as pd

from keras_reid.errors import ReidError


def start_in(text: str) -> float:
    """Returns unix seconds of a time; 0 where none is given."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        return _time(text)
    if not 0 <= seconds < 1e11:
        raise ReidError(
            f"start={text}, expected unix seconds, such as 1714564800; milliseconds are 1000 times too many."
        )
    return seconds


def _time(text: str) -> float:
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ReidError(f"start={text}, expected a time such as 2024-05-01T14:00:00+02:00, or unix seconds.") from error
    if moment.tzinfo is None:
        raise ReidError(
            f"start={text} has no time zone: write it behind, as in 2024-05-01T14:00:00+02:00, or Z for UTC."
        )
    return moment.timestamp()
