"""The filmed scene: its files, its truth, the tracker's boxes beside it, and that the same person looks the same."""

import hashlib
import itertools
import re

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.synthetic import video as video_module
from keras_reid.data.synthetic.looks import draw_look
from keras_reid.data.synthetic.streams import Kind, stream
from keras_reid.data.synthetic.tracker import track
from keras_reid.data.synthetic.video import write_synthetic_video
from keras_reid.data.synthetic.views import SIZE, draw_view
from keras_reid.data.synthetic.walks import draw_walks
from keras_reid.errors import ReidError
from keras_reid.tracks.frames import frame_size, frames_of
from keras_reid.tracks.recordings import read_recordings

FPS, SECONDS = 3, 24
TRUTH = ["frame", "person", "x", "y", "width", "height", "counts", "class", "visibility"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "scene"
    write_synthetic_video(root, cameras=3, people=8, seconds=SECONDS, seed=1, fps=FPS, video=False)
    return root


def truth_of(root, camera):
    return pd.read_csv(root / camera / "gt.txt", names=TRUTH)


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_layout(scene):
    assert sorted(path.name for path in scene.iterdir()) == ["c1", "c2", "c3", "recordings.csv"]
    for camera in ("c1", "c2", "c3"):
        assert sorted(path.name for path in (scene / camera).iterdir()) == [
            "gt.txt",
            "img1",
            "seqinfo.ini",
            "tracks.txt",
        ]
        assert len(list((scene / camera / "img1").iterdir())) == FPS * SECONDS
    first = read_recordings(scene / "recordings.csv")[0]
    assert (first.camera, first.fps, first.start, first.left_out) == ("c1", FPS, 1714572000.0, {})
    assert frame_size(first.frames) == SIZE


def test_tracks_say_nothing_about_the_person_and_break(scene):
    """Each camera numbers its tracks from 1; there are more of them than people who pass it."""
    for recording in read_recordings(scene / "recordings.csv"):
        tracks = recording.boxes.track.astype(int)
        assert sorted(set(tracks)) == list(range(1, tracks.max() + 1))
        assert list(dict.fromkeys(tracks)) == sorted(set(tracks))  # numbered as they appear
        assert tracks.nunique() > truth_of(scene, recording.camera).person.nunique()
        assert recording.boxes.confidence.between(0.3, 0.99).all()


def overlap(a, b):
    """Intersection over union of two boxes (x, y, width, height), by hand."""
    across = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    down = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return across * down / (a[2] * a[3] + b[2] * b[3] - across * down)


def test_nearly_all_boxes_of_the_tracker_lie_on_somebody_but_not_exactly(scene):
    """A box's best match in the truth of its frame: mostly close, never the same, and none for a few false boxes."""
    best = []
    for recording in read_recordings(scene / "recordings.csv"):
        truth = truth_of(scene, recording.camera)
        for box in recording.boxes.itertuples():
            there = truth[truth.frame == box.frame + 1][["x", "y", "width", "height"]].to_numpy()
            best.append(max((overlap(box[3:7], one) for one in there), default=0))
    assert 0.9 < np.mean(np.array(best) > 0.7) < 1 and max(best) < 0.9999


def test_visibility_is_a_share_and_somebody_is_half_hidden(scene):
    seen = pd.concat([truth_of(scene, camera) for camera in ("c1", "c2", "c3")]).visibility
    assert seen.between(0.05, 1).all() and (seen == 1).mean() > 0.3 and seen.between(0.1, 0.8).mean() > 0.05


def test_people_are_seen_by_several_cameras_but_never_by_two_at_once(scene):
    cameras = {}
    for recording in read_recordings(scene / "recordings.csv"):
        truth = truth_of(scene, recording.camera)
        moments = recording.start + (truth.frame - 1) / FPS
        for person, when in zip(truth.person, moments):
            cameras.setdefault(person, {}).setdefault(recording.camera, []).append(when)
    assert sum(len(places) > 1 for places in cameras.values()) >= 5
    for places in cameras.values():
        for first, second in itertools.combinations(places.values(), 2):
            between = np.abs(np.subtract.outer(first, second)).min()
            assert between > 1  # second


def test_ways_between_cameras_take_their_usual_time():
    """From the first camera's view to the second's are 2.5 s give or take a fifth, to the third's from there 4.2 s."""
    views = [draw_view(stream(0, Kind.VIDEO_CAMERA, camera), camera) for camera in range(3)]
    times = {}
    for person in range(200):
        walks = draw_walks(views, person, 60, 10, stream(5, Kind.VIDEO_WALKS, person))
        for one, other in zip(walks, walks[1:]):
            if abs(one.camera - other.camera) == 1:
                gap = other.start - one.start - len(one.points) / 10
                times.setdefault(min(one.camera, other.camera), []).append(gap)
    # A person who comes back may be before the next camera again: a few gaps are longer.
    assert min(times[0]) >= 2 and np.median(times[0]) == pytest.approx(2.5, abs=0.15)
    assert min(times[1]) >= 3.36 and np.median(times[1]) == pytest.approx(4.2, abs=0.2)


def test_a_person_looks_more_alike_over_cameras_than_others_do(scene):
    """The nearest mean color of chests and legs over all cameras is the same person's for most, by chance 1 in 8."""
    colors = {}
    for recording in read_recordings(scene / "recordings.csv"):
        truth = truth_of(scene, recording.camera)
        truth = truth[truth.visibility > 0.97]
        for frame, picture in frames_of(recording.frames, sorted(set(truth.frame - 1))):
            for box in truth[truth.frame == frame + 1].itertuples():
                middle = slice(int(box.x + 0.35 * box.width), int(box.x + 0.65 * box.width))
                parts = [
                    picture[int(box.y + top * box.height) : int(box.y + (top + 0.15) * box.height), middle]
                    for top in (0.25, 0.55)
                ]
                color = np.concatenate([part.mean(axis=(0, 1)) for part in parts])
                colors.setdefault((recording.camera, box.person), []).append(color)
    means = {key: np.mean(found, axis=0) for key, found in colors.items() if len(found) > 2}
    hits = []
    for (camera, person), color in means.items():
        others = {key: np.linalg.norm(color - one) for key, one in means.items() if key[0] != camera}
        if any(key[1] == person for key in others):
            hits.append(min(others, key=others.get)[1] == person)
    assert len(hits) > 12 and np.mean(hits) > 0.6


def test_nobody_is_in_a_dataset_too():
    """Streams of different kinds differ, whatever the seeds."""
    filmed = {draw_look(stream(0, Kind.VIDEO_PERSON, person)) for person in range(1, 21)}
    assert not filmed & {draw_look(stream(seed, Kind.IDENTITY, one)) for seed in (0, 1) for one in range(1, 301)}


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path):
    arguments = {"cameras": 2, "people": 3, "seconds": 3, "fps": 2, "video": False}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_synthetic_video(tmp_path / name, **arguments, seed=seed)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    same = {name for name, one in digests(tmp_path / "one").items() if one == digests(tmp_path / "other")[name]}
    assert {name.split("/")[-1] for name in same} <= {"seqinfo.ini", "recordings.csv", "tracks.txt"}


def test_a_person_is_missed_behind_something_and_numbered_anew():
    """Seen for 2 s, hidden for 1 s, seen for 2 s: two tracks, and no box while hidden."""
    seen = [1.0] * 20 + [0.0] * 10 + [1.0] * 20
    truth = pd.DataFrame({"frame": range(50), "person": 1, "x": 5.0, "y": 5.0, "width": 40.0, "height": 90.0})
    found = track(truth.assign(visibility=seen), frames=50, fps=10, random=np.random.default_rng(0))
    real = found[found.confidence > 0.55]
    assert real.track.nunique() >= 2 and not real.frame.between(20, 29).any()
    assert real[real.frame < 20].track.max() < real[real.frame > 29].track.min()


def test_a_video_holds_the_same_frames(tmp_path):
    pytest.importorskip("cv2")
    arguments = {"cameras": 1, "people": 2, "seconds": 3, "fps": 5}
    write_synthetic_video(tmp_path / "video", **arguments)
    write_synthetic_video(tmp_path / "pictures", **arguments, video=False)
    (film,), (pictures,) = (read_recordings(tmp_path / name / "recordings.csv") for name in ("video", "pictures"))
    assert (
        film.frames.name == "video.mp4"
        and (tmp_path / "video/c1/gt.txt").read_bytes() == (tmp_path / "pictures/c1/gt.txt").read_bytes()
    )
    both = list(zip(frames_of(film.frames, range(20), fps=5), frames_of(pictures.frames, range(20))))
    assert len(both) == 15
    for (_, one), (_, other) in both:
        assert np.abs(one.astype(float) - other).mean() < 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cameras": 0}, "`cameras` must be a whole number from 1 to 9"),
        ({"people": 0}, "`people`"),
        ({"seconds": 0.5}, "got 0.5"),
        ({"seed": -1}, "`seed`"),
        ({"fps": 31}, "`fps`"),
    ],
)
def test_refuses_numbers_out_of_range(tmp_path, change, words):
    with pytest.raises(ReidError, match=re.escape(words)):
        write_synthetic_video(tmp_path / "refused", **{"video": False, **change})
    assert list(tmp_path.iterdir()) == []


def test_never_overwrites_and_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ReidError, match="is not empty"):
        write_synthetic_video(tmp_path, video=False)
    monkeypatch.setattr(video_module, "shoot", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_video(tmp_path / "scene", video=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_opencv_pictures_are_the_way(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ReidError, match=r"pip install 'keras_reid\[video\]'"):
        write_synthetic_video(tmp_path / "scene")
    assert list(tmp_path.iterdir()) == []
