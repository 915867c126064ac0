"""Frames of a recording: the pictures of a folder or of a video, read once, forward, by their numbers.

A frame's number is that of the picture in its source, from 0. A folder's pictures are numbered by their names where
each ends in a number of its own, so that a picture that is missing moves no other; 000001.jpg is frame 0 unless there
is a 000000.jpg. Other names are numbered in their order. A video is never wound: an index of key frames is often wrong,
and a jump decodes again what was decoded before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from keras_reid.data.image_list import image_names
from keras_reid.data.video import import_cv2
from keras_reid.errors import ReidError

_MOST_LOST = 1000  # so many frames in a row that cannot be decoded are the end of a video, whatever its header says


class UnreadableVideo(ReidError):
    """A file is no video that OpenCV reads, or it was cut off."""


class Frames:
    """Wanted frames of a recording, as an iterable that is gone through once; it holds one picture at a time.

    Attributes:
        problems: words -> numbers of the wanted frames that were left out, or whose time is odd; complete at the end.
        seconds: frame -> its time in the video's own clock, in seconds; empty for a folder of pictures.
    """

    def __init__(self, source: Path, wanted: Iterable[int], fps: float | None):
        self.problems: dict[str, list[int]] = {}
        self.seconds: dict[int, float] = {}
        self._source, self._wanted, self._fps = source, wanted, fps

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields frame numbers, ascending, with pictures: RGB uint8 `[H, W, 3]`."""
        return self._pictures() if self._source.is_dir() else self._video()

    def lines(self) -> list[str]:
        """Returns a line for each kind of problem, with its count and the first frames."""
        return [
            f"{len(frames)} {words}: frame {', '.join(map(str, frames[:3]))}{', ...' if len(frames) > 3 else ''}"
            for words, frames in self.problems.items()
        ]

    def _note(self, words: str, frame: int) -> None:
        self.problems.setdefault(words, []).append(frame)

    def _pictures(self) -> Iterator[tuple[int, np.ndarray]]:
        wanted = list(self._wanted)
        names = _numbered(self._source, wanted[-1] if wanted else 0)
        for frame in wanted:
            if frame not in names:
                self._note(f"wanted frames are not in {str(self._source)!r}", frame)
                continue
            try:
                with Image.open(self._source / names[frame]) as image:
                    picture = np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                self._note(f"wanted pictures of {str(self._source)!r} cannot be read", frame)
                continue
            yield frame, picture

    def _video(self) -> Iterator[tuple[int, np.ndarray]]:
        cv2, video = import_cv2(), open_video(self._source)
        promised, name = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), repr(str(self._source))
        number, grabbed, lost, decoded = -1, False, 0, 0
        try:
            for frame in self._wanted:
                while number < frame and lost < _MOST_LOST and (grabbed or number < max(promised, 1)):
                    # A frame that cannot be decoded takes one number: those behind it keep theirs.
                    grabbed, number = video.grab(), number + 1
                    lost, decoded = (0, decoded + 1) if grabbed else (lost + 1, decoded)
                found, picture = video.retrieve() if grabbed and number == frame else (False, None)
                if found:
                    self._clock(frame, video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                    yield frame, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                elif frame < promised:
                    self._note(f"wanted frames of {name} cannot be decoded", frame)
                else:
                    self._note(f"wanted frames lie beyond the end of {name}, which has {decoded} frames", frame)
        finally:
            video.release()

    def _clock(self, frame: int, seconds: float) -> None:
        self.seconds[frame] = seconds
        if self._fps and abs(seconds - frame / self._fps) > 1 / self._fps:
            self._note(f"wanted frames are over a frame early or late at {self._fps:g} frames a second", frame)


def frames_of(source: str | os.PathLike, wanted: Iterable[int], *, fps: float | None = None) -> Frames:
    """Returns the wanted frames of a folder of pictures or of a video; each is decoded once, going forward.

    Frames that do not exist or cannot be read are left out, and named in `problems`, words -> frame numbers.

    Args:
        source: a folder of pictures, or a video file (extra `video`).
        wanted: frame numbers from 0, ascending, each once.
        fps: frames a second; frames whose time in the video's own clock differs by more than one frame from that are
            named in `problems`.

    Raises:
        ReidError: there is no such folder or file, it holds no pictures, or it is no video that OpenCV reads.
    """
    source = _existing(source)
    if source.is_dir() and not image_names(os.fspath(source)):
        raise ReidError(f"the folder {str(source)!r} holds no pictures: expected the frames of a recording.")
    return Frames(source, wanted, fps)


def frame_size(source: str | os.PathLike) -> tuple[int, int]:
    """Returns (height, width) in pixels of a folder's first readable picture, or of a video.

    Raises:
        ReidError: there is no such folder or file, it holds no pictures, or it is no video that OpenCV reads.
    """
    source = _existing(source)
    if not source.is_dir():
        cv2, video = import_cv2(), open_video(source)
        size = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
        video.release()
        return size
    for name in image_names(os.fspath(source)):
        try:
            with Image.open(source / name) as image:
                return image.height, image.width
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
    raise ReidError(f"the folder {str(source)!r} holds no picture that can be read: expected frames of a recording.")


def frame_rate(video: str | os.PathLike) -> float:
    """Returns the frames a second that a video file's header names.

    Raises:
        ReidError: it is no video that OpenCV reads, or does not say.
    """
    cv2, opened = import_cv2(), open_video(_existing(video))
    fps = opened.get(cv2.CAP_PROP_FPS)
    opened.release()
    if not 0 < fps < 1000:
        raise ReidError(f"the video {str(video)!r} does not say its frames a second: give fps=.")
    return fps


def frame_count(source: str | os.PathLike) -> int:
    """Returns how many frames a folder has, up to the last number, or a video's header promises.

    Raises:
        ReidError: there is no such folder or file, or it is no video that OpenCV reads.
    """
    source = _existing(source)
    if source.is_dir():
        return max(_numbered(source, 0), default=-1) + 1
    cv2, opened = import_cv2(), open_video(source)
    count = int(opened.get(cv2.CAP_PROP_FRAME_COUNT))
    opened.release()
    return count


def _existing(source: str | os.PathLike) -> Path:
    source = Path(source)
    if not source.exists():
        raise ReidError(f"there is no {str(source)!r}: expected a folder of pictures, or a video file.")
    return source


def open_video(path: Path):
    """Returns a cv2.VideoCapture at the first frame; UnreadableVideo for what OpenCV does not read."""
    cv2 = import_cv2()
    # OpenCV's other readers take a % in the name for a pattern.
    video = cv2.VideoCapture(os.fspath(path.absolute()), cv2.CAP_FFMPEG)
    if not video.isOpened() or not video.get(cv2.CAP_PROP_FRAME_WIDTH):
        raise UnreadableVideo(
            f"{str(path)!r} is no video that OpenCV reads, or it was cut off: expected .mp4, .avi, .mkv, .mov or "
            ".webm. Copy it again, or convert it: ffmpeg -i IN OUT.mp4."
        )
    return video


def _numbered(folder: Path, last: int) -> dict[int, str]:
    """Returns a folder's pictures by frame number; where all names count from beyond `last`, they count from 0."""
    names = image_names(os.fspath(folder))
    digits = [re.findall(r"\d+", Path(name).stem) for name in names]
    numbers = [int(found[-1]) for found in digits if found]
    if len(set(numbers)) < len(names):
        return dict(enumerate(names))
    by_number = sorted(zip(numbers, names))
    first = by_number[0][0]
    return {number - (first if first > last + 1 else min(first, 1)): name for number, name in by_number}
