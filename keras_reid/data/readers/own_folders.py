"""Reader of folders of one's own images: one folder for each person, the camera in the files' names."""

from __future__ import annotations

import os
import re

import pandas as pd

from keras_reid.data.formats import IMAGE_SUFFIXES, count_by_suffix, is_image
from keras_reid.data.ids import code_cameras, code_people
from keras_reid.data.image_list import refuse_unreadable_names, say_left_out
from keras_reid.data.places import is_folder, list_files, list_folder
from keras_reid.data.readers.own_csv import SPLITS
from keras_reid.errors import ReidError


def read_folder(root: str | os.PathLike, *, camera_pattern: str | None = None, split: str = "train") -> pd.DataFrame:
    """Reads the catalog of a folder with one folder for each person, directly or below train, query and gallery.

    Args:
        root: holds some of `train`, `query`, `gallery` and `multi_query`, with a folder of any name for each person in
            them; or holds the people's folders itself, all of one split. A person's images may lie in folders further
            down. Names that begin with a dot are left out, as is white space at the ends of people's and cameras'.
        camera_pattern: a regular expression whose group in parentheses is the camera. It is searched in an image's path
            below the person's folder, such as "cam2/0001.jpg". None: cameras are not known.
        split: of all images, where `root` holds the people's folders itself.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int64 from 1: the folders' names in sorted order; a
        name is one person in all splits, and "0" and "-1" are people like any other), `person_id_name` (text),
        `camera_id` (int64: whole numbers as they are, other names from 1 with `camera_id_name`; or Int64, all NA) and
        `split`, sorted by split, person and file.

    Raises:
        ReidError: there is no such folder or no image, an image or folder is where none is expected, a person's folder
            is empty, or the pattern is not valid or finds no camera in a name.
    """
    root, pattern = os.fspath(root), _compiled(camera_pattern)
    if split not in SPLITS:
        raise ReidError(f"split={split!r}: expected one of {', '.join(SPLITS)}.")
    if not is_folder(root):
        raise ReidError(
            f"data folder {root!r} does not exist. Expected folders train, query and gallery, or of people."
        )
    present = [name for name in SPLITS if is_folder(os.path.join(root, name))]
    for name in list_folder(root) if present else []:  # what is in no split would be left out in silence
        misplaced = is_image(name) or is_folder(os.path.join(root, name))
        if name not in present and not name.startswith(".") and misplaced:
            raise ReidError(
                f"{os.path.join(root, name)!r} is in the folder of {', '.join(present)}: expected nothing but "
                "train, query, gallery (and multi_query). Rename it (a test set is query and gallery) or move it away."
            )
    places = {name: os.path.join(root, name) for name in present} or {split: root}
    found: list[str] = []
    rows = [row for name, place in places.items() for row in _read_split(place, name, pattern, found)]
    say_left_out(found, root)
    table = pd.DataFrame(rows, columns=["image_path", "person", "camera", "split"])
    columns = {"image_path": table.image_path, **code_people(table.person), **code_cameras(table.camera)}
    return pd.DataFrame({**columns, "split": table.split})


def _compiled(camera_pattern: str | None) -> re.Pattern | None:
    if camera_pattern is None:
        return None
    try:
        pattern = re.compile(camera_pattern)
    except re.error as error:
        raise ReidError(f"camera_pattern={camera_pattern} is no regular expression: {error}.") from error
    if not pattern.groups:
        raise ReidError(f"camera_pattern={camera_pattern} has no group: expected parentheses, such as 'c([0-9]+)'.")
    return pattern


def _read_split(place: str, split: str, pattern: re.Pattern | None, found: list[str]) -> list[tuple]:
    """Returns a row for each image of a split, and adds all files of its people to `found`."""
    rows = []
    for person in list_folder(place):
        folder = os.path.join(place, person)
        if person.startswith("."):
            continue
        if not person.strip():
            raise ReidError(f"the name of {folder!r} is white space alone, expected a person's. Rename it.")
        if not is_folder(folder):
            if is_image(person):
                raise ReidError(
                    f"{folder!r} is in no person's folder: expected {place}/PERSON/IMAGE. Move it into one."
                )
            continue
        files = list_files(folder)
        images = list(filter(is_image, files))
        if not images:
            others = f", but {count_by_suffix(files)}" if files else ""
            raise ReidError(f"{folder!r} holds no image ({', '.join(IMAGE_SUFFIXES)}){others}. Fill it or remove it.")
        refuse_unreadable_names(images)
        found += files
        rows += [(path, person, _camera(path, folder, pattern), split) for path in images]
    if not rows:
        raise ReidError(f"the {split} split is empty: no person's folder with images in {place!r}.")
    return rows


def _camera(path: str, folder: str, pattern: re.Pattern | None) -> str | None:
    if pattern is None:
        return None
    below = path[len(folder) :].lstrip("/" + os.sep).replace(os.sep, "/")
    match = pattern.search(below)
    camera = match and next((group for group in match.groups() if group and group.strip()), None)
    if not camera:
        raise ReidError(
            f"camera_pattern={pattern.pattern} finds no camera in {below!r} ({path!r}): change the pattern or the name."
        )
    return camera
