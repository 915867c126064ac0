"""Corrections: the file, the paths in it, and what they change in a dataset."""

import pandas as pd
import pytest

from keras_reid.data.corrections import changes, correct, newly_shared, read_corrections
from keras_reid.errors import ReidError

IMAGES = pd.DataFrame(
    {
        "image_path": [f"data/photos/{name}.jpg" for name in ("a1", "a2", "a3", "b1", "b2", "c1")],
        "person": ["anna", "anna", "anna", "ben", "ben", "carl"],
        "split": ["query", "gallery", "gallery", "query", "gallery", "train"],
    }
)


def written(path, text: str, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def corrected(*lines: str) -> pd.Series:
    rows = [(f"data/photos/{a}.jpg", f"data/photos/{b}.jpg" if b else pd.NA, verdict) for a, b, verdict in lines]
    corrections = pd.DataFrame(rows, columns=["image_path", "other_path", "verdict"], dtype="string")
    return correct(IMAGES, corrections, "data")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image_path,other_path,verdict\nx.jpg,y.jpg,same\nx.jpg,,bad crop\n", "utf-8"),
        (
            "image_path,other_path,verdict\r\nx.jpg,y.jpg,Same\r\nx.jpg,y.jpg,same \r\n,,\r\nx.jpg,,bad crop",
            "utf-8-sig",
        ),
        ('verdict;note;other_path;image_path\nsame;;"y.jpg";x.jpg\nbad crop;"a\nb";;x.jpg\n', "utf-8"),
    ],
)
def test_what_spreadsheets_make_of_a_file_is_read(tmp_path, text, encoding):
    frame = read_corrections(written(tmp_path / "c.csv", text, encoding))
    assert frame.fillna("").values.tolist() == [["x.jpg", "y.jpg", "same"], ["x.jpg", "", "bad crop"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("image_path,other_path,verdict\n", "holds no correction"),
        ("image_path,verdict\nx.jpg,same\n", "has no column other_path"),
        ("image_path,other_path,verdict\nx.jpg,y.jpg,same\nx.jpg,z.jpg,yes\n", "row 2 has the verdict 'yes', expected"),
        ("image_path,other_path,verdict\nx.jpg,y.jpg,\n", "row 1 has no verdict"),
        ("image_path,other_path,verdict\n,y.jpg,same\n", "row 1 has no image_path"),
        ("image_path,other_path,verdict\nx.jpg,,same\n", "row 1 has no other_path, which 'same' needs"),
        ("image_path,other_path,verdict\nx.jpg,y.jpg,same,now\n", "cannot be read as a CSV"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, text, message):
    with pytest.raises(ReidError, match=message):
        read_corrections(written(tmp_path / "c.csv", text))


def test_merge_move_split_and_drop():
    assert corrected(("b1", "c1", "same")).tolist() == ["anna"] * 3 + ["ben"] * 3
    assert corrected(("a1", "a2", "not the same")).tolist() == ["anna", "anna-2", "anna", "ben", "ben", "carl"]
    moved = corrected(("a1", "b2", "same"), ("b1", "b2", "not the same"))
    assert moved.tolist() == ["anna", "anna", "anna", "ben", "anna", "carl"]
    assert corrected(("a1", "b2", "bad crop"), ("c1", "", "bad crop")).isna().tolist() == [False] * 4 + [True] * 2


def test_what_is_the_same_as_a_bad_crop_stays_the_same():
    names = corrected(("a1", "b1", "same"), ("b1", "c1", "same"), ("a2", "b1", "bad crop"))
    assert names.fillna("-").tolist() == ["anna", "anna", "anna", "-", "anna", "anna"]


def test_changes_are_counted():
    names = corrected(("b1", "c1", "same"), ("a1", "a2", "not the same"), ("a1", "a3", "bad crop"))
    assert changes(IMAGES, names).values.tolist() == [
        ["split", "anna", "anna-2", 1, "data/photos/a2.jpg"],
        ["drop", "anna", "", 1, "data/photos/a3.jpg"],
        ["merge", "carl", "ben", 1, "data/photos/c1.jpg"],
    ]
    moved = corrected(("a1", "b2", "same"), ("b1", "b2", "not the same"))
    assert changes(IMAGES, moved).values.tolist() == [["move", "ben", "anna", 1, "data/photos/b2.jpg"]]
    assert not len(changes(IMAGES, IMAGES.person))


def test_who_is_in_training_and_test_now():
    assert newly_shared(IMAGES, corrected(("b1", "c1", "same"))) == ["ben"]
    assert newly_shared(IMAGES, corrected(("a1", "b1", "same"))) == []


def test_paths_are_found_from_the_folder_of_the_csv_and_as_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("data/photos/a1.jpg", "photos/a1.jpg", f"{tmp_path}/data/photos/a1.jpg", "./data/x/../photos/a1.jpg"):
        corrections = pd.DataFrame(
            {"image_path": [path], "other_path": [pd.NA], "verdict": ["bad crop"]}, dtype="string"
        )
        assert correct(IMAGES, corrections, "data").isna().tolist() == [True] + [False] * 5
    with pytest.raises(ReidError, match="1 of 1 paths are no images of the dataset, the first is 'a1.jpg'"):
        correct(IMAGES, corrections.assign(image_path="a1.jpg"), "data")


def test_an_image_that_is_listed_twice_is_one_image():
    images = pd.concat([IMAGES, IMAGES.iloc[[4]].assign(split="query")], ignore_index=True)
    corrections = pd.DataFrame({"image_path": ["b1"], "other_path": ["b2"], "verdict": ["not the same"]})
    corrections[["image_path", "other_path"]] = "data/photos/" + corrections[["image_path", "other_path"]] + ".jpg"
    assert correct(images, corrections, "").tolist()[3:] == ["ben", "ben-2", "carl", "ben-2"]
    with pytest.raises(ReidError, match="'data/photos/b2.jpg' is listed with two names"):
        correct(images.assign(person=[*IMAGES.person, "dora"]), corrections, "")


def test_something_must_be_left():
    with pytest.raises(ReidError, match="none would be left"):
        corrected(*((name, "", "bad crop") for name in ("a1", "a2", "a3", "b1", "b2", "c1")))
