"""`tracks`, `gallery add --tracks` and `search --clip`: from recordings to an answer that says where and when."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import keras_reid.artifacts
from keras_reid import search
from keras_reid.__main__ import entry_point
from keras_reid.artifacts import describe_embedder, open_artifact, update_metadata
from keras_reid.gallery import Gallery
from keras_reid.models import save_keras
from keras_reid.tracks import read_tracks
from tests.conftest import tiny_embedder
from tests.gallery.engines import address
from tests.tracks.scene import COLORS, walk, write_mot, write_pictures, write_video

tracks, gallery = entry_point("tracks"), entry_point("gallery")
START = "2026-05-01T14:02:00+00:00"
BOXES = pd.concat([walk("1", first=100, last=310, x=10), walk("2", first=100, last=160, x=50)])
BOXES = BOXES.sort_values("frame", kind="stable")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an artifact and the pictures of a recording; and the artifact."""
    folder = tmp_path_factory.mktemp("made")
    embedder = tiny_embedder()
    save_keras(embedder, folder / "tiny.keras", metadata=describe_embedder(embedder))
    update_metadata(folder / "tiny.keras", {"threshold": 1.5, "false_positive_rate": 1e-3})
    write_pictures(folder / "lobby", BOXES, range(100, 320))
    return folder, open_artifact(folder / "tiny.keras")


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A folder with a list of two recordings, whose network is not read again."""
    monkeypatch.chdir(tmp_path)
    for name in ("tiny.keras", "lobby"):
        Path(name).symlink_to(made[0] / name)
    monkeypatch.setattr(keras_reid.artifacts, "open_artifact", lambda _: made[1], raising=False)
    write_mot(Path("lobby.txt"), BOXES)
    rows = [f"3,lobby.txt,lobby,{START},10", "4,lobby.txt,lobby,,10"]
    Path("recordings.csv").write_text("\n".join(["camera,boxes,frames,start,fps", *rows]) + "\n")
    return tmp_path


def ended_well(main, *arguments, capsys) -> str:
    code = main(["command", *map(str, arguments)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_a_search_says_which_camera_and_when(place, capsys):
    pytest.importorskip("lancedb", reason="the extra gallery is not installed")
    made = ("--artifact=tiny.keras", "--recordings=recordings.csv", "--output=out", "--crops_per_track=3")
    output = ended_well(tracks.main, *made, capsys=capsys)
    assert "camera 3: 272 boxes of 2 tracks of 'lobby.txt', rows of MOT Challenge" in output
    assert "     3       2    272      6 2026-05-01 14:02:10 UTC 2026-05-01 14:02:31 UTC" in output
    assert "     4       2    272      6                 0:00:10                 0:00:31" in output
    assert "no start is known of camera 4" in output and "4 tracks written to out" in output
    add = ("add", "--gallery=people", "--tracks=out")
    assert ended_well(gallery.main, *add, capsys=capsys) == "4 entries added, 0 were there; 4 in all\n"
    assert "0 entries added, 4 were there" in ended_well(gallery.main, *add, capsys=capsys)

    Image.new("RGB", (8, 20), COLORS["1"]).save("photo.png")
    find = ("--artifact=tiny.keras", "--gallery=people", "photo.png", "--camera=3", "--json=found.json")
    output = ended_well(search.main, *find, "--report=found.html", capsys=capsys)
    assert "nearest: camera 3, 2026-05-01 14:02:10 to 14:02:31 UTC\n" in output and "3/1: the nearest entry" in output
    hit = json.loads(Path("found.json").read_text())["hits"][0]
    assert (hit["time"], hit["until"]) == ("2026-05-01T14:02:10+00:00", "2026-05-01T14:02:31+00:00")
    assert hit["crop"] == str(
        place / "out" / read_tracks("out").frame.crops[0][np.argmax(read_tracks("out").frame.quality[0])]
    )
    assert hit["source"] == str(place / "lobby") and hit["box"] == "10,10,8,20" and hit["crop"] in output
    assert "2026-05-01 14:02:10 to 14:02:31 UTC" in Path("found.html").read_text()

    with Gallery("people") as people:
        assert people.header.threshold == 1.5
        frame, _ = people.entries()
        assert sorted(frame.identity) == ["3/1", "3/2", "4/1", "4/2"] and frame.time.notna().sum() == 2
        # In the middle of the longer track; the shorter one has ended.
        assert people.search(
            people.entries(embeddings=True)[1][0], since="2026-05-01T14:02:20Z"
        ).hits.identity.tolist() == ["3/1"]
        assert people.count(until="2026-05-01T14:02:10Z") == 0
    pd.DataFrame({"identity": [7, 7], "camera": ["3", "4"], "track": ["1", "1"]}).to_csv("out/links.csv", index=False)
    assert "2 have another identity now, 2 were there" in ended_well(gallery.main, *add, capsys=capsys)
    assert "7: the nearest entry" in ended_well(search.main, *find, capsys=capsys)


def test_a_clip_shows_the_track(place, capsys):
    cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
    pytest.importorskip("lancedb", reason="the extra gallery is not installed")
    write_video(Path("dock.mp4"), BOXES, 330)
    how = ("--boxes=lobby.txt", "--frames=dock.mp4", f"--start={START}", "--camera=5")
    ended_well(tracks.main, "--artifact=tiny.keras", *how, "--output=out", capsys=capsys)
    ended_well(gallery.main, "add", "--gallery=people", "--tracks=out", capsys=capsys)
    Image.new("RGB", (8, 20), COLORS["2"]).save("photo.png")
    find = ("--artifact=tiny.keras", "--gallery=people", "photo.png", "--clip=clips")
    output = ended_well(search.main, *find, capsys=capsys)
    first, second = sorted(Path("clips").iterdir())
    assert (first.name, second.name) == ("001_camera_5_track_2.mp4", "002_camera_5_track_1.mp4")
    assert (
        f"clip {first}: 8.1 s" in output and f"clip {second}: 20.0 s" in output
    )  # a second more at both ends; no more
    video, pictures = cv2.VideoCapture(str(first)), []
    while video.grab():
        pictures.append(video.retrieve()[1][:, :, ::-1].astype(int))
    assert len(pictures) == 81 and video.get(cv2.CAP_PROP_FPS) == 10
    frames = [abs(picture[15:28, 52:56].mean(axis=(0, 1)) - COLORS["2"]).max() < 40 for picture in pictures]
    assert frames[10:71] == [True] * 61 and not any(frames[:9] + frames[72:])
    edge = pictures[40][12:28, 49:51].mean(axis=(0, 1))
    assert edge[0] > 150 > edge[2]  # the box, in orange
    Path("dock.mp4").unlink()
    output = ended_well(search.main, *find, capsys=capsys)
    assert "no clip of rank 1: there is no" in output
    output = ended_well(search.main, *find[:-1], "--clip=none", "--top=1", capsys=capsys)
    assert "no clip of rank 1" in output


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (tracks.main, ["--output=out"], "--artifact is not set"),
        (tracks.main, ["--artifact=tiny.keras"], "--output is not set"),
        (tracks.main, ["--artifact=tiny.keras", "--output=out"], "expected --recordings, or --boxes with --frames"),
        (
            tracks.main,
            ["--artifact=tiny.keras", "--output=out", "--recordings=recordings.csv", "--fps=9"],
            "expected --rec",
        ),
        (tracks.main, ["--artifact=tiny.keras", "--output=out", "--recordings=no.csv"], "no.csv"),
        (tracks.main, ["--artifact=no", "--output=out", "--recordings=recordings.csv"], "no artifact at 'no'"),
        (gallery.main, ["add", "--gallery=people", "--tracks=out"], "no tracks at 'out"),
        (gallery.main, ["add", "--gallery=people", "--tracks=out", "--camera=3"], "--camera says nothing to --tracks"),
        (gallery.main, ["add", "--gallery=people", "--tracks=out", "--images=lobby"], "one of the three"),
    ],
)
def test_a_wrong_command_is_one_line(main, arguments, message, place, refused):
    assert message in refused(main, ["command", *arguments])
    assert not Path("out").exists() and not Path("people").exists()


@pytest.mark.parametrize("engine", ["lance", "milvus"])
def test_a_gallery_of_an_earlier_version_opens(tmp_path, engine, monkeypatch):
    """Its entries have no end: they are found, and others join them."""
    from keras_reid.errors import ReidError
    from keras_reid.gallery import entries, milvus

    uri, rows = address(engine, tmp_path), np.random.default_rng(0).normal(size=(3, 4))
    of_old = tuple(name for name in entries.COLUMNS if name != "until")
    with monkeypatch.context() as old:
        if engine == "milvus":
            old.setattr(milvus, "COLUMNS", of_old)
            old.setattr(milvus.MilvusEngine, "_has_ends", False)
        with Gallery(uri) as people:
            people.add(rows[:2], time=[10, 20], source=["a", "b"], identity=["Ann", "Bo"])
    if engine == "lance":
        import lancedb

        lancedb.connect(uri).open_table("entries").drop_columns(["until"])
    with Gallery(uri) as people:
        assert people.search(rows[1]).hits.source.tolist() == ["b", "a"] and people.entries()[0].until.isna().all()
        assert people.count(since=15) == 1 and people.count(until=15) == 1
        if engine == "milvus":
            with pytest.raises(ReidError, match="made by an earlier version"):
                people.add(rows[2:], time=30, until=40, source="c")
            assert people.add(rows[2:], time=30, source="c").new == 1 and people.count() == 3
        else:
            assert people.add(rows[2:], time=5, until=40, source="c").new == 1
            assert people.count(since=15) == 2 and people.count(since=15, until=18) == 1
            assert people.forget(identity="Ann").proven and people.count() == 2
    with Gallery(uri) as people, pytest.raises(ReidError, match="expected an end after it"):
        people.add(rows[:1], time=30, until=20)
