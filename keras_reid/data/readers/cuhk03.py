"""Reader of CUHK03: the new split by folders or by its protocol file, the classic one by its test sets."""

from __future__ import annotations

import io
import os
import re

import numpy as np
import pandas as pd

from keras_reid.data.formats import ENDING
from keras_reid.data.image_list import image_names
from keras_reid.data.places import is_file, is_folder, is_remote, read_bytes
from keras_reid.data.readers.layout import COLUMNS, match_name, read_matlab, read_split, require_folder
from keras_reid.data.readers.market1501 import FOLDERS as MARKET1501_FOLDERS
from keras_reid.errors import ReidError

SPLITS = ("new", "classic")
KINDS = ("detected", "labeled")  # who drew the boxes: a detector, or a human
_FOLDER_NAME = re.compile(rf"(?P<person>\d{{4}})_c(?P<camera>[12])_\d+{ENDING}", re.IGNORECASE)
_PICTURE_NAME = re.compile(rf"(?P<pair>[1-5])_(?P<person>\d{{3}})_(?P<camera>[12])_\d{{2}}{ENDING}", re.IGNORECASE)
_CLASSIC_PAIRS = 3  # of the five camera pairs of the release: they hold the 1,360 identities of the first protocol
_PROTOCOL = ("filelist", "labels", "camId", "train_idx", "query_idx", "gallery_idx")


def read_cuhk03(
    root: str | os.PathLike, *, split: str = "new", images: str = "detected", testset: int = 1
) -> pd.DataFrame:
    """Reads the catalog of CUHK03, from either of the layouts in which it is distributed.

    The layouts, in the order in which they are tried:
      CUHK03-NP: `root/detected` and `root/labeled`, or `root` itself, hold `bounding_box_train`, `query` and
        `bounding_box_test`, with names such as 0003_c1_21.png (person, camera, number). It has the new split only.
      The pictures of cuhk-03.mat: `root/images_detected` and `root/images_labeled`, with names such as 1_001_2_07.png
        (camera pair, person of that pair, camera of the pair, number). The new split also needs its authors' file
        `cuhk03_new_protocol_config_detected.mat` or `..._labeled.mat` in `root`, the classic one `cuhk-03.mat` itself,
        in `root` or in `root/cuhk03_release`.

    Args:
        root: the folder.
        split: "new": 767 identities for training and 700 for the test, each with two queries, one of each camera.
            "classic": 100 identities for the test, with the first camera's images as queries and the second camera's as
            gallery, to be scored by single-gallery-shot; the other 1,260 of the first three camera pairs for training.
        images: "detected" or "labeled": boxes drawn by a detector or by a human.
        testset: which of the 20 test sets of the classic split, from 1; read under split="classic" only.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int), `camera_id` (int, 1 or 2 of the person's camera
        pair) and `split` ("train", "query", "gallery"), sorted by split and file name. The new split has the ids 1 to
        1467 of its authors; in the classic one an id is 1000 * camera pair + person.

    Raises:
        ReidError: an option is unknown, `root` is in neither layout, a file of the protocol is missing or damaged, or a
            picture is missing or not named like the dataset's.

    Source: Li et al., "DeepReID", CVPR 2014; new split: Zhong et al., "Re-ranking Person Re-identification with
    k-reciprocal Encoding", CVPR 2017.
    """
    root = os.fspath(root)
    for name, value, known in (("split", split, SPLITS), ("images", images, KINDS)):
        if value not in known:
            raise ReidError(f"{name}={value!r} is unknown: expected one of {', '.join(known)}.")
    require_folder(root, "CUHK03")
    if split == "classic":
        rows = _classic_rows(root, images, testset)
    else:
        rows = _np_rows(root, images) or _new_rows(root, images)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    empty = [split for split in MARKET1501_FOLDERS if not (frame.split == split).any()]
    if empty:
        raise ReidError(f"the {empty[0]} split is empty: no image of it below {root!r}. Unpack the dataset again.")
    names = frame.image_path.map(os.path.basename)
    order = np.lexsort([names, frame.split.map(list(MARKET1501_FOLDERS).index)])
    return frame.iloc[order].reset_index(drop=True)


# --- CUHK03-NP ---


def _np_rows(root: str, images: str) -> list[tuple]:
    """Returns the rows of the three splits' folders; none where there are no such folders."""
    places = (os.path.join(root, images), root)
    folder = next((place for place in places if is_folder(os.path.join(place, MARKET1501_FOLDERS["train"]))), None)
    if folder is None:
        return []
    if os.path.basename(os.path.abspath(folder)) in set(KINDS) - {images}:
        raise ReidError(f"images={images!r} is wanted, but {folder!r} holds the others. Set data_dir one folder up.")
    naming = {"dataset": "CUHK03-NP", "example": "0003_c1_21.png (person, camera, number)"}
    splits = MARKET1501_FOLDERS.items()
    return [row for split, name in splits for row in read_split(folder, name, split, _FOLDER_NAME, **naming)]


# --- The pictures of cuhk-03.mat ---


def _new_rows(root: str, images: str) -> list[tuple]:
    """Returns the rows that the new protocol's file lists; the file, not a picture's name, tells who is on it."""
    folder, present = _pictures(root, images)
    path = os.path.join(root, f"cuhk03_new_protocol_config_{images}.mat")
    names, person_ids, camera_ids, members = _read_protocol(path)
    listed = [(names[row], split, row) for split, rows in members.items() for row in rows]
    missing = sorted({name for name, _, _ in listed} - set(present))
    if missing:
        raise ReidError(
            f"{len(missing)} of the {len(listed)} pictures that {path!r} lists are not in {folder!r}: "
            f"{_examples(missing)}. Extract them from cuhk-03.mat again."
        )
    return [
        (os.path.join(folder, name), int(person_ids[row]), int(camera_ids[row]), split) for name, split, row in listed
    ]


def _read_protocol(path: str) -> tuple[list[str], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Returns names, person ids, camera ids `[N]`, and for each split the rows of its images, from 0."""
    fields = read_matlab(path, _PROTOCOL, "the new split's protocol file in CUHK03's folder")
    cells, person_ids, camera_ids, *members = (field.ravel() for field in fields)
    names = [str(cell[0]) for cell in cells]
    members = {split: rows.astype(np.int64) for split, rows in zip(MARKET1501_FOLDERS, members)}
    indices = np.concatenate(list(members.values()))
    if not len(names) == len(person_ids) == len(camera_ids) or ((indices < 1) | (indices > len(names))).any():
        raise ReidError(
            f"{path!r} has {len(names)} names, {len(person_ids)} labels, {len(camera_ids)} camera ids and indices "
            f"from {indices.min()} to {indices.max()}: expected as many of each, and indices from 1 to their number."
        )
    return names, person_ids, camera_ids, {split: rows - 1 for split, rows in members.items()}


def _classic_rows(root: str, images: str, testset: int) -> list[tuple]:
    folder, present = _pictures(root, images)
    test = _read_testset(root, testset)
    rows, seen = [], set()
    for name in present:
        example = "1_001_2_07.png (camera pair, person, camera, number)"
        match = match_name(folder, name, _PICTURE_NAME, dataset="CUHK03", example=example)
        pair, person, camera = (int(match[group]) for group in ("pair", "person", "camera"))
        seen.add((pair, person))
        split = {1: "query", 2: "gallery"}[camera] if (pair, person) in test else "train"
        if split != "train" or pair <= _CLASSIC_PAIRS:
            rows.append((os.path.join(folder, name), 1000 * pair + person, camera, split))
    missing = [f"{pair}_{person:03}" for pair, person in sorted(test - seen)]
    if missing:
        raise ReidError(
            f"{len(missing)} of the {len(test)} people of test set {testset} have no picture in {folder!r}: "
            f"{_examples(missing)}. Extract them from cuhk-03.mat again."
        )
    return rows


def _read_testset(root: str, testset: int) -> set[tuple[int, int]]:
    """Returns camera pair and number of each test identity, both from 1."""
    import h5py  # imported here, since nothing else in keras_reid.data needs it

    places = [os.path.join(root, *folder, "cuhk-03.mat") for folder in ((), ("cuhk03_release",))]
    path = next(filter(is_file, places), None)
    if path is None:
        raise ReidError(f"{places[0]!r} does not exist: the classic split's test sets are in it. Copy it there.")
    try:
        with h5py.File(io.BytesIO(read_bytes(path)) if is_remote(path) else path, "r") as file:
            testsets = [file[reference][()].astype(int) for reference in np.ravel(file["testsets"][()])]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ReidError(f"{path!r} holds no test sets that can be read: {error}. Copy the file again.") from error
    if testset not in range(1, len(testsets) + 1):
        raise ReidError(f"testset={testset!r}: expected a number from 1 to {len(testsets)}.")
    # MATLAB stores columns first: its matrix of a row (camera pair, person) for each identity comes as [2, people].
    return set(zip(*testsets[testset - 1].tolist()))


def _pictures(root: str, images: str) -> tuple[str, list[str]]:
    """Returns the folder of the pictures and the names in it."""
    folder = os.path.join(root, f"images_{images}")
    if not is_folder(folder):
        raise ReidError(
            f"{root!r} is in neither layout of CUHK03 that is read: expected {images}/bounding_box_train (CUHK03-NP, "
            f"new split only) or images_{images} (the pictures of cuhk-03.mat). Check data_dir and images={images!r}."
        )
    return folder, image_names(folder)


def _examples(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
