"""Recordings: a table names boxes, frames, cameras and clocks, and what is missing is found near the frames."""

import dataclasses
import time

import pytest
from PIL import Image

from keras_reid.errors import ReidError
from keras_reid.tracks.recordings import clock_lines, read_recordings, recordings_of, write_boxes

ROW = "1,7,10,20,30,60,0.9,-1,-1,-1\n"
SEQUENCE = "[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength=600\n"


@pytest.fixture
def place(tmp_path):
    """Two cameras as MOT Challenge has them, and a table of both."""
    for camera in ("c1", "c2"):
        (tmp_path / camera / "img1").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / camera / "img1" / "000001.jpg")
        (tmp_path / camera / "seqinfo.ini").write_text(SEQUENCE)
        (tmp_path / camera / "tracks.txt").write_text(ROW)
    return tmp_path


def table(place, text):
    (place / "recordings.csv").write_text(text)
    return place / "recordings.csv"


def test_a_table_of_two_cameras(place):
    """14:00 in a zone two hours east of Greenwich is 12:00 UTC on 1 May 2024: 1714564800."""
    path = table(
        place,
        "camera,boxes,frames,start,fps\nc1,c1/tracks.txt,c1,2024-05-01T14:00:00+02:00,\n07,c2/tracks.txt,c2/img1,1714564801.5,12.5\n",
    )
    first, second = read_recordings(path)
    assert (first.camera, first.frames, first.start, first.fps) == ("c1", place / "c1" / "img1", 1714564800.0, 30.0)
    assert (second.camera, second.start, second.fps) == ("07", 1714564801.5, 12.5)
    assert first.boxes.track.tolist() == ["7"] and first.left_out == {}
    assert first.lines() == [f"camera c1: 1 boxes of 1 tracks of '{place}/c1/tracks.txt', rows of MOT Challenge"]


def test_semicolons_a_mark_and_no_start(place):
    path = table(place, "\ufeffcamera;boxes;frames;fps\r\nc1;c1/tracks.txt;c1/img1;12,5\r\n")
    assert [(one.start, one.fps) for one in read_recordings(path)] == [(0.0, 12.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera,boxes\nc1,c1/tracks.txt\n", "has no column frames"),
        ("camera,boxes,frames\n", "names no recording"),
        ("camera,boxes,frames\nc1,,c1\n", "has no boxes in row 1"),
        ("camera,boxes,frames\nc1,none.txt,c1\n", "row 1: .*none.txt' cannot be read"),
        ("camera,boxes,frames\nc1,c1/tracks.txt,none\n", "there is no .*none"),
        ("camera,boxes,frames,start\nc1,c1/tracks.txt,c1,2024-05-01T14:00:00\n", "has no time zone"),
        ("camera,boxes,frames,start\nc1,c1/tracks.txt,c1,noon\n", "start=noon, expected a time"),
        ("camera,boxes,frames,start\nc1,c1/tracks.txt,c1,1714564800000\n", "milliseconds"),
        ("camera,boxes,frames,fps\nc1,c1/tracks.txt,c1,0\n", "fps=0, expected"),
        ("camera,boxes,frames,fps\nc1,c1/tracks.txt,c1,fast\n", "fps=fast, expected"),
    ],
)
def test_what_a_table_lacks_is_said_in_one_line(place, text, words):
    with pytest.raises(ReidError, match=words) as caught:
        read_recordings(table(place, text))
    assert "\n" not in str(caught.value)


def test_frames_a_second_must_be_known(place):
    (place / "c1" / "seqinfo.ini").write_text("frameRate=30")
    with pytest.raises(ReidError, match="seqinfo.ini' cannot be read"):
        recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1" / "img1")
    (place / "c1" / "seqinfo.ini").unlink()
    with pytest.raises(ReidError, match="frames a second .* are not known: give fps="):
        recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1" / "img1")
    assert recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1" / "img1", fps=25)[0].camera == "1"


def test_a_file_of_many_cameras_is_divided(place):
    (place / "all.txt").write_text("1 7 0 10 20 30 60\n2 7 0 11 20 30 60\n2 8 5 12 20 30 60\n2 9 5 12 20 0 60\n")
    both = recordings_of(boxes=place / "all.txt", frames=place / "c{camera}", fps=10)
    assert [(one.camera, one.frames.parent.name, len(one.boxes)) for one in both] == [("1", "c1", 1), ("2", "c2", 2)]
    assert [sum(one.left_out.values()) for one in both] == [1, 0] and "camera" not in both[0].boxes
    (place / "c1").rename(place / "c001")
    (place / "c2").rename(place / "c002")
    assert len(recordings_of(boxes=place / "all.txt", frames=place / "c{camera:03d}", fps=10)) == 2
    rows = "camera,boxes,frames,fps\n2,all.txt,c002,10\n"
    second, first = read_recordings(table(place, f"{rows}1,all.txt,c001,10\n"))
    assert second.boxes.track.tolist() == ["7", "8"] and first.boxes.track.tolist() == ["7"]
    assert (second.left_out, first.left_out) == (both[0].left_out, {})
    with pytest.raises(ReidError, match="cameras 1, 2, not of camera=3"):
        read_recordings(table(place, rows.replace("\n2,", "\n3,")))
    write_boxes(both[1], {"7": 40, "8": 41}, place / "global.txt")
    assert (place / "global.txt").read_text() == "2 40 0 11 20 30 60\n2 41 5 12 20 30 60\n"


def test_boxes_that_no_file_holds_are_written_as_mot_challenge_has_them(place):
    (one,) = recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1")
    write_boxes(dataclasses.replace(one, source=None), {"7": 3}, place / "global.txt")
    assert (place / "global.txt").read_text() == "1,3,10.0,20.0,30.0,60.0,0.9,-1,-1,-1\n"


def test_a_track_that_was_divided_goes_back_by_its_rows(place):
    (place / "c1" / "tracks.txt").write_text(ROW + ROW.replace("1,7", "900,7", 1))
    (one,) = recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1")
    divided = dataclasses.replace(one, boxes=one.boxes.assign(track=["7", "7+2"]))
    write_boxes(divided, {"7": 1, "7+2": 2}, place / "global.txt")
    assert [line.split(",")[:2] for line in (place / "global.txt").read_text().splitlines()] == [
        ["1", "1"],
        ["900", "2"],
    ]


def test_a_camera_without_tracks_is_a_recording_like_others(place):
    (place / "c1" / "tracks.txt").write_text("")
    (one,) = recordings_of(boxes=place / "c1" / "tracks.txt", frames=place / "c1", camera="door")
    assert len(one.boxes) == 0 and one.lines()[0].startswith("camera door: 0 boxes of 0 tracks")
    write_boxes(one, {}, place / "global.txt")
    assert (place / "global.txt").read_text().strip() == ""


def test_clocks_that_are_wrong_are_named(place):
    def recording(camera, start, last_frame=99):
        (place / "c1" / "tracks.txt").write_text(ROW + ROW.replace("1,7", f"{last_frame + 1},7", 1))
        (one,) = recordings_of(
            boxes=place / "c1" / "tracks.txt", frames=place / "c1", camera=camera, start=start, fps=10
        )
        return one

    assert clock_lines([recording("a", 100), recording("b", 100), recording("a", 110)]) == []
    assert clock_lines([recording("a", 100), recording("a", 104)]) == [
        "two recordings of camera a overlap by 6.0 s: check their starts"
    ]
    assert clock_lines([recording("a", ""), recording("b", 100)]) == [
        "no start is known of camera a, but of others: times between them mean nothing"
    ]
    assert clock_lines([recording("a", ""), recording("b", "")]) == [
        "no start is known: times between cameras are counted as if all had begun at one moment"
    ]
    assert clock_lines([recording("a", "")]) == []
    day = 86_400
    assert clock_lines([recording("a", 100), recording("b", 200), recording("c", 100 + 2 * day)]) == [
        "camera c was recorded 2 days from all others: check its start"
    ]
    assert "starts in the future" in clock_lines([recording("a", time.time() + 10**6)])[0]
