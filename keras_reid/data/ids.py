"""Decides which numbers stand for people and cameras whose ids may be any text; a column beside keeps the text."""

from __future__ import annotations

import numpy as np
import pandas as pd

NAME_SUFFIX = "_name"  # Ids that were text are coded; a column person_id_name keeps them.


def code_people(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the columns of people from their names as text `[N]`, none missing.

    Every name is a person, "0" and "-1" too: person_id counts the sorted names from 1, so that the order of the rows
    does not matter, and person_id_name keeps them.
    """
    _, codes = np.unique(names.to_numpy(str), return_inverse=True)
    people = pd.Series(codes.astype(np.int64) + 1, index=names.index)
    return {"person_id": people, f"person_id{NAME_SUFFIX}": names.astype("string")}


def code_cameras(names: pd.Series) -> dict[str, pd.Series]:
    """Returns the columns of cameras from their names as text `[N]`, pandas' NA where a camera is not known.

    Names that are all whole numbers become those numbers, others count from 1 in sorted order beside camera_id_name.
    The dtype is int64, and Int64 where some are missing.
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
