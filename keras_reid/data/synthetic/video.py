"""Synthetic video: drawn people who walk through the views of several cameras, filmed, tracked, and with the truth."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from keras_reid.data.synthetic.checks import check_number, new_folder
from keras_reid.data.synthetic.film import people_table, shoot
from keras_reid.data.synthetic.looks import draw_look
from keras_reid.data.synthetic.streams import Kind, stream
from keras_reid.data.synthetic.tracker import track
from keras_reid.data.synthetic.views import SIZE, draw_view
from keras_reid.data.synthetic.walks import Walk, draw_walks
from keras_reid.data.video import import_cv2
from keras_reid.errors import ReidError

_BEGIN = pd.Timestamp("2024-05-01T14:00:00Z")
_BARELY_SEEN = 0.05  # of a body: who shows less is not in the truth of that frame
_SEQUENCE = """[Sequence]
name={name}
imDir=img1
frameRate={fps}
seqLength={frames}
imWidth={width}
imHeight={height}
imExt=.jpg
"""


def write_synthetic_video(
    root: str | os.PathLike,
    *,
    cameras: int = 3,
    people: int = 20,
    seconds: int = 60,
    seed: int = 0,
    fps: int = 10,
    video: bool = True,
) -> None:
    """Films drawn people who walk through the views of several cameras, with a tracker's boxes and the truth.

    Everybody passes the cameras one after the other, most of them all; some come back. Each camera has its own street,
    colors, perspective, and something that hides people for a while. Nobody of the scene is in a dataset of
    `write_synthetic`, whatever the seeds. Beside `recordings.csv`, which `keras_reid.tracks` reads, stands a folder a
    camera, `c1`, `c2`, ...:

    - `video.mp4` (MPEG-4), or pictures `img1/000001.jpg`, ...; `seqinfo.ini`, as MOT Challenge has it;
    - `tracks.txt`, MOT Challenge's rows, the output of a tracker: numbers of the camera's own, new ones after a gap;
      boxes that are off by a little, and a few false ones;
    - `gt.txt`, MOT Challenge's rows with visibility, the truth: a person's number is the same in all cameras.

    The same arguments give the same files with the same Pillow, NumPy and OpenCV. They are written whole or not at all.

    Args:
        root: folder to create; it may exist if it is empty.
        cameras: their number, 1 to 9.
        people: their number, 1 to 9999.
        seconds: length of each recording, 1 to 86,400.
        seed: from 0; another seed gives other people, cameras and walks.
        fps: frames a second, 1 to 30.
        video: write a video file (extra `video`: OpenCV), otherwise pictures.

    Raises:
        ReidError: a number is out of range, OpenCV is missing, or `root` is not empty or cannot be written.
    """
    check_number("cameras", cameras, 1, 9, "each has a folder of its own")
    check_number("people", people, 1, 9999, "each has a look of its own")
    check_number("seconds", seconds, 1, 86_400, "a day at most")
    check_number("seed", seed, 0, 2**63 - 1, "random generators start from such a number")
    check_number("fps", fps, 1, 30, "frames a second")
    if video:
        import_cv2()
    with new_folder(root, "video") as folder:
        _write_scene(folder, cameras, people, seconds, seed, fps, video)


def _write_scene(folder: Path, cameras: int, people: int, seconds: int, seed: int, fps: int, video: bool) -> None:
    views = [draw_view(stream(seed, Kind.VIDEO_CAMERA, camera), camera) for camera in range(cameras)]
    looks = {person: draw_look(stream(seed, Kind.VIDEO_PERSON, person)) for person in range(1, people + 1)}
    walks = [
        walk
        for person in looks
        for walk in draw_walks(views, person, seconds, fps, stream(seed, Kind.VIDEO_WALKS, person))
    ]
    recordings = []
    with tqdm(total=cameras * seconds * fps, desc="Filming pedestrians", unit="frame", disable=None) as bar:
        for camera, view in enumerate(views):
            # No two cameras are switched on at the same moment; the scene's clock starts with the first.
            delay = 0.0 if not camera else float(stream(seed, Kind.VIDEO_NOISE, camera, 1).integers(1, 20)) / 10
            name, own = f"c{camera + 1}", [_later(walk, delay) for walk in walks if walk.camera == camera]
            film = shoot(view, own, looks, frames=seconds * fps, fps=fps, seed=seed, camera=camera)
            random = stream(seed, Kind.VIDEO_TRACKER, camera)
            _write_camera(folder / name, film, frames=seconds * fps, fps=fps, random=random, video=video, bar=bar)
            frames = f"{name}/video.mp4" if video else f"{name}/img1"
            start = (_BEGIN + pd.Timedelta(seconds=delay)).isoformat()
            recordings.append((name, f"{name}/tracks.txt", frames, start, fps))
    table = pd.DataFrame(recordings, columns=["camera", "boxes", "frames", "start", "fps"])
    table.to_csv(folder / "recordings.csv", index=False, lineterminator="\n")


def _later(walk: Walk, delay: float) -> Walk:
    """Returns a walk by the clock of a camera that was switched on with a delay."""
    return dataclasses.replace(walk, start=walk.start - delay)


def _write_camera(
    folder: Path, film: Iterator, *, frames: int, fps: int, random: np.random.Generator, video: bool, bar: tqdm
) -> None:
    """Writes what one camera saw: pictures or a video, the tracker's boxes, the truth."""
    folder.mkdir()
    height, width = SIZE
    sequence = _SEQUENCE.format(name=folder.name, fps=fps, frames=frames, width=width, height=height)
    (folder / "seqinfo.ini").write_text(sequence, encoding="utf-8")
    rows: list[tuple] = []
    with _writer(folder, fps, video) as write:
        for frame, (picture, people) in enumerate(film):
            write(frame, picture)
            rows += [(frame, *person) for person in people]
            bar.update()
    truth = people_table(rows)
    boxes = track(truth, frames=frames, fps=fps, random=random)
    _write_rows(folder / "tracks.txt", boxes.assign(a=-1, b=-1, c=-1))
    seen = truth[truth.visibility >= _BARELY_SEEN]
    columns = ["frame", "person", "x", "y", "width", "height", "counts", "class", "visibility"]
    _write_rows(folder / "gt.txt", seen.assign(**{"counts": 1, "class": 1})[columns])


@contextlib.contextmanager
def _writer(folder: Path, fps: int, video: bool) -> Iterator[Callable[[int, Image.Image], None]]:
    """Yields a function that writes a frame."""
    if not video:
        (folder / "img1").mkdir()
        yield lambda frame, picture: picture.save(folder / "img1" / f"{frame + 1:06d}.jpg", quality=88)
        return
    cv2, path = import_cv2(), folder / "video.mp4"
    file = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), fps, SIZE[::-1])
    if not file.isOpened():
        raise ReidError(f"OpenCV cannot write {str(path)!r}. Write pictures instead: video=False.")
    try:
        yield lambda frame, picture: file.write(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR))
    finally:
        file.release()


def _write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Writes rows of MOT Challenge, frames from 1."""
    rows = rows.assign(frame=rows.frame + 1).astype({"frame": "int64"})
    rows.to_csv(path, header=False, index=False, float_format="%.2f", lineterminator="\n")
