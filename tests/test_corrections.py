"""prepare corrections: planted label errors are found, exported, corrected, and the score rises; what is refused."""

import csv
import os
import zlib

import numpy as np
import pytest

from keras_reid import prepare
from keras_reid.data import read_csv_dataset, read_market1501
from keras_reid.data.readers.own_csv import csv_table
from keras_reid.evaluation import Embedded, confused_identities
from keras_reid.evaluation.confusions import suggested_corrections

COLUMNS = ("image_path", "other_path", "verdict")


def written(path, rows, columns=COLUMNS):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def embedded(catalog) -> Embedded:
    """Query and gallery as a fair network would embed them: by who is on the picture, which its file's name says."""
    random, sides = np.random.default_rng(0), []
    places = random.normal(size=(100, 8))
    for split in ("query", "gallery"):
        frame = catalog[catalog.split == split].reset_index(drop=True)
        people = frame.image_path.map(lambda path: int(os.path.basename(path)[:4])).to_numpy()
        noise = [np.random.default_rng(zlib.crc32(os.path.basename(path).encode())) for path in frame.image_path]
        sides += [frame, places[people] + 0.5 * np.array([one.normal(size=8) for one in noise])]
    return Embedded(*sides)


def run(*arguments):
    return prepare.main(["prepare", "corrections", *map(str, arguments)])


def partition(catalog):
    return {frozenset(images) for _, images in catalog.groupby("person_id_name").image_path}


def test_planted_errors_are_found_exported_and_corrected(synthetic_dir, tmp_path, capsys):
    """Two names for one person, a gallery image and a query under somebody else's name."""
    market = read_market1501(synthetic_dir)
    table = csv_table(market[market.person_id > 0], None).reset_index(drop=True)
    table.to_csv(tmp_path / "true.csv", index=False)
    table.loc[(table.person_id == "8") & (table.camera_id == "2"), "person_id"] = "8 again"
    table.loc[((table.person_id == "10") & (table.split == "gallery")).idxmax(), "person_id"] = "11"
    table.loc[((table.person_id == "12") & (table.split == "query")).idxmax(), "person_id"] = "9"
    table.to_csv(tmp_path / "wrong.csv", index=False)
    true, wrong = (read_csv_dataset(tmp_path / f"{name}.csv") for name in ("true", "wrong"))
    scored = embedded(wrong)
    found = confused_identities(scored, count=3)
    assert {one[:3] for one in found} == {("8", "8 again", "merge"), ("11", "10", "move"), ("9", "12", "move")}
    rows = [row for one in found for row in suggested_corrections(scored, one)]
    written(tmp_path / "corrections.csv", rows)
    files = f"--file={tmp_path}/corrections.csv", f"--data_dir={tmp_path}/wrong.csv"
    assert run(*files, f"--output={tmp_path}/new.csv") == 0
    assert "before: " in capsys.readouterr().out
    corrected = read_csv_dataset(tmp_path / "new.csv")
    assert partition(corrected) == partition(true) != partition(wrong)
    before, after = (embedded(one).evaluate().mean_average_precision for one in (wrong, corrected))
    assert after > before + 0.05
    assert after == pytest.approx(embedded(true).evaluate().mean_average_precision)


# --- The command ---

PEOPLE = """image_path;person_id;note;camera_id;split
photos/a1.jpg;anna;"wears; red";lobby;train
photos/a2.jpg; anna;0,50;dock;train
photos/b1.jpg;ben;;007;query
photos/b2.jpg;ben;"two
lines";;gallery
photos/c1.jpg;carl;x;dock;gallery
"""


@pytest.fixture
def place(tmp_path):
    """A CSV data set, whose photos need not be there, and corrections: c1 is ben, a2 is not anna, b1 a bad crop."""
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    rows = [("photos/b2.jpg", "photos/c1.jpg", "same"), ("photos/a1.jpg", "photos/a2.jpg", "not the same")]
    written(tmp_path / "corrections.csv", [*rows, ("photos/a1.jpg", "photos/b1.jpg", "bad crop")])
    return tmp_path


def arguments(place, *more) -> list[str]:
    return [f"--file={place}/corrections.csv", f"--data_dir={place}/people.csv", *more]


def test_it_shows_what_it_would_do_and_writes_nothing(place, capsys):
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert run(*arguments(place)) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["3", "corrections:", "1", "'same',", "1", "'not", "the", "same',", "1", "'bad", "crop'"]
    assert [line[:4] for line in lines[2:5]] == [
        ["split", "anna", "anna-2", "1"],
        ["drop", "ben", "1", f"{place}/photos/b1.jpg"],
        ["merge", "carl", "ben", "1"],
    ]
    assert lines[5:] == [
        ["before:", "5", "images", "of", "3", "identities"],
        ["after:", "4", "images", "of", "3", "identities"],
        ["nothing", "is", "written", "yet:", "add", "--output=NEW.csv"],
    ]
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_it_writes_a_new_csv_with_all_columns_in_the_same_order(place, capsys):
    assert run(*arguments(place, f"--output={place}/new.csv")) == 0
    assert capsys.readouterr().out.endswith(f"ready: --dataset=csv --data_dir={place}/new.csv\n")
    with open(place / "new.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["image_path", "person_id", "note", "camera_id", "split"],
            ["photos/a1.jpg", "anna", "wears; red", "lobby", "train"],
            ["photos/a2.jpg", "anna-2", "0,50", "dock", "train"],
            ["photos/b2.jpg", "ben", "two\nlines", "", "gallery"],
            ["photos/c1.jpg", "ben", "x", "dock", "gallery"],
        ]
    assert (place / "people.csv").read_text(encoding="utf-8") == PEOPLE


def test_in_another_folder_the_paths_still_lead_to_the_images(place):
    (place / "else").mkdir()
    assert run(*arguments(place, f"--output={place}/else/new.csv")) == 0
    catalog = read_csv_dataset(place / "else" / "new.csv", must_exist=False)
    assert catalog.image_path.tolist() == [f"{place}/photos/{name}.jpg" for name in ("a1", "a2", "b2", "c1")]


def test_a_person_in_training_and_test_is_a_warning(place, capsys):
    written(place / "corrections.csv", [("photos/a1.jpg", "photos/c1.jpg", "same")])
    assert run(*arguments(place)) == 0
    assert capsys.readouterr().err.startswith("warning: 1 people are now in training and test")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output={}/people.csv"], "people.csv is there already, and nothing is overwritten"),
        (["--output={}/corrections.csv"], "corrections.csv is there already"),
        (["--output={}/nowhere/new.csv"], "cannot be written: no folder"),
        (["--file="], "--file is not set"),
        (["--file={}/none.csv"], "none.csv' cannot be read as a CSV"),
        (["--data_dir={}/none.csv"], "none.csv' does not exist: expected a .csv file"),
        (["--data_dir={}"], "is a folder: set --data_dir to the .csv file itself"),
        (["--archive=a.zip"], "--archive is for a downloaded dataset"),
        (["--dataset=market1501"], "Expected Market-1501's folder"),
        (["again"], "expected one name, got corrections again"),
    ],
)
def test_what_is_refused(place, refused, more, message):
    line = ["prepare", "corrections", *arguments(place), *(one.format(place) for one in more)]
    assert message in refused(prepare.main, line)
    assert sorted(path.name for path in place.iterdir()) == ["corrections.csv", "people.csv"]


def test_contradictions_name_three_images_in_one_line(place, refused):
    names = [f"photos/{name}.jpg" for name in ("b1", "b2", "c1")]
    rows = [(*names[:2], "same"), (*names[1:], "same"), (names[0], names[2], "not the same")]
    written(place / "corrections.csv", rows)
    error = refused(prepare.main, ["prepare", "corrections", *arguments(place, f"--output={place}/new.csv")])
    assert all(repr(f"{place}/{name}") in error for name in names)
    assert not (place / "new.csv").exists()


def test_flags_of_corrections_are_not_those_of_other_names(refused):
    assert "--file is for corrections" in refused(prepare.main, ["prepare", "market1501", "--file=c.csv"])


def test_another_dataset_becomes_a_csv(synthetic_dir, tmp_path):
    """Junk is left out, each distractor is somebody, and the paths lead to the images from anywhere."""
    market = read_market1501(synthetic_dir)
    nobody = market.image_path[market.person_id == 0].tolist()
    written(tmp_path / "c.csv", [(market.image_path[0], "", "bad crop"), (*nobody[:2], "same")])
    flags = ["--dataset=synthetic", f"--data_dir={synthetic_dir}", f"--file={tmp_path}/c.csv"]
    assert run(*flags, f"--output={tmp_path}/new.csv") == 0
    catalog = read_csv_dataset(tmp_path / "new.csv")
    kept = market[market.person_id != -1].iloc[1:]
    assert catalog.image_path.tolist() == kept.image_path.tolist()
    assert catalog.camera_id.tolist() == kept.camera_id.tolist() and catalog.split.tolist() == kept.split.tolist()
    named = kept.person_id > 0
    assert catalog.person_id_name[named.tolist()].tolist() == kept.person_id[named].astype(str).tolist()
    assert catalog.person_id_name[~named.to_numpy()].tolist() == ["distractor-1", "distractor-1"]
