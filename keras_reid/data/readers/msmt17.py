"""Reader of MSMT17: identities, cameras and splits by the four lists of its authors."""

from __future__ import annotations

import os
import re

import pandas as pd

from keras_reid.data.places import is_file, is_folder, list_folder, read_lines, refuse_missing
from keras_reid.data.readers.layout import COLUMNS, require_folder
from keras_reid.errors import ReidError

LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}
VERSIONS = ("MSMT17_V1", "MSMT17_V2")
# The second name is that of version 2, whose faces are masked; copies differ in upper and lower case.
_FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
_LINE = re.compile(r"(?P<path>(?:[^\s/]+/)*\d+_\d+_(?P<camera>\d+)_[^\s/]+)\s+(?P<person>\d+)")
FIRST_TEST_ID = 10_001  # the lists number both the training people and the test people from 0


def read_msmt17(root: str | os.PathLike, *, must_exist: bool = True) -> pd.DataFrame:
    """Reads the catalog of MSMT17, version 1 or 2.

    The layout: `root`, or `MSMT17_V1` or `MSMT17_V2` in it, holds list_train.txt, list_val.txt, list_query.txt and
    list_gallery.txt, with lines such as "0000/0000_000_01_0303morning_0008_0.jpg 0" (path, person; the third number of
    the name is the camera), and the folders `train` and `test`, in version 2 `mask_train_v2` and `mask_test_v2`.

    Training takes list_train and list_val together: these are the 32,621 images of the paper's training set. Some code
    bases train on list_train alone, 30,248 images of the same 1,041 people.

    Args:
        root: the folder.
        must_exist: whether an image that is not there is refused.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int: the list's number + 1 in training, and + 10001 in
        the test, since both are numbered from 0 and are other people), `camera_id` (int, 1 to 15) and `split` ("train",
        "query", "gallery"), in the lists' order.

    Raises:
        ReidError: a list or a folder is missing, a line is not like the lists', or an image is not there.

    Source: Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018.
    """
    root = _root_of_lists(os.fspath(root))
    folders = {part: _folder(root, part) for part in _FOLDERS}
    rows = []
    for split, names in LISTS.items():
        folder, first = (folders["train"], 1) if split == "train" else (folders["test"], FIRST_TEST_ID)
        found = [row for name in names for row in _read_list(os.path.join(root, name))]
        if not found:
            raise ReidError(
                f"the {split} split is empty: no line in {' or '.join(names)} of {root!r}. Unpack it again."
            )
        rows += [(os.path.join(folder, path), first + person, camera, split) for path, person, camera in found]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if must_exist:
        refuse_missing(frame.image_path, f"a list of {root!r}", "Unpack the dataset again.")
    return frame


def _root_of_lists(root: str) -> str:
    require_folder(root, "MSMT17")
    if is_file(os.path.join(root, LISTS["train"][0])):
        return root
    versions = [version for version in VERSIONS if is_folder(os.path.join(root, version))]
    if len(versions) > 1:
        raise ReidError(f"{root!r} holds {' and '.join(versions)}: set data_dir to one of them.")
    if versions:
        return os.path.join(root, versions[0])
    raise ReidError(
        f"{root!r} is not in MSMT17's layout: it has no {LISTS['train'][0]}, no folder {' or '.join(VERSIONS)}. "
        "Check data_dir."
    )


def _folder(root: str, part: str) -> str:
    for name in list_folder(root):
        if name.lower() in _FOLDERS[part] and is_folder(os.path.join(root, name)):
            return os.path.join(root, name)
    raise ReidError(f"{root!r} has no folder {' or '.join(_FOLDERS[part])}: it holds the images. Unpack it again.")


def _read_list(path: str) -> list[tuple[str, int, int]]:
    """Returns path, person and camera of each line."""
    if not is_file(path):
        raise ReidError(f"{path!r} does not exist: expected the four lists that come with MSMT17. Unpack it again.")
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None or ".." in match["path"].split("/"):
            raise ReidError(
                f"{path!r}, line {number} is {line[:100]!r}: expected path and person, such as "
                "0000/0000_000_01_0303morning_0008_0.jpg 0. Copy the list again."
            )
        rows.append((match["path"], int(match["person"]), int(match["camera"])))
    return rows
