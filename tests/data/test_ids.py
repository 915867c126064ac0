"""Ids and their names: each by itself, whatever the other rows hold; and names that hardly differ."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.ids import as_names, code_cameras, code_people, look_alikes, names_of, told_apart


def cameras_of(*names) -> list:
    """Returns for each name the position of the first one that is the same camera."""
    codes = code_cameras(pd.Series(names, dtype="string"))["camera_id"].fillna(-1).tolist()
    return [codes.index(code) for code in codes]


@pytest.mark.parametrize("other", ["9", "lobby", None, "", "  "])
def test_cameras_are_told_apart_alike_whatever_another_row_holds(other):
    """Seven names of three cameras, then the other: white space alone is no difference, "03" and "3" are two."""
    names = ["3", "03", "3 ", " 03", "dock", "\u3000dock", "3\t"]
    assert cameras_of(*names, other)[:7] == [0, 1, 0, 1, 4, 4, 0]
    assert cameras_of(*names[:4], other)[:4] == [0, 1, 0, 1]


def test_whole_numbers_stay_as_long_as_they_say_all_that_was_written():
    assert code_cameras(pd.Series(["3", " 12", None]))["camera_id"].tolist() == [3, 12, pd.NA]
    for name in ("03", "3.0", "-3", "+3", "\u0663", "1234567890"):
        columns = code_cameras(pd.Series(["7", name]))
        assert columns["camera_id_name"].tolist() == ["7", name] and columns["camera_id"].nunique() == 2


def test_people_are_named_without_the_space_around_them():
    columns = code_people(pd.Series(["per1", "per1 ", "\u00a0per1", "per 1", "0", "-1"]))
    assert columns["person_id_name"].tolist() == ["per1", "per1", "per1", "per 1", "0", "-1"]
    assert columns["person_id"].tolist() == [4, 4, 4, 3, 2, 1]


def test_names_of_numbers_are_those_of_each_alone():
    """A float is how pandas holds a whole number beside a gap: whatever else is in the column, 1.0 is 1."""
    assert as_names(pd.Series([1.0, np.nan, 2.5, 1e16])).tolist() == ["1", pd.NA, "2.5", "10000000000000000"]
    assert as_names(pd.Series([1.0, 2.0])).tolist() == ["1", "2"]
    assert as_names(pd.Series([1, -1])).tolist() == ["1", "-1"]
    assert as_names(pd.Series(["1.0 ", "", None, "a"])).tolist() == ["1.0", pd.NA, pd.NA, "a"]
    frame = pd.DataFrame({"person_id": [1], "person_id_name": ["0001"], "camera_id": [2]})
    assert names_of(frame, "person_id").tolist() == ["0001"] and names_of(frame, "camera_id").tolist() == [2]


ALIKE = [
    ("lobby", "Lobby", "LOBBY"),
    ("Jos\u00e9", "Jose\u0301"),
    ("stra\u00dfe", "STRASSE"),
    ("1", "01", "1.0", "1,00", "+1", "\u0661", "\uff11"),
    ("-1", "-01"),
    ("0", "00", "0.0"),
    ("1.5", "1.50"),
    ("cam1", "cam01", "Cam001"),
    ("visitor 12", "visitor  12", "visitor\u00a012"),
    ("anna", "anna\u200b"),
]


@pytest.mark.parametrize("names", ALIKE)
def test_names_that_hardly_differ_are_one_group(names):
    others = ("dock", "2", "1.05", "10", "12", "1 2", "a1b", "josh", "--1", "9" * 5000, "0" * 5000 + "8")
    assert look_alikes([*names, *others, *names]) == [tuple(sorted(names))]


@pytest.mark.parametrize(
    "names", [("1", "10"), ("1.05", "1.5"), ("a1", "a11"), ("v1.10", "v1.1"), ("1", "-1"), ("0", "-"), ("\u0131", "i")]
)
def test_names_that_differ_are_none(names):
    assert look_alikes(names) == []


def test_what_looks_the_same_on_a_screen_is_told_apart_by_its_letters():
    assert told_apart(["Jose\u0301", "Jos\u00e9"]) == ["'Jose\\u0301'", "'Jos\\xe9'"]
    assert told_apart(["anna", "anna\u200b"]) == ["'anna'", "'anna\\u200b'"]
    assert told_apart(["lobby", "Lobby"]) == ["lobby", "Lobby"]
