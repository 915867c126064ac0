"""Reader of a CSV of one's own images: a line for each image, with ids of any kind."""

from __future__ import annotations

import os

import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID, JUNK_ID
from keras_reid.data.ids import as_names, code_cameras, code_people, names_of
from keras_reid.data.image_list import read_image_csv
from keras_reid.data.places import absolute, is_file, is_folder, refuse_missing
from keras_reid.data.tables import read_csv
from keras_reid.errors import ReidError

SPLITS = ("train", "query", "gallery", "multi_query")
_IDS = ("image_path", "person_id", "camera_id", "split")


def read_csv_dataset(path: str | os.PathLike, *, must_exist: bool = True) -> pd.DataFrame:
    """Reads the catalog that a CSV holds.

    Its columns: `image_path` (relative paths are from the CSV's folder), `person_id` and `camera_id` (any text),
    `split` ("train", "query" or "gallery"; "multi_query" for more images of the queries' people), `tracklet_id` where
    frames make up tracks, and `time` (seconds, or ISO 8601) where it is known. The column camera_id, or cells of it,
    may be missing. Other columns are left out, and so is white space at the ends of ids.

    Args:
        path: the file, in UTF-8, with a line of column names.
        must_exist: whether an image that is not there is refused.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int64 from 1: the names in sorted order; "0" and "-1"
        are people like any other), `person_id_name` (text, as written), `camera_id` (int64; Int64 with pandas' NA
        where some are missing; whole numbers as they are, other names from 1 with `camera_id_name`), `split`, and
        `tracklet_id` and `time` where the CSV has them; in the CSV's order.

    Raises:
        ReidError: there is no such file, a column or a cell is missing, a split is unknown, or an image is not there.
    """
    path = os.fspath(path)
    if is_folder(path):
        raise ReidError(f"{path!r} is a folder: set data_dir to the .csv file itself, for dataset=csv.")
    if not is_file(path):
        raise ReidError(f"{path!r} does not exist: expected a .csv file with the columns {', '.join(_IDS)}.")
    table = read_image_csv(path, required=("image_path", "person_id", "split"), as_text=_IDS)
    table["split"] = table.split.str.strip()
    unknown = ~table.split.isin(SPLITS)
    if unknown.any():
        row = unknown.argmax()
        raise ReidError(
            f"{path!r} has {unknown.sum()} rows of an unknown split, the first is row {row + 1}, {table.split[row]!r}: "
            "expected train, query or gallery (or multi_query), in lower case."
        )
    cameras = table.get("camera_id", pd.Series(pd.NA, index=table.index, dtype="string"))
    columns = {"image_path": table.image_path.astype(object), **code_people(table.person_id), **code_cameras(cameras)}
    frame = pd.DataFrame({**columns, "split": table.split.astype(object)})
    if "tracklet_id" in table:
        frame["tracklet_id"] = table.tracklet_id
    if "time" in table:
        frame["time"] = table.time
    if must_exist:
        refuse_missing(frame.image_path, f"{path!r}", "Relative paths are from the CSV's folder: correct them.")
    return frame


def csv_table(catalog: pd.DataFrame, path: str | os.PathLike | None) -> pd.DataFrame:
    """Returns the images of a dataset as a CSV of one's own holds them, all cells text.

    Args:
        catalog: the dataset.
        path: the CSV that it was read from: its columns and rows are kept as they are. None: it was no CSV, so the
            paths become absolute, each distractor (id 0) becomes a person and junk (id -1), which never counts, is
            left out.

    Returns:
        A frame whose index is that of the rows of `catalog`.
    """
    if path is not None:
        return read_csv(path, as_text=read_csv(path).columns)
    nobody, junk = catalog.person_id == DISTRACTOR_ID, catalog.person_id == JUNK_ID
    names = as_names(names_of(catalog, "person_id")).mask(nobody, "distractor-" + nobody.cumsum().astype("string"))
    ids = {name: as_names(names_of(catalog, name)) for name in ("camera_id", "tracklet_id") if name in catalog}
    paths = catalog.image_path.map(absolute)
    return pd.DataFrame({"image_path": paths, "person_id": names, **ids, "split": catalog.split})[~junk]
