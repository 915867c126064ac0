"""Scores of tracks against a ground truth: IDF1 over all cameras at once, HOTA, and precision and recall of pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from keras_reid.errors import ReidError
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.uncertainty import DRAWS, percentile_intervals, resampled
from keras_reid.tracks.boxes import read_boxes
from keras_reid.tracks.recordings import Recording
from keras_reid.tracks.tracks_file import Tracks

TRUTH = "gt.txt"  # MOT Challenge's name
IOU = 0.5  # at least, of a box and the truth that it shows
_FRAMES_AT_ONCE = 2000
_PAIR = ["FrameId", "OId", "HId"]


class Scene(NamedTuple):
    """The boxes of one recording, and what is true there.

    Attributes:
        camera: that recorded it.
        boxes: columns track (as in the tracks' table), frame, x, y, width, height, a row a box.
        truth: the same of the ground truth; track is the person, of one name in all recordings.
    """

    camera: str
    boxes: pd.DataFrame
    truth: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class IdentityScores:
    """ID measures over all cameras at once, as fractions (Ristani et al., "Performance Measures and a Data Set", 2016).

    Attributes:
        idf1: 2 IDTP / (true boxes + boxes).
        precision: IDTP / boxes.
        recall: IDTP / true boxes.
    """

    idf1: float
    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class PairScores:
    """Precision and recall of pairs of tracks, with 95 % intervals by bootstrap over identities; NaN without a pair.

    Attributes:
        precision: share of the linked pairs that are one person.
        recall: share of the pairs of one person that are linked.
        precision_interval: low and high.
        recall_interval: low and high.
        linked: number of linked pairs.
        true: number of pairs of one person.
    """

    precision: float
    recall: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    linked: int
    true: int


def read_scenes(recordings: Sequence[Recording], truth: str = TRUTH) -> list[Scene]:
    """Returns recordings with the truth that lies beside the file of their boxes.

    Args:
        recordings: as `split_tracks` returns them, so that tracks are named as in the tracks' table.
        truth: name of the files of the truth: boxes in any format, whose track is the person.

    Raises:
        ReidError: such a file is missing or cannot be read.
    """
    scenes = []
    for recording in recordings:
        path = recording.source.path.parent / truth if recording.source else Path(truth)
        boxes = read_boxes(path)
        if "camera" in boxes:
            boxes = boxes[boxes.camera == recording.camera]
        scenes.append(Scene(recording.camera, recording.boxes, boxes))
    return scenes


def matches(boxes: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Returns all pairs of a box and a true box of one frame whose intersection over union is at least `IOU`.

    Returns:
        Columns box and true, rows of the frames that were given; frame; and iou.
    """
    parts = []
    boxes, truth = (frame.reset_index(drop=True).rename_axis("row").reset_index() for frame in (boxes, truth))
    frames = np.intersect1d(boxes.frame, truth.frame)
    for part in range(0, len(frames), _FRAMES_AT_ONCE):
        some = frames[part : part + _FRAMES_AT_ONCE]
        left, right = (frame[frame.frame.isin(some)] for frame in (boxes, truth))
        both = left.merge(right, on="frame", suffixes=("", "_true"))
        width = _overlap(both.x, both.width, both.x_true, both.width_true)
        height = _overlap(both.y, both.height, both.y_true, both.height_true)
        union = both.width * both.height + both.width_true * both.height_true - width * height
        both["iou"] = width * height / union
        parts.append(both.loc[both.iou >= IOU, ["row", "row_true", "frame", "iou"]])
    empty = pd.DataFrame({"row": [], "row_true": [], "frame": [], "iou": []})
    return pd.concat(parts or [empty], ignore_index=True).rename(columns={"row": "box", "row_true": "true"})


def truth_of_tracks(boxes: pd.DataFrame, truth: pd.DataFrame) -> pd.Series:
    """Returns the person of each track: whom most of its boxes show, missing where that is less than half of them.

    Args:
        boxes: as in `Scene`.
        truth: as in `Scene`.

    Returns:
        Text by track, NA for nobody. Each box shows the true box of the largest intersection over union.
    """
    found = matches(boxes, truth).sort_values("iou", ascending=False).drop_duplicates("box")
    shown = pd.DataFrame({"track": boxes.track.to_numpy()[found.box.astype(int)]})
    shown["person"] = truth.track.to_numpy()[found.true.astype(int)]
    votes = shown.groupby(["track", "person"]).size().reset_index(name="votes")
    best = votes.sort_values(["votes", "person"], ascending=[False, True]).drop_duplicates("track").set_index("track")
    sizes = boxes.groupby("track").size()
    best = best.person[2 * best.votes >= sizes.reindex(best.index)]
    return best.reindex(sizes.index).astype("string").rename("person")


def persons_of(tracks: Tracks, scenes: Sequence[Scene]) -> np.ndarray:
    """Returns the person of each track, object `[T]`, None where it shows nobody by majority."""
    known = {}
    for scene in scenes:
        persons = truth_of_tracks(scene.boxes, scene.truth).dropna()
        known.update({(scene.camera, track): person for track, person in persons.items()})
    names = zip(tracks.frame.camera, tracks.frame.track)
    return np.array([known.get(name) for name in names], object)


def identity_scores(scenes: Sequence[Scene], tracks: Tracks, identities: Sequence) -> IdentityScores:
    """Returns the ID measures of global ids over all recordings at once, by py-motmetrics.

    A frame of a recording is one frame of a common accumulator: so a person who has two ids in two cameras is found
    once. A box of a track that is not in the table has an identity of its own track.

    Args:
        scenes: boxes and truth of each recording.
        tracks: T tracks.
        identities: `[T]`, of any kind.

    Raises:
        ReidError: py-motmetrics is not installed, or there is no true box.
    """
    motmetrics = import_motmetrics()
    events = _events(scenes, tracks, identities)
    frame = motmetrics.MOTAccumulator.new_event_dataframe_with_data(*events)
    names = ["idf1", "idtp", "num_predictions", "idr"]
    found = motmetrics.metrics.create().compute(frame, metrics=names, return_dataframe=False)
    # Its idp counts an id that is twice in a frame, as without constraints, once.
    precision = found["idtp"] / found["num_predictions"] if found["num_predictions"] else np.nan
    return IdentityScores(float(found["idf1"]), float(precision), float(found["idr"]))


def pair_scores(persons: Sequence, identities: Sequence, *, draws: int = DRAWS, seed: int = 0) -> PairScores:
    """Scores linked pairs of tracks, whatever their cameras.

    Args:
        persons: `[T]`, who each track shows; None for nobody, who is a person of its own: a link of it is wrong.
        identities: `[T]`, of any kind.
        draws: resampled sets of persons behind the intervals.
        seed: the same seed gives the same intervals.

    Raises:
        ReidError: `draws` is not an integer of at least 1.
    """
    check_positive("draws", draws)
    table = _table(persons, identities)
    count = table.shape[0]
    of_person, of_identity = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    true = _pairs_in(of_person)
    right = np.asarray(table.multiply(table).sum(axis=1)).ravel() / 2 - of_person / 2
    precision, recall = (float(values[0]) for values in _rates(np.ones((1, count)), table, right, true))
    sampled = [_rates(weights, table, right, true) for weights in resampled(count, draws, seed)]
    sampled = np.concatenate([np.zeros((2, 0)), *map(np.stack, sampled)], axis=1)
    intervals = [_interval(values[np.isfinite(values)]) for values in sampled]
    return PairScores(precision, recall, *intervals, int(_pairs_in(of_identity).sum()), int(true.sum()))


def hota(scenes: Sequence[Scene], tracks: Tracks, identities: Sequence) -> float | None:
    """Returns HOTA over all recordings, ids matched globally, by reid-hota; None where it is not installed.

    Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", 2021. It needs NumPy 2.2.
    """
    try:
        from reid_hota import HOTAConfig, HOTAReIDEvaluator
    except ImportError:
        return None
    names = _names(tracks, identities)
    persons = {person: number for number, person in enumerate(sorted({p for s in scenes for p in s.truth.track}))}
    truth, found = {}, {}
    for number, scene in enumerate(scenes):
        truth[number] = _corners(scene.truth, scene.truth.track.map(persons))
        found[number] = _corners(scene.boxes, pd.Series(_numbers(scene, names), scene.boxes.index))
        found[number] = found[number].drop_duplicates(["frame", "id"])  # one id is there once in a frame
    config = HOTAConfig(
        reference_contains_dense_annotations=True,
        iou_thresholds=np.arange(0.05, 0.99, 0.05),
        suppress_print_statements=True,
    )
    evaluator = HOTAReIDEvaluator(config=config)
    evaluator.evaluate(truth, found)
    return float(np.mean(evaluator.get_global_hota_data()["HOTA"]))


def import_motmetrics():
    """Returns py-motmetrics; ReidError says how to get it."""
    try:
        import motmetrics
    except ImportError as error:
        raise ReidError(
            f"scores of tracks need py-motmetrics, which cannot be imported ({error}): pip install motmetrics."
        ) from error
    return motmetrics


# --- Boxes ---


def _overlap(left: pd.Series, width: pd.Series, other: pd.Series, other_width: pd.Series) -> pd.Series:
    return (np.minimum(left + width, other + other_width) - np.maximum(left, other)).clip(lower=0)


def _names(tracks: Tracks, identities: Sequence) -> dict[tuple[str, str], int]:
    """Returns a number of the identity of each track by camera and track."""
    codes = pd.factorize(pd.Series(list(identities)))[0]
    return dict(zip(zip(tracks.frame.camera, tracks.frame.track), codes.tolist()))


def _numbers(scene: Scene, names: dict[tuple[str, str], int]) -> np.ndarray:
    """Returns the number of each box's identity; a track that is not known gets a new one, here and later on."""
    codes, tracks = pd.factorize(scene.boxes.track)
    numbers = [names.setdefault((scene.camera, track), max(names.values(), default=-1) + 1) for track in tracks]
    return np.array(numbers, int)[codes] if len(codes) else np.zeros(0, int)


def _corners(boxes: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    columns = {"frame": boxes.frame, "id": ids, "x1": boxes.x, "y1": boxes.y}
    return pd.DataFrame({**columns, "x2": boxes.x + boxes.width, "y2": boxes.y + boxes.height}).reset_index(drop=True)


def _events(scenes: Sequence[Scene], tracks: Tracks, identities: Sequence) -> tuple[dict, dict]:
    """Returns the events of an accumulator that the ID measures read.

    These are all pairs that may match, RAW, and each true box and each box once: which of them match in a frame does
    not matter. So they are found by a few joins, where `MOTAccumulator.update` would solve a problem for each frame.
    """
    names, parts, first_frame = _names(tracks, identities), [], 0
    persons = {person: number for number, person in enumerate({p: 0 for s in scenes for p in s.truth.track})}
    if not persons:
        raise ReidError("the ground truth holds no box: nothing to score. Give the truth of these recordings.")
    for scene in scenes:
        frames = [side.frame.to_numpy(int) + first_frame for side in (scene.truth, scene.boxes)]
        true = pd.DataFrame({"FrameId": frames[0], "OId": scene.truth.track.map(persons).to_numpy(float)})
        found = pd.DataFrame({"FrameId": frames[1], "HId": _numbers(scene, names).astype(float)})
        both = matches(scene.boxes, scene.truth)
        pairs = true.iloc[both.true.astype(int)].reset_index(drop=True)
        pairs = pairs.assign(HId=found.HId.to_numpy()[both.box.astype(int)], D=1 - both.iou).drop_duplicates(_PAIR)
        kinds = (("RAW", pairs), ("RAW", true), ("RAW", found), ("MISS", true), ("FP", found))
        parts += [part.assign(Type=kind) for kind, part in kinds]
        first_frame = 1 + max((int(part.max()) for part in frames if len(part)), default=first_frame)
    events = pd.concat(parts, ignore_index=True)
    index = {"FrameId": events.FrameId.to_numpy(), "Event": np.arange(len(events))}
    return index, {name: events[name].to_numpy() for name in ("Type", "OId", "HId", "D")}


# --- Pairs of tracks ---


def _table(persons: Sequence, identities: Sequence) -> sparse.csr_matrix:
    """Returns how many tracks of each person, a row, have each identity, float64 `[P, K]`."""
    names = [("nobody", row) if person is None or pd.isna(person) else person for row, person in enumerate(persons)]
    rows, columns = pd.factorize(pd.Series(names, dtype=object))[0], pd.factorize(pd.Series(list(identities)))[0]
    shape = rows.max(initial=-1) + 1, columns.max(initial=-1) + 1
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)


def _pairs_in(counts: np.ndarray) -> np.ndarray:
    return counts * (counts - 1) / 2


def _rates(weights: np.ndarray, table: sparse.csr_matrix, right: np.ndarray, true: np.ndarray) -> tuple:
    """Returns precision and recall where each person counts `weights` `[draws, P]` times; NaN where there is no pair.

    Two persons who are drawn a and b times are wrongly linked a b times.
    """
    hits, positives = weights @ right, weights @ true
    wrong = ((weights @ table) ** 2 - weights**2 @ table.multiply(table)).sum(axis=1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / (hits + wrong), hits / positives


def _interval(values: np.ndarray) -> tuple[float, float]:
    return percentile_intervals(values[:, None])[0] if len(values) else (np.nan, np.nan)
