"""Frames: numbered as their source numbers them, each decoded once and going forward, what is missing named."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from keras_reid.data import video as opencv
from keras_reid.errors import ReidError
from keras_reid.tracks import frames as frames_module
from keras_reid.tracks.frames import frame_rate, frame_size, frames_of


def folder_of(tmp_path, names):
    """Pictures, 10 high and 20 wide, whose red is the first number of their name."""
    for name in names:
        red = int("".join(filter(str.isdigit, name)) or 0)
        Image.new("RGB", (20, 10), (red, 0, 0)).save(tmp_path / name)
    return tmp_path


def reds(frames):
    return {frame: int(picture[0, 0, 0]) for frame, picture in frames}


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["000001.png", "000002.png", "000003.png"], [0, 2], {0: 1, 2: 3}),
        (["000001.png", "000003.png"], [0, 1, 2], {0: 1, 2: 3}),  # a gap moves nothing
        (["000002.png", "000003.png"], [1, 2], {1: 2, 2: 3}),  # nor does a missing first one
        (["0.png", "1.png", "2.png"], [0, 2], {0: 0, 2: 2}),
        (["8.png", "9.png", "10.png", "11.png"], [0, 1, 2], {0: 8, 1: 9, 2: 10}),  # cut out of a longer sequence
        (["a.png", "b.png"], [1], {1: 0}),
    ],
)
def test_pictures_have_the_numbers_of_their_names(tmp_path, names, wanted, expected):
    assert reds(frames_of(folder_of(tmp_path, names), wanted)) == expected


def test_missing_and_damaged_pictures_are_named_and_the_rest_is_right(tmp_path):
    folder = folder_of(tmp_path, ["000001.png", "000002.png", "000004.png", "000005.png"])
    (folder / "000004.png").write_bytes(b"no picture")
    whole = (folder / "000005.png").read_bytes()
    (folder / "000005.png").write_bytes(whole[: len(whole) - 30])
    frames = frames_of(folder, [0, 1, 2, 3, 4, 9])
    assert reds(frames) == {0: 1, 1: 2}
    assert list(frames.problems.values()) == [[2, 9], [3, 4]]
    assert [line.split(":")[-1] for line in frames.lines()] == [" frame 2, 9", " frame 3, 4"]
    assert frame_size(folder) == (10, 20)


def test_pictures_of_any_kind_come_as_rgb(tmp_path):
    Image.new("L", (4, 4), 7).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(tmp_path / "2.png")
    found = dict(frames_of(tmp_path, [0, 1]))
    assert found[0].shape == (4, 4, 3) and found[0].dtype == np.uint8 and found[1][0, 0].tolist() == [1, 2, 3]


def test_what_holds_no_frames_is_refused(tmp_path):
    with pytest.raises(ReidError, match="expected a folder of pictures, or a video"):
        frames_of(tmp_path / "none", [0])
    with pytest.raises(ReidError, match="holds no pictures"):
        frames_of(tmp_path, [0])
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(ReidError, match="no picture that can be read"):
        frame_size(tmp_path)


def test_a_video_without_opencv_is_refused_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ReidError, match=r"pip install 'keras_reid\[video\]'"):
        list(frames_of(tmp_path / "a.mp4", [0]))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """100 frames of 10 a second, as .avi of whole pictures and as .mp4; frame n is of gray 2n, with noise."""
    cv2 = pytest.importorskip("cv2")
    folder, random = tmp_path_factory.mktemp("film"), np.random.default_rng(0)
    pictures = [np.clip(random.integers(-9, 10, (90, 160, 3)) + 2 * n, 0, 255).astype(np.uint8) for n in range(100)]
    for name, codec in (("film.avi", "MJPG"), ("film.mp4", "mp4v")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*codec), 10, (160, 90))
        for picture in pictures:
            writer.write(picture)
        writer.release()
    return folder


def numbers(frames):
    """Frame -> the number that its gray shows."""
    return {frame: round(float(np.mean(picture)) / 2) for frame, picture in frames}


@pytest.mark.parametrize("name", ["film.avi", "film.mp4"])
def test_wanted_frames_of_a_video_are_the_right_ones(film, name):
    frames = frames_of(film / name, [0, 3, 4, 50, 99, 100, 500], fps=10)
    found = numbers(frames)
    assert list(found) == [0, 3, 4, 50, 99] and all(abs(found[n] - max(n, 2)) <= 1 for n in found)
    assert list(frames.problems.values()) == [[100, 500]] and "which has 100 frames" in frames.lines()[0]
    assert frames.seconds == pytest.approx({n: n / 10 for n in found})
    assert (frame_size(film / name), frame_rate(film / name)) == ((90, 160), 10)


def test_a_video_is_decoded_once_forward_and_never_wound(film, monkeypatch):
    cv2, calls, opened = pytest.importorskip("cv2"), [], frames_module.open_video

    class Watched:
        def __init__(self, path):
            self._video = opened(path)

        def __getattr__(self, name):
            calls.append(name)
            return getattr(self._video, name)

    monkeypatch.setattr(frames_module, "open_video", Watched)
    list(frames_of(film / "film.avi", [10, 20, 30]))
    assert calls.count("grab") == 31 and calls.count("retrieve") == 3 and "set" not in calls and "read" not in calls
    assert calls[-1] == "release" and cv2 is opencv.import_cv2()


def test_a_frame_rate_that_the_video_does_not_keep_is_named(film):
    frames = frames_of(film / "film.mp4", [0, 5, 10, 20], fps=12)
    assert len(numbers(frames)) == 4
    assert {words: found for words, found in frames.problems.items() if "early or late" in words}.popitem()[1] == [
        10,
        20,
    ]


def test_frames_at_odd_times_have_the_times_of_the_video_itself(tmp_path):
    """Ten a second for a second, then five a second: the last of 20 comes after 1 + 9 / 5 seconds, not after 1.9."""
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    with av.open(str(tmp_path / "odd.mp4"), "w") as file:
        film = file.add_stream("mpeg4", rate=10)
        film.width, film.height, film.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 100 * number if number < 10 else 200 * number - 1000, Fraction(1, 1000)
            file.mux(film.encode(frame))
        file.mux(film.encode())
    frames = frames_of(tmp_path / "odd.mp4", [0, 9, 11, 19], fps=10)
    assert list(numbers(frames)) == [0, 9, 11, 19] and list(frames.problems.values()) == [[19]]
    assert frames.seconds == pytest.approx({0: 0, 9: 0.9, 11: 1.2, 19: 2.8})


def test_frames_behind_damage_keep_their_numbers(film, tmp_path):
    """30,000 bytes of zeros in the middle of the film: what lies behind is where it was."""
    content = bytearray((film / "film.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 30_000] = bytes(30_000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    frames = frames_of(tmp_path / "damaged.mp4", range(100))
    found = numbers(frames)
    lost = set(range(100)) - set(found)
    assert 0 < len(lost) < 40 and max(lost) < 90
    assert all(abs(found[n] - n) <= 2 for n in found)
    assert {frame for frames in frames.problems.values() for frame in frames} == lost


def test_a_film_that_is_cut_off_gives_what_it_has(film, tmp_path):
    content = (film / "film.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 3])
    frames = frames_of(tmp_path / "cut.avi", [0, 10, 60, 99, 7000])
    assert list(numbers(frames)) == [0, 10] and sum(map(len, frames.problems.values())) == 3
    (tmp_path / "cut.mp4").write_bytes((film / "film.mp4").read_bytes()[:5000])
    for read in (frame_size, frame_rate, lambda path: list(frames_of(path, [0]))):
        with pytest.raises(ReidError, match="is no video that OpenCV reads"):
            read(tmp_path / "cut.mp4")
