"""Embedding tracks: one embedding a track from boxes and pictures, interrupted or not, whatever is wrong with them."""

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from keras_reid.errors import ReidError
from keras_reid.tracks import embed_tracks, read_tracks, recordings_of
from keras_reid.tracks import job as jobs
from keras_reid.tracks.clips import sighting_of
from keras_reid.tracks.collecting import Collector
from keras_reid.tracks.recordings import Recording, read_recordings
from tests.tracks.scene import COLORS, mean_color, walk, write_mot, write_pictures, write_video

START = 1_700_000_000.0
WALKS = (
    walk("1", first=0, last=59, x=10),
    walk("2", first=20, last=79, x=60),
    walk("3", first=30, last=30, x=35, y=30),
    walk("1", first=450, last=455, x=20),  # 37 seconds later
)
BOXES = pd.concat(WALKS).sort_values("frame", kind="stable")


def recording(root, camera="A", boxes=BOXES, frames=(*range(80), *range(450, 460)), start=START, **how):
    """A recording of a folder of pictures at ten frames a second, its boxes in a file of MOT Challenge."""
    place = root / camera
    if not place.exists():
        write_pictures(place, boxes, frames)
    return recordings_of(
        boxes=write_mot(root / f"{camera}.txt", boxes), frames=place, camera=camera, start=start, fps=10, **how
    )[0]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Folders of pictures that no test changes."""
    return tmp_path_factory.mktemp("pictures")


def test_each_track_becomes_one_row(pictures, tmp_path):
    tracks, notes = embed_tracks(mean_color(), [recording(pictures)], output=tmp_path / "out", crops_per_track=4)
    frame = tracks.frame.set_index("track")
    assert frame.index.tolist() == ["1", "2", "3", "1+2"] and set(frame.camera) == {"A"}
    assert (frame.start - START).round(6).tolist() == [0.0, 2.0, 3.0, 45.0]
    assert (frame.end - START).round(6).tolist() == [5.9, 7.9, 3.0, 45.5]
    assert frame.boxes.tolist() == [60, 60, 1, 6] and frame.last_frame.tolist() == [59, 79, 30, 455]
    np.testing.assert_allclose(tracks.embeddings, [COLORS[one] for one in "1231"], atol=0.5)
    np.testing.assert_allclose(tracks.frame.spread, 0, atol=0.5)
    assert [len(crops) for crops in frame.crops] == [4, 4, 1, 4]
    assert frame.box["2"] == [60.0, 10.0, 8.0, 20.0] and frame.source.iloc[0] == str(pictures / "A")
    path = np.reshape(frame.path["2"], (-1, 3)) - [START, 0, 0]
    np.testing.assert_allclose(path[:, 0], [2, 3, 4, 5, 6, 7, 7.9])
    assert (path[:, 1:] == [64, 30]).all()
    for name in frame.crops["2"]:
        pixels = np.asarray(Image.open(tmp_path / "out" / name))
        assert pixels.shape == (20, 8, 3) and abs(pixels.mean(axis=(0, 1)) - COLORS["2"]).max() < 8
    assert (tracks.metric, tracks.threshold, tracks.false_positive_rate) == ("euclidean", 9.0, 1e-3)
    assert notes == [
        "1 tracks have the number of an earlier one of their camera: they are called 7+2, 7+3, ...",
        "camera A: 1 tracks are of one box",
    ]
    assert read_tracks(tmp_path / "out").frame.equals(tracks.frame)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "crops",
        "job.json",
        "notes.txt",
        "tracks.parquet",
    ]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("pool", ["quality", "mean"])
def test_pooling_and_spread_by_a_loop(tmp_path, metric, pool):
    from keras_reid.tracks.cutting import Crop

    random, crops, rows = np.random.default_rng(0), [], {"a": [], "b": []}
    artifact = mean_color(metric=metric)
    boxes = pd.concat([walk("a", first=0, last=9), walk("b", first=0, last=9)])
    for frame in range(10):
        for track in "ab":
            pixels = random.integers(0, 256, (16, 8, 3)).astype(np.uint8)
            crops.append(Crop(track, frame, random.uniform(0.1, 1), pixels))
            rows[track].append((artifact.embed(pixels[None])[0].astype(np.float64), crops[-1].quality))
    collector = Collector(artifact, Recording("A", boxes, tmp_path, 0.0, 10.0), tmp_path, pool=pool, batch_size=7)
    collector.add(crops)
    tracks = collector.pooled(["b", "a", "never seen"], {})
    assert tracks.frame.track.tolist() == ["b", "a"]
    for track, pooled, spread in zip("ba", tracks.embeddings, tracks.frame.spread):
        points, weights = zip(*rows[track])
        points = [one / np.linalg.norm(one) if metric == "cosine" else one for one in points]
        weights = weights if pool == "quality" else [1.0] * 10
        mean = sum(weight * one for weight, one in zip(weights, points)) / sum(weights)
        mean = mean / np.linalg.norm(mean) if metric == "cosine" else mean
        np.testing.assert_allclose(pooled, mean, rtol=1e-5)
        apart = [1 - one @ mean if metric == "cosine" else np.linalg.norm(one - mean) for one in points]
        assert spread == pytest.approx(np.mean(apart), rel=1e-4)


class Stop(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("crops", [5, 16])
def test_a_killed_job_goes_on(pictures, tmp_path, monkeypatch, crops):
    recordings = [recording(pictures), recording(pictures, "B", WALKS[1], range(80))]
    expected, notes = embed_tracks(mean_color(), recordings, output=tmp_path / "whole", crops_per_track=4)
    monkeypatch.setattr(jobs, "_SECONDS", 0.0)  # what is finished is written at once
    artifact, seen = mean_color(), []

    def embed(images):
        seen.append(len(images))
        if sum(seen) > left[0]:
            raise Stop
        return images.mean(axis=(1, 2)).astype(np.float32)

    counted, left = type(artifact)("counted", "reference", artifact.metadata, embed), [crops]
    how = {"output": tmp_path / "out", "crops_per_track": 4}
    with pytest.raises(Stop):
        embed_tracks(counted, recordings, batch_size=1, **how)
    seen.clear()
    for part in list((tmp_path / "out").glob("parts/*.parquet"))[2:]:
        part.write_bytes(part.read_bytes()[:-9])  # the disk did what it could
    left[0] = 1000
    tracks, again = embed_tracks(counted, recordings, batch_size=5, **how)
    assert tracks.frame.drop(columns="spread").equals(expected.frame.drop(columns="spread")) and again == notes
    np.testing.assert_allclose(tracks.embeddings, expected.embeddings, rtol=1e-5)
    assert 17 - crops <= sum(seen) < 17
    seen.clear()
    assert embed_tracks(counted, recordings, **how)[1] == notes and not seen  # it is finished


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crops_per_track": 3}, "made with crops_per_track=4, not 3: give the same"),
        ({"pool": "mean", "split_gap": 5.0}, "pool=quality, not mean; split_gap=30.0, not 5.0"),
        ({"artifact": "d"}, "another artifact"),
        ({"start": 1.0}, "another recordings"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(pictures, tmp_path, change, words):
    how = {"output": tmp_path / "out", "crops_per_track": 4}
    embed_tracks(mean_color(), [recording(pictures)], **how)
    artifact = mean_color()
    artifact.metadata["network_fingerprint"] = change.pop("artifact", "c") * 32
    start = change.pop("start", START)
    with pytest.raises(ReidError, match=words):
        embed_tracks(artifact, [recording(pictures, start=start)], **{**how, **change})


def test_a_folder_of_something_else_is_left_alone(pictures, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ReidError, match="a folder with 'photo.jpg' in it"):
        embed_tracks(mean_color(), [recording(pictures)], output=tmp_path)
    with pytest.raises(ReidError, match="is a file"):
        embed_tracks(mean_color(), [recording(pictures)], output=tmp_path / "photo.jpg")
    (tmp_path / "busy").mkdir()
    with FileLock(tmp_path / "busy" / ".lock"), pytest.raises(ReidError, match="another process is writing"):
        embed_tracks(mean_color(), [recording(pictures)], output=tmp_path / "busy")
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(ReidError, match="job.json cannot be read"):
        embed_tracks(mean_color(), [recording(pictures)], output=tmp_path)


def test_a_threshold_calibrated_later_reaches_finished_tracks(pictures, tmp_path):
    for threshold in (None, 3.0):
        artifact = mean_color(threshold=threshold)
        tracks, _ = embed_tracks(artifact, [recording(pictures)], output=tmp_path / "out")
        assert tracks.threshold == threshold == read_tracks(tmp_path / "out").threshold


def test_what_is_wrong_is_counted_and_the_rest_is_right(tmp_path):
    pytest.importorskip("cv2", reason="the extra video is not installed")
    gone = pd.concat([walk("8", first=0, last=4, x=200), walk("9", first=70, last=75, x=10)])  # outside; no pictures
    boxes = pd.concat([WALKS[0], WALKS[1].assign(x=lambda one: one.x + 17), gone]).sort_values("frame", kind="stable")
    broken = tmp_path / "C.mp4"
    broken.write_bytes(b"no video")
    recordings = [
        recording(tmp_path, "A", boxes, [*range(30), *range(40, 65)]),
        recording(tmp_path, "B", BOXES[:0], range(3)),
        Recording("C", WALKS[0], broken, START, 10.0),
    ]
    tracks, notes = embed_tracks(mean_color(), recordings, output=tmp_path / "out")
    assert tracks.frame.track.tolist() == ["1", "2"]
    np.testing.assert_allclose(tracks.embeddings, [COLORS["1"], COLORS["2"]], atol=1)
    text = "\n".join(notes)
    for words in (
        "camera A: 5 boxes of 1 tracks lie outside the picture",
        "wanted frames are not in",
        "camera A: 2 tracks are left out: none of their boxes has a picture",
        "camera B: no tracks",
        "camera C: 1 tracks are left out: ",
        "is no video that OpenCV reads",
    ):
        assert words in text, text
    with pytest.raises(ReidError, match="no track has a crop: camera B: no tracks"):
        embed_tracks(mean_color(), recordings[1:2], output=tmp_path / "none")
    assert [path.name for path in (tmp_path / "none").iterdir()] == [".lock"]


def test_a_damaged_video_that_says_no_frame_rate_stops_no_other(tmp_path):
    write_video(tmp_path / "A.mp4", WALKS[0], 20)
    (tmp_path / "B.mp4").write_bytes((tmp_path / "A.mp4").read_bytes()[:-1000])  # the index stands at its end
    write_mot(tmp_path / "boxes.txt", WALKS[0][:20])
    table = tmp_path / "recordings.csv"
    table.write_text("camera,boxes,frames\nA,boxes.txt,A.mp4\nA,boxes.txt,B.mp4\n", encoding="utf-8")
    for _ in range(2):  # again, it is the same job
        tracks, notes = embed_tracks(mean_color(), read_recordings(table), output=tmp_path / "out")
        assert tracks.frame.source.tolist() == [str(tmp_path / "A.mp4")]
        assert any("1 tracks are left out: " in note and "B.mp4' is no video" in note for note in notes)
    assert sighting_of(tmp_path / "out" / tracks.frame.crops[0][0]).track == "1"


def test_a_video_is_decoded_once_and_may_end_before_its_tracks(tmp_path):
    video = write_video(tmp_path / "A.mp4", BOXES, 60)
    boxes = pd.concat([BOXES, walk("4", first=70, last=90)]).sort_values("frame", kind="stable")
    how = {"boxes": write_mot(tmp_path / "A.txt", boxes), "frames": video, "camera": "A", "start": START}
    tracks, notes = embed_tracks(mean_color(), recordings_of(**how), output=tmp_path / "out")
    assert tracks.frame.track.tolist() == ["1", "2", "3"]
    assert (tracks.frame.end - START).round(6).tolist() == [5.9, 7.9, 3.0]  # as the tracker says
    np.testing.assert_allclose(tracks.embeddings, [COLORS[one] for one in "123"], atol=25)
    assert any("beyond the end" in note for note in notes)
    assert "camera A: 2 tracks are left out: none of their boxes has a picture" in notes


def test_a_variable_frame_rate_takes_the_clock_of_the_video(tmp_path):
    """A camera that pauses for two seconds after frame 20: from there on frames are at 2 + frame / 10."""
    from keras_reid.tracks.collecting import _Clock

    seconds = {frame: frame / 10 + (2 if frame > 20 else 0) + 0.01 for frame in range(0, 60, 5)}
    clock = _Clock(Recording("A", BOXES, tmp_path, START, 10.0), seconds)
    found = clock(np.array([0, 5, 20, 25, 40, 55, 70])) - START
    np.testing.assert_allclose(found, [0, 0.5, 2, 4.51, 6.01, 7.51, 9.01], atol=1e-6)
    plain = _Clock(Recording("A", BOXES, tmp_path, START, 10.0), {})
    np.testing.assert_allclose(plain(np.array([0, 33])) - START, [0, 3.3], atol=1e-6)
