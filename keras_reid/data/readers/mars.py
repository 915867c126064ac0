"""Reader of MARS, a video dataset: identities, tracks and splits by the files of its evaluation code."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from keras_reid.data.places import is_file, is_folder, read_lines, refuse_missing
from keras_reid.data.readers.layout import COLUMNS, folder_in, read_matlab, require_folder
from keras_reid.errors import ReidError

FOLDERS = {"train": "bbox_train", "test": "bbox_test"}
_INFO = ("info", os.path.join("MARS-evaluation", "info"), os.path.join("MARS-evaluation-master", "info"))
_NAME = r"(?P<person>00-1|\d{4})C(?P<camera>\d)T\d{4}F\d{3,4}\.(?:jpe?g|png|bmp)"
_FILE_OF_INFO = "a file of the folder info of MARS-evaluation, copied whole"


def read_mars(root: str | os.PathLike, *, must_exist: bool = True) -> pd.DataFrame:
    """Reads the catalog of MARS: every frame of every track.

    The layout: `root/bbox_train` and `root/bbox_test` hold a folder for each person, with frames such as
    0065C1T0002F016.jpg (person, camera, track of the person, frame); `root/info`, or `root/MARS-evaluation/info`,
    holds train_name.txt, test_name.txt, tracks_train_info.mat, tracks_test_info.mat and query_IDX.mat of the authors'
    repository MARS-evaluation.

    As in their code the gallery is *every* test track, a query's own one too: it does not count, since it is of the
    query's camera. (Without the tracks of the queries some people would be in no gallery.)

    Args:
        root: the folder.
        must_exist: whether a frame that is not there is refused.

    Returns:
        A frame with the columns `image_path` (str), `person_id` (int; -1 junk, 0 distractor, both in the gallery
        only), `camera_id` (int, 1 to 6), `split` ("train", "query", "gallery") and `tracklet_id` (int: the training
        tracks from 1, then those of the test, in the files' order), in the order of the tracks. It is scored by track:
        evaluate's `--tracklets=mean` pools the frames of each to one embedding.

    Raises:
        ReidError: a file or a folder is missing or damaged, names and tracks disagree, or a person is in both training
            and test.

    Source: Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016.
    """
    root = os.fspath(root)
    require_folder(root, "MARS")
    info = next((place for place in _INFO if is_folder(os.path.join(root, place))), None)
    if info is None:
        raise ReidError(
            f"{root!r} has no folder info: copy it there from https://github.com/liangzheng06/MARS-evaluation. It "
            "tells which frames make up a track, and which tracks are queries."
        )
    info = os.path.join(root, info)
    train, tracks = _frames(root, info, "train", first_track=1)
    test, test_tracks = _frames(root, info, "test", first_track=1 + len(tracks))
    queries = _read_matrix(os.path.join(info, "query_IDX.mat"), "query_IDX").ravel()
    if not len(queries) or queries.min() < 1 or queries.max() > len(test_tracks):
        raise ReidError(
            f"query_IDX.mat in {info!r}: expected numbers of tracks, 1 to {len(test_tracks)}. Copy it again."
        )
    query = test[test.tracklet_id.isin(queries + len(tracks))]
    frame = pd.concat(
        [train.assign(split="train"), query.assign(split="query"), test.assign(split="gallery")], ignore_index=True
    )[[*COLUMNS, "tracklet_id"]]
    unknown = frame[(frame.split != "gallery") & (frame.person_id < 1)]
    if len(unknown):
        raise ReidError(f"{info!r} puts junk or distractors into the {unknown.split.iloc[0]} split. Copy it again.")
    both = np.intersect1d(train.person_id, test.person_id)
    if len(both):
        raise ReidError(
            f"{info!r}: {len(both)} people are in training and test, the first is {both[0]}. Copy it again."
        )
    if must_exist:
        refuse_missing(frame.image_path, f"{info!r}", "Unpack the dataset again.")
    return frame


def _frames(root: str, info: str, part: str, *, first_track: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns a row for each frame of the tracks, and the tracks `[T, 4]`: first and last frame, person, camera."""
    path = os.path.join(info, f"{part}_name.txt")
    if not is_file(path):
        raise ReidError(f"{path!r} does not exist: expected {_FILE_OF_INFO}.")
    names = pd.Series(read_lines(path), dtype=str).str.strip()
    tracks = _read_matrix(os.path.join(info, f"tracks_{part}_info.mat"), f"track_{part}_info")
    if tracks.ndim != 2 or tracks.shape[1] != 4 or not len(tracks):
        raise ReidError(f"tracks_{part}_info.mat in {info!r} has the shape {tracks.shape}: expected [tracks, 4].")
    first, last = tracks[:, 0], tracks[:, 1]
    if first.min() < 1 or last.max() > len(names) or (first > last).any():
        raise ReidError(
            f"tracks_{part}_info.mat in {info!r} names frames {first.min()} to {last.max()}, {path!r} has "
            f"{len(names)} lines: expected frames from 1 to their number. Copy both files again."
        )
    of_track = np.repeat(np.arange(len(tracks)), last - first + 1)
    rows = np.concatenate([np.arange(start - 1, end) for start, end in zip(first, last)])
    names = names.iloc[rows].reset_index(drop=True)
    people, cameras = tracks[of_track, 2], tracks[of_track, 3]
    _compare(names, people, cameras, path)
    paths = folder_in(root, FOLDERS[part], "MARS") + os.sep + names.str[:4] + os.sep + names
    columns = {"image_path": paths, "person_id": people, "camera_id": cameras, "tracklet_id": first_track + of_track}
    return pd.DataFrame(columns), tracks


def _compare(names: pd.Series, people: np.ndarray, cameras: np.ndarray, path: str) -> None:
    """Raises ReidError where a frame is not named like MARS's, or its name and its track differ in person or camera."""
    parts = names.str.extract(f"^{_NAME}$")
    wrong = parts.person.isna().to_numpy()
    if wrong.any():
        raise ReidError(
            f"{path!r} names {names[wrong.argmax()]!r}: expected a name such as 0065C1T0002F016.jpg. Copy it again."
        )
    other = parts.person.replace("00-1", "-1").astype(int).to_numpy() != people
    other |= parts.camera.astype(int).to_numpy() != cameras
    if other.any():
        row = other.argmax()
        raise ReidError(
            f"{path!r}: {names[row]!r} is in a track of person {people[row]}, camera {cameras[row]}: expected those of "
            "its name. The files of the folder info do not belong together, copy them again."
        )


def _read_matrix(path: str, field: str) -> np.ndarray:
    return read_matlab(path, (field,), _FILE_OF_INFO)[0].astype(np.int64)
