"""Reader of Market-1501, with or without its 500,000 distractors; of every dataset in its layout and naming."""

from __future__ import annotations

import os
import re

import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.formats import ENDING
from keras_reid.data.image_list import image_names
from keras_reid.data.places import is_folder
from keras_reid.data.readers.layout import COLUMNS, read_split, require_folder
from keras_reid.errors import ReidError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_MULTI_QUERY_FOLDER = "gt_bbox"  # Not every copy of the dataset has it.
# The archive itself names some images 1488_c1s6_023021_00.jpg.jpg.
_ENDINGS = rf"(?:\.(?:jpe?g|png|bmp))*{ENDING}"
_NAME = re.compile(rf"(?P<person>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+{_ENDINGS}", re.IGNORECASE)
_EXAMPLE = "0002_c1s1_000451_03.jpg"
_DISTRACTOR_NAME = re.compile(r"(?P<person>-1|\d+)_c(?P<camera>\d).*")


def read_market1501(root: str | os.PathLike) -> pd.DataFrame:
    """Reads the catalog of Market-1501, or of a dataset in its layout and naming.

    Args:
        root: the folder that holds `bounding_box_train`, `bounding_box_test` and `query`.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int; -1 junk, 0 distractor), `camera_id` (int, from
        1) and `split` ("train", "query", "gallery"; "multi_query" for `gt_bbox`, where it exists: more images of the
        queries' people by their cameras, and of the training people), sorted by split and file name. Junk and
        distractors occur in the gallery only.

    Raises:
        ReidError: a folder is missing or holds no image, or an image is not named like the dataset's.

    Source: Zheng et al. 2015, "Scalable Person Re-identification: A Benchmark".
    """
    root = os.fspath(root)
    require_folder(root, "Market-1501", f", holding {', '.join(FOLDERS.values())}")
    folders = dict(FOLDERS)
    if image_names(os.path.join(root, _MULTI_QUERY_FOLDER)):
        folders["multi_query"] = _MULTI_QUERY_FOLDER
    naming = {"dataset": "Market-1501", "example": f"{_EXAMPLE} (person, camera, sequence, frame, detection)"}
    rows = [row for split, folder in folders.items() for row in read_split(root, folder, split, _NAME, **naming)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    unknown = frame[(frame.split != "gallery") & (frame.person_id <= DISTRACTOR_ID)]
    if len(unknown):
        raise ReidError(
            f"{len(unknown)} images of the {unknown.split.iloc[0]} split have the id -1 (junk) or 0 (distractor), "
            f"which only the gallery may hold, the first is {unknown.image_path.iloc[0]!r}. Move them away."
        )
    return frame


def read_market1501_500k(root: str | os.PathLike) -> pd.DataFrame:
    """Reads the catalog of Market-1501 with its 500,000 distractors, more images of nobody in the gallery.

    Args:
        root: Market-1501's folder, or the one that holds it as `Market-1501-v15.09.15`; either holds the folder
            `images` of the authors' distractors_500k.zip.

    Returns:
        A frame as `read_market1501` returns it. The images of `images` stand at the end of the gallery, before any
        "multi_query", with id 0 (distractor) whatever person their names give; -1 stays junk.

    Raises:
        ReidError: as `read_market1501`; there are no distractors, or the name of one gives no camera.
    """
    root = os.fspath(root)
    inside = os.path.join(root, "Market-1501-v15.09.15")
    market = inside if is_folder(inside) else root
    frame = read_market1501(market)
    places = [place for place in (root, market) if is_folder(os.path.join(place, "images"))]
    if not places:
        raise ReidError(
            f"{os.path.join(market, 'images')!r} holds no image: expected the 500,000 distractors of "
            "distractors_500k.zip. Unpack it there, or set dataset=market1501."
        )
    naming = {"dataset": "Market-1501", "example": _EXAMPLE}
    rows = read_split(places[0], "images", "gallery", _DISTRACTOR_NAME, **naming)
    distractors = pd.DataFrame(rows, columns=COLUMNS)
    distractors.person_id = distractors.person_id.clip(upper=DISTRACTOR_ID)
    more = frame.split == "multi_query"
    return pd.concat([frame[~more], distractors, frame[more]], ignore_index=True)
