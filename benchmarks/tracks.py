"""How fast do recordings become embeddings of tracks, beside the bare network, and how much memory does it take?

    python benchmarks/tracks.py --artifact=runs/quickstart                    # 2 minutes of 1280 x 720, a minute's work
    python benchmarks/tracks.py --artifact=runs/quickstart --minutes=1,10,60  # memory: minutes of 320 x 180, each alone

Without --minutes: crops per second of decode + cut + embed, the share of decoding, and the bare embedder's crops per
second on the same number of crops in the same run. With it: the peak of the resident memory over videos of so many
minutes, each in a process of its own; the boxes, which are the table that grows, are named beside it.

The video loops a few drawn frames; people are boxes of noise who walk, six at a time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

FPS = 25
PEOPLE = 6  # at a time
SECONDS = 8.0  # that each of them stays


def write_scene(folder: Path, *, minutes: float, size: tuple[int, int]) -> None:
    """Writes a video and a tracker's file of boxes; `size` is (height, width)."""
    import cv2

    height, width = size
    frames, stay = round(minutes * 60 * FPS), round(SECONDS * FPS)
    box = np.array([height // 3 * 0.41, height // 3]).astype(int)
    random = np.random.default_rng(0)
    background = cv2.resize(random.integers(0, 256, (height // 8, width // 8, 3), np.uint8), (width, height))
    looks = [cv2.resize(random.integers(0, 256, (12, 5, 3), np.uint8), tuple(map(int, box))) for _ in range(PEOPLE)]
    place = [
        (round(frame * (width - box[0]) / stay), 10 + who * (height - box[1] - 20) // PEOPLE)
        for frame in range(stay)
        for who in range(PEOPLE)
    ]
    loop = []
    for frame in range(stay):
        picture = background.copy()
        for who in range(PEOPLE):
            x, y = place[frame * PEOPLE + who]
            picture[y : y + box[1], x : x + box[0]] = looks[who]
        loop.append(picture)
    writer = cv2.VideoWriter(str(folder / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (width, height))
    for frame in range(frames):
        writer.write(loop[frame % stay])
    writer.release()
    number = np.repeat(np.arange(frames), PEOPLE)
    who = np.tile(np.arange(PEOPLE), frames)
    x, y = np.array(place)[(number % stay) * PEOPLE + who].T
    boxes = pd.DataFrame({"frame": number + 1, "id": number // stay * PEOPLE + who + 1, "x": x, "y": y})
    boxes = boxes.assign(width=box[0], height=box[1], confidence=0.9, a=-1, b=-1, c=-1)
    boxes.to_csv(folder / "boxes.txt", header=False, index=False)


def embed(artifact: str, folder: Path, *, crops_per_track: int, batch_size: int) -> tuple[float, int, int]:
    """Returns seconds, crops and boxes of one job."""
    from keras_reid.artifacts import open_artifact
    from keras_reid.tracks import embed_tracks, recordings_of

    opened = open_artifact(artifact)
    opened.embed(np.zeros((batch_size, *opened.image_size, 3), np.uint8))  # traced before the clock runs
    recordings = recordings_of(boxes=folder / "boxes.txt", frames=folder / "video.mp4")
    start = time.perf_counter()
    tracks, _ = embed_tracks(
        opened, recordings, output=folder / "out", crops_per_track=crops_per_track, batch_size=batch_size
    )
    return time.perf_counter() - start, sum(map(len, tracks.frame.crops)), len(recordings[0].boxes)


def speed(artifact: str, folder: Path, crops_per_track: int, batch_size: int) -> None:
    from keras_reid.artifacts import open_artifact
    from keras_reid.tracks.frames import frames_of

    write_scene(folder, minutes=2, size=(720, 1280))
    seconds, crops, boxes = embed(artifact, folder, crops_per_track=crops_per_track, batch_size=batch_size)
    start = time.perf_counter()
    last = 2 * 60 * FPS
    wanted = range(0, last, max(1, last // (3 * crops // PEOPLE)))  # about as many pictures as the job looks at
    for _ in frames_of(folder / "video.mp4", wanted):
        pass
    decoding = time.perf_counter() - start
    opened = open_artifact(artifact)
    batch = np.random.default_rng(0).integers(0, 256, (batch_size, *opened.image_size, 3), np.uint8)
    opened.embed(batch)
    start = time.perf_counter()
    for _ in range(0, crops, batch_size):
        opened.embed(batch)
    bare = -(-crops // batch_size) * batch_size / (time.perf_counter() - start)
    print(f"{boxes} boxes, {crops} crops in {seconds:.1f} s")
    print(f"decode + cut + embed   {crops / seconds:8.1f} crops/s")
    print(f"bare embedder          {bare:8.1f} crops/s   ratio {crops / seconds / bare:.2f}")
    print(f"decoding alone         {decoding:8.1f} s         {decoding / seconds:.0%} of the job")


def memory(artifact: str, minutes: list[str], crops_per_track: int, batch_size: int) -> None:
    how = [f"--artifact={artifact}", f"--crops_per_track={crops_per_track}", f"--batch_size={batch_size}"]
    for one in minutes:
        subprocess.run([sys.executable, __file__, *how, f"--alone={one}"], check=True)


def alone(artifact: str, folder: Path, minutes: float, crops_per_track: int, batch_size: int) -> None:
    if os.fork() == 0:  # in a process of its own, whose memory does not count
        write_scene(folder, minutes=minutes, size=(180, 320))
        os._exit(0)
    os.wait()
    seconds, crops, boxes = embed(artifact, folder, crops_per_track=crops_per_track, batch_size=batch_size)
    peak, rate = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, minutes * 60 / seconds
    print(
        f"{minutes:5g} minutes  {boxes:8d} boxes  {crops:6d} crops  {rate:5.1f} x real time  peak {peak:6.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--minutes")
    parser.add_argument("--crops_per_track", type=int, default=8)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--alone", type=float)  # a process of --minutes
    arguments = parser.parse_args()
    how = {"crops_per_track": arguments.crops_per_track, "batch_size": arguments.batch_size}
    if arguments.minutes:
        memory(arguments.artifact, arguments.minutes.split(","), **how)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        if arguments.alone:
            alone(arguments.artifact, folder, arguments.alone, **how)
        else:
            speed(arguments.artifact, folder, **how)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
