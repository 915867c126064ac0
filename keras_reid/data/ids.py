"""Ids as numbers: people and cameras whose names may be any text are coded, and a column `..._name` keeps the text.

White space at the ends of a name is no part of it. All else is: "lobby" and "Lobby", "1" and "01" are two, whatever
other names there are, and `look_alikes` finds them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import pandas as pd

from keras_reid.data.tables import stripped, whole_numbers

NAME_SUFFIX = "_name"  # of the column that keeps the text


def code_people(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the columns `person_id` and `person_id_name` from names as text `[N]`, none missing.

    Every name is a person, "0" and "-1" too. Ids count the sorted names from 1: the order of the rows does not matter.
    """
    names = stripped(names)
    return {"person_id": _counted(names), f"person_id{NAME_SUFFIX}": names}


def code_cameras(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the column `camera_id` from names as text `[N]`, pandas' NA where a camera is not known.

    If all names are whole numbers, written as Python does, they are the ids. Otherwise ids count the sorted names from
    1, and `camera_id_name` keeps the names. The dtype is int64, or Int64 where some are missing.
    """
    names = stripped(names)
    if names.dropna().str.fullmatch("(?:0|[1-9][0-9]{0,8})").all():
        return {"camera_id": whole_numbers(names)}
    return {"camera_id": _counted(names), f"camera_id{NAME_SUFFIX}": names}


def _counted(names: pd.Series) -> pd.Series:
    codes = pd.Series(pd.factorize(names.astype(object), sort=True)[0], index=names.index)
    return whole_numbers((codes + 1).where(codes >= 0))


def names_of(frame: pd.DataFrame, column: str) -> pd.Series:
    """Returns ids as they came: text where they were coded."""
    return frame[f"{column}{NAME_SUFFIX}"] if f"{column}{NAME_SUFFIX}" in frame else frame[column]


def as_names(ids: pd.Series) -> pd.Series:
    """Returns ids of any kind as text, each by itself: 1 and 1.0 are "1", as pandas turns whole numbers into floats."""
    if pd.api.types.is_float_dtype(ids):
        ids = ids.astype(object).map(lambda one: f"{one:.0f}" if one % 1 == 0 else one, na_action="ignore")
    return stripped(ids)


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns groups of names that differ only in case, Unicode form, inner white space, or how a number is written."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_look(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def told_apart(names: Sequence[str]) -> list[str]:
    """Returns names as a screen tells them apart: where two would look the same, by code points, as 'Jose\\u0301'."""
    return [*map(ascii, names)] if len(set(map(_visible, names))) < len(names) else list(names)


def _visible(name: str) -> str:
    """Returns a name without what is not seen: Unicode's forms, joiners and marks of order, kinds of spaces."""
    text = unicodedata.normalize("NFKC", name)
    return " ".join("".join(character for character in text if unicodedata.category(character) != "Cf").split())


def _look(name: str) -> str:
    """Returns a text that is the same for all names that look like this one."""
    text = _visible(unicodedata.normalize("NFKC", name).casefold())
    text = "".join(str(unicodedata.decimal(character, character)) for character in text)
    text = re.sub(r"(?<![0-9.,])0+(?=[0-9])", "", text)
    number = re.fullmatch(r"\+?(-?[0-9]+)(?:[.,]([0-9]*?)0*)?", text)
    return ".".join(filter(None, number.groups())) if number else text
