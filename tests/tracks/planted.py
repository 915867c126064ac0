"""Tracks of planted people, drawn by NumPy: no video, no network."""

import numpy as np
import pandas as pd

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
