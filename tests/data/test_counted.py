"""Gallery images that count for a query: by loops over all pairs, as the evaluation counts, and in words."""

import numpy as np
import pandas as pd
import pytest

from keras_reid import choices
from keras_reid.data.counted import (
    SHARED_COLUMN,
    SHARED_NAME,
    find_matches,
    has_match,
    missing_cameras_line,
    people_of,
    shared_keys,
)
from keras_reid.errors import ReidError
from keras_reid.evaluation import evaluate_retrieval


def test_every_rule_is_known():
    assert tuple(SHARED_COLUMN) == tuple(SHARED_NAME) == choices.IGNORE


def side(random: np.random.Generator, count: int) -> pd.DataFrame:
    cameras = pd.Series(random.integers(1, 3, count), dtype="Int64").mask(random.random(count) < 0.2)
    return pd.DataFrame(
        {
            "person_id": random.integers(-1, 12, count),
            "camera_id": cameras,
            "tracklet_id": random.integers(0, 4, count),
            "image_path": random.integers(0, 5, count).astype(str),
        }
    )


@pytest.mark.parametrize("ignore", choices.IGNORE)
@pytest.mark.parametrize("missing_cameras", ["distinct", "leave_out"])
@pytest.mark.parametrize("seed", range(3))
def test_queries_without_match_are_those_that_the_evaluation_skips(ignore, missing_cameras, seed):
    random = np.random.default_rng(seed)
    query, gallery = side(random, 30), side(random, 40)
    sides = {"query": query, "gallery": gallery}
    names = {"person_ids": "person_id", "camera_ids": "camera_id", "tracklet_ids": "tracklet_id", "files": "image_path"}
    result = evaluate_retrieval(
        random.random((30, 4)),
        random.random((40, 4)),
        ignore=ignore,
        missing_cameras=missing_cameras,
        **{f"{side}_{name}": frame[column] for side, frame in sides.items() for name, column in names.items()},
    )
    matched = has_match(query, gallery, ignore=ignore, missing_cameras=missing_cameras)
    assert np.flatnonzero(~matched).tolist() == result.skipped_queries.tolist()


@pytest.mark.parametrize("ignore", choices.IGNORE)
@pytest.mark.parametrize("missing_cameras", ["distinct", "leave_out"])
def test_matches_are_those_of_a_loop_over_all_pairs(ignore, missing_cameras):
    """True matches, and wrong answers: all that counts and stands outside of first to last."""
    random = np.random.default_rng(5)
    query, gallery = side(random, 30).iloc[::-1], side(random, 40).iloc[::-1]
    leaves_out = ignore == "same_camera" and missing_cameras == "leave_out"

    def is_left_out(row):
        return leaves_out and row.camera_id is pd.NA

    matches = find_matches(*people_of(query, gallery, ignore=ignore, missing_cameras=missing_cameras))
    for n, one in enumerate(query.itertuples()):
        true, wrong = set(), set()
        for m, other in enumerate(gallery.itertuples()):
            if other.person_id == -1 or is_left_out(other):
                continue
            if other.person_id != one.person_id:
                wrong.add(m)
                continue
            column = SHARED_COLUMN[ignore]
            same = column is not None and getattr(one, column) == getattr(other, column)
            if (same is pd.NA or not same) and not is_left_out(one):
                true.add(m)
        assert set(matches.order[matches.position[matches.query == n]]) == true
        outside = np.r_[0 : matches.first[n], matches.last[n] : len(matches.order)]
        assert set(matches.order[outside]) == wrong


@pytest.mark.parametrize("dtype", ["Int64", "float64", "object", "string"])
def test_a_missing_value_shares_nothing(dtype):
    missing = np.nan if dtype == "float64" else pd.NA
    values = {"string": ["a", missing, "a", missing, "b"]}.get(dtype, [3, missing, 3, missing, -1])
    keys = shared_keys(pd.DataFrame({"camera_id": pd.Series(values, dtype=dtype)}), "same_camera")
    assert keys.dtype == np.int64 and keys[0] == keys[2] and len(set(keys)) == 4
    if dtype == "Int64":
        assert keys[[0, 4]].tolist() == [3, -1]


CATALOG = pd.DataFrame(
    {
        "camera_id": pd.Series([pd.NA, 1, pd.NA, 2, pd.NA], dtype="Int64"),
        "split": ["train", "query", "query", "gallery", "gallery"],
    }
)


@pytest.mark.parametrize(("missing_cameras", "means"), [("distinct", "camera of its own"), ("leave_out", "not count")])
def test_what_missing_cameras_mean_is_said(missing_cameras, means):
    """Of the five images one trains, and that one needs no camera."""
    line = missing_cameras_line(CATALOG, missing_cameras)
    assert line.startswith("2 of 4 query and gallery images have no camera id; in scoring")
    assert means in line and line.endswith(f"(missing_cameras={missing_cameras})")
    assert missing_cameras_line(CATALOG.dropna(), missing_cameras) == ""
    assert missing_cameras_line(CATALOG[:2], missing_cameras) == ""


def test_missing_cameras_are_refused_with_the_ways_out():
    with pytest.raises(ReidError, match="^2 of 4 .*: give them, or say .*missing_cameras=distinct .*or leave_out"):
        missing_cameras_line(CATALOG, "refuse")
    assert missing_cameras_line(CATALOG.dropna(), "refuse") == ""
    assert missing_cameras_line(CATALOG, "refuse", ignore="nothing") == ""
    with pytest.raises(ReidError, match="missing_cameras=drop, expected refuse, distinct, leave_out"):
        missing_cameras_line(CATALOG, "drop")
