"""Selection: which entries of a gallery a search looks at, or a forget removes; values, never pieces of a query.

Both engines' languages are one but for lists and quotes: `condition` writes it, and each engine quotes every value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras_reid.errors import ReidError
from keras_reid.gallery.entries import NO_TIME, microseconds, texts

_FIELDS = {"identities": "identity", "cameras": "camera", "sources": "source"}


@dataclasses.dataclass(frozen=True)
class Selection:
    """Entries for which all that is set holds.

    Attributes:
        among: column -> values, of which the entry has one.
        not_cameras: cameras that the entry is not from; one whose camera is not known is from none of them.
        since: earliest time, microseconds since 1970, or that of a track's end. An entry whose time is not known is in
            no span of time.
        until: time before which the entry was seen.
        before: time before which the entry was seen or, where that is not known, added.
        named: whether the entry has an identity.
    """

    among: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_cameras: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    before: int | None = None
    named: bool = False

    @property
    def is_all(self) -> bool:
        return self == Selection()

    @property
    def seen(self) -> tuple[int, int | None] | None:
        """The span of times, from the first on and before the second; None where any time will do."""
        if self.since is None and self.until is None:
            return None
        return NO_TIME + 1 if self.since is None else self.since, self.until


def selection(
    *,
    identities: Sequence[Any] | Any = None,
    cameras: Sequence[Any] | Any = None,
    sources: Sequence[Any] | Any = None,
    not_cameras: Sequence[Any] | Any = None,
    since: Any = None,
    until: Any = None,
    before: Any = None,
    named: bool = False,
) -> Selection:
    """Returns a selection from what a user gives: one value or several, text or whole numbers; times as for entries.

    Raises:
        ReidError: no value where some are expected, or a time that is none.
    """
    given = {"identities": identities, "cameras": cameras, "sources": sources}
    among = tuple((_FIELDS[name], _values(name, value)) for name, value in given.items() if value is not None)
    times = {
        name: None if value is None else int(microseconds(name, value, 1)[0])
        for name, value in (("since", since), ("until", until), ("before", before))
    }
    if NO_TIME in times.values():
        raise ReidError("since, until and before: expected a time, such as 2026-05-01.")
    return Selection(among, () if not_cameras is None else _values("not_cameras", not_cameras), named=named, **times)


def condition(
    selected: Selection, listed: Callable[[tuple[str, ...]], str], no_text: str, *, has_ends: bool = True
) -> str:
    """Returns a selection as an engine's condition; empty for all entries.

    Args:
        selected: to write.
        listed: returns values as the engine's list of literals, each quoted.
        no_text: the engine's literal of empty text.
        has_ends: whether entries have the column until; a gallery of an earlier version has none.
    """
    conditions = [f"{column} in {listed(values)}" for column, values in selected.among]
    if selected.not_cameras:
        conditions.append(f"camera not in {listed(selected.not_cameras)}")
    if selected.seen:
        first, end = selected.seen
        later = f"(time >= {first:d} or until >= {first:d})" if has_ends else f"time >= {first:d}"
        conditions.append(later + ("" if end is None else f" and time < {end:d}"))
    if selected.before is not None:
        first, end = NO_TIME + 1, selected.before
        conditions.append(f"((time >= {first:d} and time < {end:d}) or (time < {first:d} and added < {end:d}))")
    if selected.named:
        conditions.append(f"identity != {no_text}")
    return " and ".join(conditions)


def keys(values: Sequence[str]) -> Selection:
    """Returns the selection of the entries with these keys."""
    return Selection((("key", tuple(values)),))


def _values(name: str, values: Any) -> tuple[str, ...]:
    values = [values] if isinstance(values, (str, int)) else list(values)
    found = tuple(texts(name, values, len(values)))
    if not found or "" in found:
        raise ReidError(f"{name}={values!r}: expected one or more names, none of them empty.")
    return found
