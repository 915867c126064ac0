"""Corrections: a CSV of what people say of pairs of images, same person or not, and what it changes in a dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pandas as pd

from keras_reid.data.places import absolute
from keras_reid.data.regrouping import NOT_THE_SAME, SAME, regroup
from keras_reid.data.tables import check_columns, read_csv
from keras_reid.errors import ReidError

BAD_CROP = "bad crop"
VERDICTS = (SAME, NOT_THE_SAME, BAD_CROP)
COLUMNS = ("image_path", "other_path", "verdict")


def read_corrections(path: str | os.PathLike) -> pd.DataFrame:
    """Reads a CSV of corrections.

    Args:
        path: the file, with the columns `image_path`, `other_path` and `verdict`: "same", "not the same" or "bad crop".
            The bad crop is `other_path`, or `image_path` where `other_path` is empty. Other columns are left out.

    Returns:
        A row for each line that says something new, of text; `other_path` is NA where it is empty.

    Raises:
        ReidError: the file cannot be read, says nothing, lacks a column or a path, or a verdict is unknown.
    """
    frame = read_csv(path, as_text=COLUMNS)
    check_columns(frame, path, COLUMNS, ", as a report exports them.")
    frame = frame[list(COLUMNS)].apply(lambda column: column.mask(column.str.strip().eq("").fillna(False)))
    frame["verdict"] = frame.verdict.str.strip().str.lower()  # spreadsheets write "Same"
    frame = frame.dropna(how="all")
    if not len(frame):
        raise ReidError(f"{str(path)!r} holds no correction: expected a line for each below the column names.")
    for row, one in frame.iterrows():
        wrong = None
        if pd.isna(one.verdict) or one.verdict not in VERDICTS:
            told = "no verdict" if pd.isna(one.verdict) else f"the verdict {one.verdict!r}"
            wrong = f"{told}, expected one of {', '.join(map(repr, VERDICTS))}"
        elif pd.isna(one.image_path):
            wrong = "no image_path"
        elif pd.isna(one.other_path) and one.verdict != BAD_CROP:
            wrong = f"no other_path, which {one.verdict!r} needs"
        if wrong:
            raise ReidError(f"{str(path)!r}: row {row + 1} has {wrong}. Correct or remove it.")
    return frame.drop_duplicates(ignore_index=True)


def find_images(paths: pd.Series, images: Sequence[str], folder: str) -> list[int]:
    """Returns which image each path is, the first row of it where it is listed twice.

    Args:
        paths: absolute, or relative to the current folder or to `folder`.
        images: absolute paths of a dataset's images.
        folder: of the dataset's CSV.

    Raises:
        ReidError: there is no such image.
    """
    rows: dict[str, int] = {}
    for row, image in enumerate(images):
        rows.setdefault(image, row)
    places = [(absolute(path), absolute(os.path.join(folder, path))) for path in paths]
    found = [next((rows[place] for place in both if place in rows), None) for both in places]
    unknown = [path for path, row in zip(paths, found) if row is None]
    if unknown:
        raise ReidError(
            f"{len(unknown)} of {len(found)} paths are no images of the dataset, the first is {unknown[0]!r}: expected "
            f"paths such as {images[0]!r}. Was the report made from another dataset, or in another folder?"
        )
    return found


def correct(images: pd.DataFrame, corrections: pd.DataFrame, folder: str) -> pd.Series:
    """Applies corrections to identities.

    Args:
        images: `image_path` and `person`, names as text.
        corrections: as `read_corrections` returns them.
        folder: relative paths are from the current folder or from this one.

    Returns:
        The names after the corrections, NA for an image that is dropped; the index is that of `images`.

    Raises:
        ReidError: a path is unknown, an image is listed with two names, corrections contradict each other, or no image
            is left.
    """
    places = images.image_path.map(absolute)  # an image that is listed twice is one image
    columns = (corrections.image_path, corrections.other_path.fillna(corrections.image_path))
    left, right = (find_images(column, places.tolist(), folder) for column in columns)
    several = images.groupby(places).person.transform("nunique").gt(1).to_numpy()
    paths = images.image_path.tolist()
    for row in {*left, *right}:
        if several[row]:
            raise ReidError(f"{paths[row]!r} is listed with two names: keep one line for it before you correct it.")
    said = {verdict: [] for verdict in VERDICTS}
    for verdict, *pair in zip(corrections.verdict, left, right):
        said[verdict].append(tuple(pair))
    persons = regroup(images.person.tolist(), paths, said[SAME], said[NOT_THE_SAME])
    names = pd.Series(persons, images.index, dtype="string").groupby(places).transform("first")
    names = names.mask(places.isin({places.iloc[bad] for _, bad in said[BAD_CROP]}))
    if names.isna().all():
        raise ReidError("the corrections call every image of the dataset a bad crop: none would be left.")
    return names


def changes(images: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Returns a row for each change that corrections make, those of most images first.

    Args:
        images: as `correct` takes them.
        names: as it returns them.

    Returns:
        The columns change ("merge": all images of an identity become another one's; "move": some do; "split": some
        become a new identity; "drop"), person, becomes, images (their number) and first_image.
    """
    changed = pd.DataFrame({"person": images.person, "becomes": names.fillna(""), "path": images.image_path})
    remains, known = set(names[names == images.person]), set(images.person)
    changed = changed[changed.becomes != changed.person]
    rows = changed.groupby(["person", "becomes"], sort=False).path.agg(["size", "first"]).reset_index()

    def kind(person: str, becomes: str) -> str:
        if not becomes:
            return "drop"
        return "split" if becomes not in known else "move" if person in remains else "merge"

    rows.insert(0, "change", [kind(*one) for one in zip(rows.person, rows.becomes)])
    rows = rows.rename(columns={"size": "images", "first": "first_image"})
    return rows.sort_values("images", ascending=False, kind="stable", ignore_index=True)


def newly_shared(images: pd.DataFrame, names: pd.Series) -> list[str]:
    """Returns the people that corrections put into both training and test, in the order of the dataset.

    Args:
        images: as `correct` takes them, with `split`.
        names: as it returns them.
    """

    def shared(persons: pd.Series) -> set[str]:
        train = images.split == "train"
        return set(persons[train].dropna()) & set(persons[~train].dropna())

    new = shared(names) - shared(images.person)
    return [name for name in dict.fromkeys(names.dropna()) if name in new]
