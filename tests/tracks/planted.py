"""Tracks of planted people, drawn by NumPy: no video, no network."""

import numpy as np
import pandas as pd
from PIL import Image

from keras_reid.tracks.tracks_file import Tracks


def tracks_of(rows, embeddings, *, metric="euclidean", threshold=None):
    """Tracks from rows of camera, start and end, and an embedding for each."""
    frame = pd.DataFrame(rows, columns=["camera", "start", "end"])
    frame = frame.astype({"start": float, "end": float})
    frame["track"] = [str(number) for number in frame.groupby("camera").cumcount() + 1]
    for column, time in (("first_frame", frame.start), ("last_frame", frame.end)):
        frame[column] = (time * 25).round().astype(int)
    return Tracks(frame, np.asarray(embeddings, np.float32), metric, threshold=threshold)


def planted(people=6, visits=4, cameras=3, *, noise=0.25, width=8, seed=0, travel=20.0, metric="euclidean"):
    """Tracks of people who walk from camera to camera, and who is who: `(Tracks, persons)`.

    Everyone takes `travel` seconds, give or take a tenth, from one camera to the next.
    """
    random = np.random.default_rng(seed)
    rows, persons, embeddings = [], [], []
    for person in range(people):
        looks, time, camera = random.normal(size=width), random.uniform(0, 60), int(random.integers(cameras))
        for _ in range(visits):
            stay = random.uniform(2, 8)
            rows.append((f"camera {camera}", time, time + stay))
            persons.append(person)
            embeddings.append(looks + noise * random.normal(size=width))
            time += stay + travel * random.uniform(0.9, 1.1)
            camera = (camera + 1) % cameras
    order = random.permutation(len(rows))
    tracks = tracks_of([rows[row] for row in order], np.array(embeddings)[order], metric=metric)
    return tracks, np.array(persons)[order]


def with_crops(tracks, folder, persons, *, crops=2, seed=0):
    """Tracks with crops of noise in a color for each person, and a folder that holds them; one crop is missing."""
    random = np.random.default_rng(seed)
    colors = random.integers(40, 216, (int(max(persons)) + 1, 3))
    paths = []
    for row, one in enumerate(tracks.frame.itertuples()):
        paths.append([f"crops/{one.camera}/{one.track}/{number}.jpg" for number in range(crops)])
        for path in paths[-1][row == 0 :]:
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            noise = random.integers(-40, 40, (64, 32, 3))
            Image.fromarray((colors[persons[row]] + noise).clip(0, 255).astype(np.uint8)).save(place)
    frame = tracks.frame.assign(crops=paths, quality=[[0.9, 0.1, *[0] * crops][:crops]] * len(paths))
    frame = frame.assign(source="video.mp4", boxes=25, spread=np.float32(0.1))
    frame["box"] = [[0.0, 0.0, 32.0, 64.0]] * len(frame)
    frame["path"] = [[one.start, 16.0, 64.0] for one in frame.itertuples()]
    return Tracks(frame, tracks.embeddings, tracks.metric, threshold=tracks.threshold)
