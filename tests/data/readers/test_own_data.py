"""Tests of what a CSV and folders of one's own mean, and that paths may be anything that TensorFlow opens."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from keras_reid.data import describe, read_csv_dataset, read_dataset, read_folder, read_market1501
from keras_reid.data.image_list import list_images
from keras_reid.data.places import is_remote, list_files
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from tests.data.readers.test_readers import add_images, base_names

# --- csv ---

IMAGES = ["a.jpg", "b.jpg", "c.jpg", "far/d.png"]


def write_csv(root, text, images=IMAGES):
    add_images(root, images)
    path = root / "people.csv"
    path.write_text(text)
    return path


def test_ids_are_any_text_and_nobody_is_junk(tmp_path):
    """Sorted names: "-1", "0", "007", "7" are 1, 2, 3, 4, whatever the order of the rows."""
    path = write_csv(
        tmp_path,
        "split,person_id,image_path,camera_id,note\n"
        "train,7,a.jpg,lobby,x\ntrain,007,b.jpg,dock,\nquery,0,c.jpg,lobby,\ngallery,-1,far/d.png,3,\n",
    )
    frame = read_csv_dataset(path)
    assert frame.person_id.tolist() == [4, 3, 2, 1]
    assert frame.person_id_name.tolist() == ["7", "007", "0", "-1"]
    assert frame.camera_id.tolist() == [3, 2, 3, 1]  # 3, dock, lobby
    assert frame.camera_id_name.tolist() == ["lobby", "dock", "lobby", "3"]
    assert frame.split.tolist() == ["train", "train", "query", "gallery"]
    assert [os.path.relpath(place, tmp_path) for place in frame.image_path] == IMAGES
    assert frame.person_id.dtype == frame.camera_id.dtype == "int64" and "note" not in frame
    assert "junk (id -1)" in describe(frame)


def test_whole_numbers_of_cameras_stay_and_tracks_are_kept(tmp_path):
    text = "image_path,person_id,camera_id,split,tracklet_id\n"
    text += "a.jpg,x,3,train,t1\nb.jpg,y,3 ,train, t1\nc.jpg,y,12,query,t2\n"
    frame = read_csv_dataset(write_csv(tmp_path, text))
    assert frame.camera_id.tolist() == [3, 3, 12] and "camera_id_name" not in frame
    assert frame.tracklet_id.tolist() == ["t1", "t1", "t2"]


@pytest.mark.parametrize("other", ["9", "lobby", ""])
def test_a_name_is_read_alike_whatever_other_rows_hold(tmp_path, other):
    """Told apart by all but the space at the ends, in every column of ids."""
    cells = ["1", "1 ", "01", "1.0", other]
    rows = [f"a.jpg,{cell or 'x'},{cell},train,{cell}" for cell in cells]
    frame = read_csv_dataset(
        write_csv(tmp_path, "\n".join(["image_path,person_id,camera_id,split,tracklet_id", *rows]))
    )
    for column in ("person_id", "camera_id", "tracklet_id"):
        first, second, third, fourth = frame[column][:4]
        assert first == second and len({first, third, fourth}) == 3
    assert frame.person_id_name.tolist()[:4] == frame.camera_id_name.tolist()[:4] == ["1", "1", "01", "1.0"]


PLAIN = "image_path,person_id,camera_id,split,height\na.jpg,per 1,lobby,train,0.5\nb.jpg,007,3,query,12\n"
DIALECTS = {
    "spaces": PLAIN.replace(",", " , ").replace(".jpg ,", ".jpg,").replace("image_path ,", "image_path,"),
    "a mark of UTF-8": f"\ufeff{PLAIN}",
    "a comment": f"# made by hand; see \tthe wiki, page 2\n{PLAIN}",
    "a mark, comments and empty lines": f"\ufeff# made\n\n#\n \n{PLAIN}",
    "semicolons": PLAIN.replace(",", ";"),
    "semicolons and decimal commas": PLAIN.replace(",", ";").replace("0.5", "0,5"),
    "a comment in quotes above semicolons": '"# a, b, c, d, e, f"\n' + PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "a column named #": "#," + "\n1,".join(PLAIN.split("\n", 2)),
    "lines of old Macs": PLAIN.replace("\n", "\r"),
    "lines of Windows": PLAIN.replace("\n", "\r\n"),
    "columns without a name": "\n".join(f"{line},, ,  " for line in PLAIN.splitlines()),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_csv_of_any_spreadsheet_is_read(tmp_path, dialect):
    path = write_csv(tmp_path, "")
    path.write_bytes(DIALECTS[dialect].encode())
    frame, expected = read_csv_dataset(path), read_csv_dataset(write_csv(tmp_path / "plain", PLAIN))
    assert frame.drop(columns="image_path").equals(expected.drop(columns="image_path"))
    assert frame.person_id_name.tolist() == ["per 1", "007"] and base_names(frame) == ["a.jpg", "b.jpg"]


def test_an_image_that_is_not_there_may_stay_for_those_who_ask(tmp_path):
    path = write_csv(tmp_path, "image_path,person_id,split\na.jpg,x,train\ngone.jpg,x,train\n")
    assert base_names(read_dataset("csv", path, must_exist=False)) == ["a.jpg", "gone.jpg"]
    with pytest.raises(ReidError, match="1 images that .* names do not exist: .*gone.jpg"):
        read_dataset("csv", path)


@pytest.mark.parametrize(
    ("head", "cells", "cameras"),
    [
        ("image_path,person_id,split", "", [pd.NA] * 2),
        ("image_path,person_id,split,camera_id", ",", [pd.NA] * 2),
        ("image_path,person_id,split,camera_id", ",2", [2] * 2),
    ],
)
def test_cameras_may_be_missing(tmp_path, head, cells, cameras):
    frame = read_csv_dataset(write_csv(tmp_path, f"{head}\na.jpg,x,train{cells}\nb.jpg,x,train{cells}\n"))
    assert frame.camera_id.tolist() == cameras
    assert frame.camera_id.dtype == ("Int64" if pd.isna(cameras[0]) else "int64")


def test_absolute_paths_are_taken_as_they_are(tmp_path):
    add_images(tmp_path, ["elsewhere/a.jpg"])
    place = tmp_path / "elsewhere" / "a.jpg"
    (tmp_path / "lists").mkdir()
    path = write_csv(tmp_path / "lists", f"image_path,person_id,split\n{place},x,train\n", [])
    assert read_csv_dataset(path).image_path.tolist() == [str(place)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("image_path,person_id\na.jpg,x\n", "no column split: its columns are 'image_path', 'person_id'"),
        ("path,id,split\na.jpg,x,train\n", "no column image_path, person_id"),
        ("image_path,person_id,split\n", "names no image"),
        ("image_path,person_id,split\na.jpg,x,train\nb.jpg,,train\n", "no person_id in 1 rows, the first is row 2"),
        ("image_path,person_id,split\n,x,train\n", "no image_path in 1 rows"),
        ("image_path,person_id,split\na.jpg,x,\n", "no split in 1 rows"),
        ("image_path,person_id,split\na.jpg,x,train\nb.jpg,x,test\n", "1 rows of an unknown split.* row 2, 'test'"),
        ("image_path,person_id,split\na.jpg,x,Train\n", "'Train': expected train, query or gallery"),
        ("image_path,person_id,split\na.jpg,x,train\nz.jpg,x,train\n", "1 images that .* do not exist: .*z.jpg"),
        ("image_path,person_id,split\na.jpg,x,train,7\n", "cannot be read as a CSV"),
        ("image_path,person_id,split\na.jpg,x,train\nb.jpg, \u3000,train\n", "no person_id in 1 rows, .* row 2"),
        ("image_path,person_id,split,person_id \na.jpg,x,train,y\n", "column 'person_id' is there twice"),
        ("image_path,person_id,split\na.jpg,x\0y,train\n", "a null character"),
        ("# made\n# by hand\n", "cannot be read as a CSV .it is empty"),
        ("", "cannot be read as a CSV"),
    ],
)
def test_a_bad_csv_is_named(tmp_path, text, error):
    with pytest.raises(ReidError, match=error):
        read_csv_dataset(write_csv(tmp_path, text))


def test_the_csv_itself_is_named(tmp_path):
    with pytest.raises(ReidError, match="is a folder: set data_dir to the .csv file"):
        read_csv_dataset(tmp_path)
    with pytest.raises(ReidError, match="none.csv' does not exist: expected a .csv"):
        read_csv_dataset(tmp_path / "none.csv")


# --- folder ---

TREE = ["train/anna/c1_1.jpg", "train/anna/c2_1.jpg", "train/0/c1_2.jpg", "query/-1/c1_3.jpg", "gallery/-1/c2_3.jpg"]


def test_a_folder_is_a_person(tmp_path):
    """Sorted names: "-1", "0", "anna" are 1, 2, 3."""
    add_images(tmp_path, [*TREE, "train/.thumbs/x.jpg"])
    (tmp_path / "train" / "readme.txt").write_text("x")
    frame = read_folder(tmp_path, camera_pattern=r"c(\d)_")
    assert frame.split.tolist() == ["train"] * 3 + ["query", "gallery"]
    assert frame.person_id_name.tolist() == ["0", "anna", "anna", "-1", "-1"]
    assert frame.person_id.tolist() == [2, 3, 3, 1, 1]
    assert frame.camera_id.tolist() == [1, 1, 2, 1, 2]
    assert base_names(frame) == ["c1_2.jpg", "c1_1.jpg", "c2_1.jpg", "c1_3.jpg", "c2_3.jpg"]
    assert read_dataset("folder", tmp_path, camera_pattern=r"c(\d)_").equals(frame)
    assert read_dataset("folder", tmp_path).camera_id.isna().all()


def test_files_that_are_left_out_are_counted_by_their_endings_in_one_line(tmp_path, capsys):
    """Formats that Pillow reads are images; text, what a desktop leaves and hidden files need no word."""
    images = ["anna/1.webp", "anna/2.TIF", "anna/3.gif", "bob/4.jfif", "bob/deep/5.avif"]
    for name in [*images, "anna/6.heic", "bob/7.HEIC", "bob/8.txt", "bob/9", "anna/Thumbs.db", "anna/._1.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert base_names(read_folder(tmp_path)) == [os.path.basename(name) for name in images]
    expected = f"notice: files left out of {str(tmp_path)!r}: .heic 2, no ending 1.\n"
    assert capsys.readouterr().err == expected
    assert len(list_images(tmp_path)) == 5 and capsys.readouterr().err == expected


def test_the_camera_may_be_a_folder_and_any_text(tmp_path):
    add_images(tmp_path, ["cam9/dock/1.jpg", "cam9/lobby/1.jpg", "bob/lobby/2.jpg"])
    frame = read_folder(tmp_path, camera_pattern="^(.+)/", split="gallery")
    assert frame.split.tolist() == ["gallery"] * 3  # one level: all of the split that is asked for
    assert frame.camera_id_name.tolist() == ["lobby", "dock", "lobby"]
    assert frame.camera_id.tolist() == [2, 1, 2]
    assert read_folder(tmp_path).split.tolist() == ["train"] * 3


def test_white_space_around_names_of_folders_and_cameras_is_no_part_of_them(tmp_path):
    add_images(tmp_path, ["train/anna/lobby 1.jpg", "train/anna /lobby2.jpg", "train/\u3000anna/dock 3.jpg"])
    frame = read_folder(tmp_path, camera_pattern="^([a-z ]+)")
    assert frame.person_id_name.tolist() == ["anna"] * 3 and frame.person_id.nunique() == 1
    assert sorted(frame.camera_id_name) == ["dock", "lobby", "lobby"] and frame.camera_id.nunique() == 2


@pytest.mark.parametrize(
    ("more", "options", "text"),
    [
        (["train/ /c1_1.jpg"], {}, "the name of .* is white space alone"),
        (["test/bob/c1_1.jpg"], {}, "test' is in the folder of train, query, gallery"),
        (["c1_1.jpg"], {}, "c1_1.jpg' is in the folder of"),
        (["train/c1_1.jpg"], {}, "c1_1.jpg' is in no person's folder"),
        (["train/bob/.hidden.jpg"], {}, "bob' holds no image"),
        ([], {"camera_pattern": "k([0-9])"}, r"finds no camera in 'c1_2.jpg'"),
        ([], {"camera_pattern": "c[0-9]"}, "has no group"),
        ([], {"camera_pattern": "c(["}, "is no regular expression"),
        ([], {"split": "test"}, "split='test': expected one of train"),
    ],
)
def test_what_would_be_left_out_in_silence_is_refused(tmp_path, more, options, text):
    add_images(tmp_path, [*TREE, *more])
    with pytest.raises(ReidError, match=text):
        read_folder(tmp_path, **options)


def test_empty_folders(tmp_path):
    with pytest.raises(ReidError, match="train split is empty"):
        read_folder(tmp_path)
    add_images(tmp_path, TREE)
    (tmp_path / "gallery" / "-1" / "c2_3.jpg").unlink()
    with pytest.raises(ReidError, match="holds no image"):
        read_folder(tmp_path)
    with pytest.raises(ReidError, match="nowhere' does not exist"):
        read_folder(tmp_path / "nowhere")


# --- Paths of TensorFlow's file systems ---


def test_what_is_remote():
    assert is_remote("gs://bucket/x") and is_remote("file:///x") and is_remote("ram://x")
    assert not is_remote("C://x") and not is_remote("/gs:/x") and not is_remote("data/x")


def test_every_reader_opens_what_tensorflow_opens(tmp_path, synthetic_dir):
    local, remote = read_market1501(synthetic_dir), read_market1501(f"file://{synthetic_dir}")
    assert ("file://" + local.image_path).tolist() == remote.image_path.tolist()
    assert local.drop(columns="image_path").equals(remote.drop(columns="image_path"))
    add_images(tmp_path, [*TREE, "train/.thumbs/x.jpg"])
    assert base_names(read_folder(f"file://{tmp_path}")) == base_names(read_folder(tmp_path))
    with pytest.raises(ReidError, match="does not exist"):
        read_market1501(f"file://{tmp_path}/nowhere")


def test_a_csv_and_its_images_in_memory(synthetic_dir):
    """Nothing of ram:// is on a disk."""
    source = list_files(str(synthetic_dir / "query"))[0]
    tf.io.gfile.makedirs("ram://set/far")
    tf.io.gfile.copy(source, "ram://set/far/a.jpg", overwrite=True)
    with tf.io.gfile.GFile("ram://set/people.csv", "w") as file:
        file.write("image_path,person_id,split\nfar/a.jpg,anna,train\n")
    frame = read_csv_dataset("ram://set/people.csv")
    assert frame.image_path.tolist() == ["ram://set/far/a.jpg"] and frame.person_id_name.tolist() == ["anna"]
    assert tf.io.read_file(frame.image_path[0]) == tf.io.read_file(source)
    assert list_images("ram://set").image_path.tolist() == ["ram://set/far/a.jpg"]
    assert list_images("ram://set/far/*.jpg").image_path.tolist() == ["ram://set/far/a.jpg"]
    assert list_images("ram://set/people.csv").person_id.tolist() == ["anna"]


def test_a_scheme_that_tensorflow_does_not_know_is_named():
    with pytest.raises(ReidError, match="TensorFlow cannot open 'nope://bucket'"):
        read_market1501("nope://bucket")


def test_local_data_does_without_tensorflow(tmp_path):
    add_images(tmp_path, TREE)
    (tmp_path / "csv").mkdir()
    path = write_csv(tmp_path / "csv", "image_path,person_id,split\na.jpg,x,train\n")
    code = (
        "import sys\nfrom keras_reid.data import read_csv_dataset, read_folder\n"
        f"read_csv_dataset({str(path)!r}), read_folder({str(tmp_path)!r} + '/train')\n"
        "assert 'tensorflow' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
