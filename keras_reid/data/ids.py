"""Ids as numbers: people and cameras whose names may be any text are coded, and a column `..._name` keeps the text."""

from __future__ import annotations

import pandas as pd

from keras_reid.data.tables import whole_numbers

NAME_SUFFIX = "_name"  # of the column that keeps the text


def code_people(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the columns `person_id` and `person_id_name` from names as text `[N]`, none missing.

    Every name is a person, "0" and "-1" too. Ids count the sorted names from 1: the order of the rows does not matter.
    """
    return {"person_id": _counted(names), f"person_id{NAME_SUFFIX}": names.astype("string")}


def code_cameras(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the column `camera_id` from names as text `[N]`, pandas' NA where a camera is not known.

    If all names are whole numbers, they are the ids. Otherwise ids count the sorted names from 1, and `camera_id_name`
    keeps the names. The dtype is int64, or Int64 where some are missing.
    """
    text = names.astype("string")
    if text.dropna().str.fullmatch(r"\d{1,9}").all():
        return {"camera_id": whole_numbers(text)}
    return {"camera_id": _counted(text), f"camera_id{NAME_SUFFIX}": text}


def _counted(names: pd.Series) -> pd.Series:
    codes = pd.Series(pd.factorize(names.astype(object), sort=True)[0], index=names.index)
    return whole_numbers((codes + 1).where(codes >= 0))
