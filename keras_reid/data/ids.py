"""Ids as numbers: people and cameras whose names may be any text are coded, and a column `..._name` keeps the text."""

from __future__ import annotations

import numpy as np
import pandas as pd

NAME_SUFFIX = "_name"  # of the column that keeps the text


def code_people(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the columns `person_id` and `person_id_name` from names as text `[N]`, none missing.

    Every name is a person, "0" and "-1" too. Ids count the sorted names from 1: the order of the rows does not matter.
    """
    _, codes = np.unique(names.to_numpy(str), return_inverse=True)
    people = pd.Series(codes.astype(np.int64) + 1, index=names.index)
    return {"person_id": people, f"person_id{NAME_SUFFIX}": names.astype("string")}


def code_cameras(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the column `camera_id` from names as text `[N]`, pandas' NA where a camera is not known.

    If all names are whole numbers, they are the ids. Otherwise ids count the sorted names from 1, and `camera_id_name`
    keeps the names. The dtype is int64, or Int64 where some are missing.
    """
    text = names.astype("string")
    known = text.dropna()
    if known.str.fullmatch(r"\d{1,9}").all():
        numbers = text.astype("Int64")
        return {"camera_id": numbers if numbers.isna().any() else numbers.astype("int64")}
    numbers = pd.Series(pd.NA, index=text.index, dtype="Int64")
    _, codes = np.unique(known.to_numpy(str), return_inverse=True)
    numbers[known.index] = codes.astype(np.int64) + 1
    return {
        "camera_id": numbers if numbers.isna().any() else numbers.astype("int64"),
        f"camera_id{NAME_SUFFIX}": text,
    }
