"""Boxes of trackers: every format is recognized, what is no box is counted, and what was read is written back."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.tracks.boxes import read_box_file, read_boxes, write_boxes

FORMATS = {
    "MOT Challenge, a tracker's": ("mot", "1,7,10,20,30,60,0.9,-1,-1,-1\n2,7,11,20,30,60,0.8,-1,-1,-1\n"),
    "MOT Challenge, spaces behind commas": (
        "mot",
        "1, 7, 10, 20, 30, 60, 0.9, -1, -1, -1\n2, 7, 11, 20, 30, 60, 0.8, -1, -1, -1\n",
    ),
    "ground truth": ("mot_truth", "1,7,10,20,30,60,1,1,0.9\n2,7,11,20,30,60,1,1,0.8\n"),
    "old boxmot": ("mot", "1 7 10 20 30 60 0.9 0 -1\n2 7 11 20 30 60 0.8 0 -1\n"),
    "recent boxmot": ("mot_truth", "1,7,10,20,30,60,1,1,0.9\n2,7,11,20,30,60,1,1,0.8\n"),
    "six cells": ("mot", "1,7,10,20,30,60\n2,7,11,20,30,60\n"),
    "numbers of NumPy": ("mot", "1.00e+00 7.0 10 20 30 60 0.9\n2.00e+00 7.0 11 20 30 60 0.8\n"),
    "AI City Challenge": ("ai_city", "3 7 0 10 20 30 60 1.5 2.5\n3 7 1 11 20 30 60 1.6 2.5\n"),
    "AI City Challenge, pixels alone": ("ai_city", "3 7 0 10 20 30 60\n3 7 1 11 20 30 60\n"),
    "supervision": (
        "named",
        "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,frame\n10,20,40,80,0,0.9,7,0\n11,20,41,80,0,0.8,7,1\n",
    ),
    "ultralytics": (
        "named",
        "frame,name,class,confidence,box,track_id\n"
        "0,person,0,0.9,\"{'x1': 10.0, 'y1': 20.0, 'x2': 40.0, 'y2': 80.0}\",7\n"
        "1,person,0,0.8,\"{'x1': 11.0, 'y1': 20.0, 'x2': 41.0, 'y2': 80.0}\",7\n",
    ),
    "of the field's names": ("named", "Frame,ID,bb_left,bb_top,bb_width,bb_height\n1,7,10,20,30,60\n2,7,11,20,30,60\n"),
    "centers": ("named", "frame,id,x_center,y_center,w,h\n0,7,25,50,30,60\n1,7,26,50,30,60\n"),
    "semicolons and decimal commas": ("named", "frame;id;x1;y1;x2;y2\n0;7;10,0;20;40;80\n1;7;11,0;20;41;80\n"),
}


def written(folder, content, name="boxes.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("change", ["as it is", "Windows", "with a mark", "UTF-16", "with a comment"])
def test_two_boxes_of_track_7_are_read_from_every_format(tmp_path, name, change):
    """Whatever the format, they are (10, 20) and (11, 20), 30 wide and 60 high, in frames 0 and 1."""
    format, text = FORMATS[name]
    content = {
        "as it is": text.encode(),
        "Windows": text.replace("\n", "\r\n").encode(),
        "with a mark": b"\xef\xbb\xbf" + text.encode(),
        "UTF-16": text.encode("utf-16"),
        "with a comment": b"# my tracker's\n" + text.encode(),
    }[change]
    file = read_box_file(written(tmp_path, content))
    assert (file.format, file.left_out) == (format, {})
    assert file.boxes.track.tolist() == ["7", "7"] and file.boxes.frame.tolist() == [0, 1]
    assert file.boxes[["x", "y", "width", "height"]].to_numpy().tolist() == [[10, 20, 30, 60], [11, 20, 30, 60]]
    assert file.boxes.confidence.dropna().tolist() in ([0.9, 0.8], [])
    assert file.boxes.dtypes[["frame", "x", "confidence"]].astype(str).tolist() == ["int64", "float64", "float64"]


def test_parquet_and_csv_of_one_table_give_the_same(tmp_path):
    frame = pd.DataFrame(
        {"Frame": [0, 1], "track_id": ["a", "b"], "x": [1.5, 2], "y": [3.0, 4], "w": [5, 6], "h": [7, 8]}
    )
    frame.to_parquet(tmp_path / "boxes.parquet")
    frame.to_csv(tmp_path / "boxes.csv", index=False)
    found = read_boxes(tmp_path / "boxes.parquet")
    pd.testing.assert_frame_equal(found, read_boxes(tmp_path / "boxes.csv"))
    assert found.track.tolist() == ["a", "b"] and found.x.tolist() == [1.5, 2]


def test_what_is_no_box_is_left_out_and_counted(tmp_path):
    """Twelve rows, of which 0 and 9 are boxes; each other is one fault, and 3 and 4 the same one."""
    rows = (
        "1,7,10,20,30,60,1.5,-1,-1,-1\n"  # a confidence above 1 is not known
        "1,7,10,20,30,60,0.5,-1,-1,-1\n"
        "2,7,10,20,-30,60,0.5,-1,-1,-1\n"
        "2,x,10,20,30,60,0.5,-1,-1,-1\n"
        "2,-1,10,20,30,60,0.5,-1,-1,-1\n"
        "0,7,10,20,30,60,0.5,-1,-1,-1\n"
        "2.5,7,10,20,30,60,0.5,-1,-1,-1\n"
        "2,7,nan,20,30,60,0.5,-1,-1,-1\n"
        "2,8,10,20\n"
        "\n"
        "3,7,-10,20,30,60,0.5,-1,-1,-1\n"  # it may leave the picture
        "3,8,10,20,30,60,0.5,-1,-1,-1,9,9\n"
        "3,8,10,20,30,0,0.5,-1,-1,-1\n"
    )
    file = read_box_file(written(tmp_path, rows))
    assert file.boxes[["track", "frame", "x"]].to_numpy().tolist() == [["7", 0, 10], ["7", 2, -10]]
    assert np.isnan(file.boxes.confidence.iloc[0])
    assert file.left_out == {
        "lines with more cells than the others": 1,
        "rows without a number where one is expected": 2,
        "boxes without a track's number": 2,
        "boxes whose frame is no whole number": 1,
        "boxes before the first frame, which is 1 in rows of MOT Challenge and else 0": 1,
        "boxes of no size: their width or height is zero or negative": 2,
        "boxes of a track that has one in that frame already": 1,
    }


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ("1,1,10,20,30,60,0,1,1\n1,2,10,20,30,60,1,1,1\n1,3,10,20,30,60,1,7,1\n", "2"),  # the truth's flag and class
        ("1,1,10,20,30,60,0,-1,-1,-1\n1,2,10,20,30,60,1,-1,-1,-1\n", "2"),  # the truth of 2015 has but the flag
        ("1 1 10 20 30 60 0.5 2 -1\n1 2 10 20 30 60 0.5 0 -1\n", "2"),  # COCO's classes
        ("frame,id,x,y,w,h,class_name\n0,1,1,1,9,9,car\n0,2,1,1,9,9,Person\n", "2"),
        ("frame,id,x,y,w,h,class\n0,1,1,1,9,9,5\n", "1"),  # one class of its own: a detector of people alone
        ("frame,id,x,y,w,h\n0,,1,1,9,9\n0,2,1,1,9,9\n", "2"),  # supervision: not tracked yet
    ],
)
def test_what_is_nobody_who_was_tracked_is_left_out(tmp_path, rows, kept):
    file = read_box_file(written(tmp_path, rows))
    assert file.boxes.track.tolist() == [kept]
    assert sum(file.left_out.values()) == len(rows.splitlines()) - 1 - rows.startswith("frame")


@pytest.mark.parametrize("content", ["", "\n \n", "# nothing\n", "frame,track,x,y,width,height\n"])
def test_a_file_without_rows_gives_no_boxes_and_all_columns(tmp_path, content):
    boxes = read_boxes(written(tmp_path, content))
    assert list(boxes) == ["track", "frame", "x", "y", "width", "height", "confidence"] and not len(boxes)
    assert boxes.frame.dtype == "int64"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,-1,10,20,30,60,0.9\n2,-1,10,20,30,60,0.9\n", "holds detections"),
        ("frame,id,x,y,w,h\n0,,1,1,9,9\n", "holds detections"),
        ("a,b,c\n1,2,3\n", "no column for frame, track, the box .* its columns are a, b, c"),
        ("x_min,y_min,x_max,y_max\n1,2,3,4\n", "no column for frame, track:"),
        ("1,2,3\n4,5,6\n", "has 3 cells in a row"),
        ("0 0.5 0.5 0.1 0.2 0.9 3\n", "shares of the picture"),
        ("frame,id,x,y,w,h\n0,1,.1,.1,.2,.4\n", "shares of the picture"),
        ("0 0 1 0 1.0 2.0 0.9 0.5 0.5 1.8 3.1\n" * 2, "boxes of 2025 in meters"),
        ('{"0": []}', "is JSON"),
        ("<html></html>", "HTML"),
        ("hello world\n", "no column for"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "is a JPEG file"),
        (bytes(range(256)), "is a file of bytes"),
        (b"\xff\xfe\x00", "no column for"),
        (b"PAR1 no more", "cannot be read as Parquet"),
    ],
)
def test_what_holds_no_tracks_is_refused_in_one_line(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(ReidError, match=words) as caught:
        read_boxes(path)
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_unknown_formats_are_refused(tmp_path):
    with pytest.raises(ReidError, match="No such file"):
        read_boxes(tmp_path / "none.txt")
    with pytest.raises(ReidError, match="directory"):
        read_boxes(tmp_path)
    path = written(tmp_path, "1,7,10,20,30,60,1\n")
    with pytest.raises(ReidError, match="format=kitti, expected auto, mot"):
        read_boxes(path, format="kitti")
    with pytest.raises(ReidError, match="no line of .* names its columns"):
        read_boxes(path, format="named")
    forced = read_boxes(path, format="ai_city")
    assert forced[["camera", "track", "frame", "height"]].to_numpy().tolist() == [["1", "7", 10, 1.0]]


def test_random_files_agree_with_a_loop_over_their_lines(tmp_path):
    """The loop reads line by line, as a person would: a box needs six numbers, a size, and a track."""
    generator, lines, expected, seen = random.Random(3), [], [], set()
    odd = ["", "x", "nan", "-1", "0", "1.5", "inf"]
    for _ in range(3000):
        cells = [
            str(generator.randint(*span)) for span in ((1, 60), (1, 30), (0, 99), (0, 99), (1, 50), (1, 50), (0, 1))
        ]
        if generator.random() < 0.3:
            cells[generator.randrange(6)] = generator.choice(odd)
        lines.append(",".join([*cells, "-1", "-1"]))
        try:
            frame, number, x, y, width, height = map(float, cells[:6])
        except ValueError:
            continue
        plain = all(np.isfinite([frame, x, y, width, height])) and frame == int(frame) and frame >= 1
        if plain and width > 0 and height > 0 and number >= 0 and (frame, number) not in seen:
            seen.add((frame, number))
            expected.append((int(frame) - 1, f"{number:g}", x, y, width, height))
    file = read_box_file(written(tmp_path, "\n".join(lines)), format="mot")
    found = file.boxes[["frame", "track", "x", "y", "width", "height"]].itertuples(index=False, name=None)
    assert list(found) == sorted(expected, key=lambda box: box[0])
    assert len(file.boxes) + sum(file.left_out.values()) == 3000


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_go_back_in_the_form_in_which_they_came(tmp_path, name):
    """Track 7 is person 123, and the row of an unlinked track and a broken one are gone: all else stays as it was."""
    format, text = FORMATS[name]
    first, second = text.splitlines()[-2:]
    head = text.splitlines()[:-2]
    cells = {"mot": 1, "mot_truth": 1, "ai_city": 1}.get(format)
    comma = "," if "," in second and ";" not in second else ";" if ";" in second else " "
    other = comma.join("9" if place == cells else cell for place, cell in enumerate(second.split(comma)))
    if format == "named":  # the last cell, or the second, is the track
        other = second.replace(f"{comma}7", f"{comma}9")
    broken = second.replace("11", "?", 1).replace("26", "?", 1)
    path = written(tmp_path, "\n".join([*head, first, broken, other, second]))
    file = read_box_file(path)
    write_boxes(tmp_path / "global.txt", file.boxes, {"7": 123}, file)
    expected = [*head, *(re_numbered(line, name) for line in (first, second))]
    assert (tmp_path / "global.txt").read_text().split("\n") == [*expected, ""]


def re_numbered(line, name):
    """The line with 123 in the place of its track 7, by hand."""
    return {
        "numbers of NumPy": line.replace(" 7.0 ", " 123 "),
        "supervision": line.replace(",7,", ",123,"),
        "ultralytics": line.removesuffix(",7") + ",123",
        "semicolons and decimal commas": line.replace(";7;", ";123;"),
        "MOT Challenge, spaces behind commas": line.replace(" 7,", "123,").replace(", ", ","),
    }.get(name, line.replace(",7,", ",123,").replace(" 7 ", " 123 "))


def test_parquet_goes_back_with_all_its_columns(tmp_path):
    frame = pd.DataFrame({"frame": [0, 1], "id": [7, 8], "x": [1.0, 2], "y": 3.0, "w": 5, "h": 7, "note": ["a", "b"]})
    frame.to_parquet(tmp_path / "boxes.parquet")
    file = read_box_file(tmp_path / "boxes.parquet")
    write_boxes(tmp_path / "global.parquet", file.boxes, {"8": 1}, file)
    found = pd.read_parquet(tmp_path / "global.parquet")
    assert found.to_dict("records") == [{**frame.iloc[1].to_dict(), "id": 1}]


def test_a_file_that_changed_since_it_was_read_is_not_written_over(tmp_path):
    path = written(tmp_path, "1,7,10,20,30,60,1\n2,7,10,20,30,60,1\n")
    file = read_box_file(path)
    written(tmp_path, "1,7,10,20,30,60,1\n")
    with pytest.raises(ReidError, match="has changed since"):
        write_boxes(tmp_path / "global.txt", file.boxes, {"7": 1}, file)
    assert not Path(tmp_path, "global.txt").exists()


def test_a_hundred_thousand_tracks_are_read_and_written_whole(tmp_path):
    count = 100_000
    rows = pd.DataFrame({"frame": np.arange(count) // 50 + 1, "track": np.arange(count), "x": 5.0})
    rows.assign(y=6.0, w=30, h=60, c=0.5, a=-1, b=-1, d=-1).to_csv(tmp_path / "many.txt", header=False, index=False)
    file = read_box_file(tmp_path / "many.txt")
    assert file.boxes.track.nunique() == count and not file.left_out
    write_boxes(tmp_path / "global.txt", file.boxes, {str(track): track // 2 for track in range(count)}, file)
    assert read_boxes(tmp_path / "global.txt", format="mot").track.nunique() == count // 2
