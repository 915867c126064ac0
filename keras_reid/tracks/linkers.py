"""Linkers compared: IDF1 and pairs before linking, after it, without its parts, and by one that knows the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from keras_reid.evaluation.neighbors import nearest_neighbors
from keras_reid.evaluation.uncertainty import DRAWS
from keras_reid.tracks.linking import Pairs, link
from keras_reid.tracks.pairs import Comparable
from keras_reid.tracks.scores import Scene, hota, identity_scores, pair_scores, persons_of
from keras_reid.tracks.tracks_file import Tracks
from keras_reid.tracks.travel_times import TravelTimes, known_threshold

BEFORE, AFTER = "each camera's own ids", "linked"


def ablation(
    tracks: Tracks,
    scenes: Sequence[Scene],
    *,
    identities: np.ndarray | None = None,
    threshold: float | None = None,
    travel_times: TravelTimes | None = None,
    overlapping: Pairs | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Scores linking, its parts left out one at a time, and other linkers.

    Args:
        tracks: T tracks.
        scenes: boxes and truth of each recording.
        identities: int64 `[T]`, as the tracks were linked; None for what `link` finds with the arguments below.
        threshold: as of `link`.
        travel_times: as of `link`.
        overlapping: as of `link`.
        draws: behind the intervals.

    Returns:
        A row for each linker, named by the index; columns idf1, id_precision, id_recall, hota (NaN where reid-hota is
        not installed), pair_precision, its interval's pair_precision_low and pair_precision_high, the same of
        pair_recall, and identities.

    Raises:
        ReidError: as `link` and `identity_scores`.
    """
    limit, persons = known_threshold(tracks, threshold), persons_of(tracks, scenes)

    def linked(factor: float = 1.0, windows: TravelTimes | None = travel_times, **options: bool) -> np.ndarray:
        return link(
            tracks, threshold=factor * limit, travel_times=windows, overlapping=overlapping, **options
        ).identities

    linkers: dict[str, Callable[[], np.ndarray]] = {
        BEFORE: lambda: np.arange(len(tracks)),
        AFTER: linked if identities is None else lambda: identities,
        "without cannot-link": lambda: linked(cannot_link=False),
        "threshold x 0.8": lambda: linked(0.8),
        "threshold x 1.2": lambda: linked(1.2),
        "nearest neighbor, no constraints": lambda: nearest_neighbor_linker(tracks, limit),
        "oracle: knows the truth": lambda: oracle_linker(persons),
    }
    if travel_times:
        linkers["without travel times"] = lambda: linked(windows=None)
    rows = {}
    for name, linker in linkers.items():
        given = linker()
        ids, pairs = identity_scores(scenes, tracks, given), pair_scores(persons, given, draws=draws)
        higher_order = hota(scenes, tracks, given)
        rows[name] = {
            "idf1": ids.idf1,
            "id_precision": ids.precision,
            "id_recall": ids.recall,
            "hota": np.nan if higher_order is None else higher_order,
            "pair_precision": pairs.precision,
            "pair_precision_low": pairs.precision_interval[0],
            "pair_precision_high": pairs.precision_interval[1],
            "pair_recall": pairs.recall,
            "pair_recall_low": pairs.recall_interval[0],
            "pair_recall_high": pairs.recall_interval[1],
            "identities": len(set(given.tolist())),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def oracle_linker(persons: Sequence) -> np.ndarray:
    """Returns identities by the truth, int64 `[T]`; a track that shows nobody has one of its own."""
    names = [("nobody", row) if person is None else person for row, person in enumerate(persons)]
    return pd.factorize(pd.Series(names, dtype=object))[0] + 1


def nearest_neighbor_linker(tracks: Tracks, threshold: float) -> np.ndarray:
    """Returns identities where each track is linked with its nearest one, up to the threshold, whoever that is."""
    count = len(tracks)
    if count < 2:
        return np.arange(1, count + 1)
    comparable = Comparable.of(tracks)
    found = nearest_neighbors(comparable.rows, comparable.rows, 2)
    is_other = found.indices != np.arange(count)[:, None]
    column = np.where(is_other[:, 0], 0, 1)  # not itself
    nearest = np.take_along_axis(found.indices, column[:, None], axis=1)[:, 0]
    distances = comparable.as_distances(np.take_along_axis(found.squared_distances, column[:, None], axis=1)[:, 0])
    near = np.flatnonzero(distances <= threshold)
    graph = coo_matrix((np.ones(len(near)), (near, nearest[near])), (count, count))
    return connected_components(graph, directed=False)[1] + 1


def ablation_table(scores: pd.DataFrame) -> str:
    """Returns the scores as a table for the screen, in percent."""

    def percent(value: float) -> str:
        return "" if pd.isna(value) else f"{100 * value:.1f}"

    table = pd.DataFrame(index=scores.index)
    for title, column in (("IDF1 %", "idf1"), ("IDP %", "id_precision"), ("IDR %", "id_recall"), ("HOTA %", "hota")):
        table[title] = scores[column].map(percent)
    for title, column in (("pair precision %", "pair_precision"), ("pair recall %", "pair_recall")):
        low, high = (scores[f"{column}_{end}"].map(percent) for end in ("low", "high"))
        table[title] = scores[column].map(percent) + " (" + low + " to " + high + ")"
        table[title] = table[title].replace(" ( to )", "")
    table["identities"] = scores.identities
    if scores.hota.isna().all():
        del table["HOTA %"]
        return f"{table.to_string()}\nHOTA was not counted: pip install reid-hota, on Python 3.12"
    return table.to_string()
