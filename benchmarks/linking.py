"""What does linking gain, and what do its parts? How long does it take for many tracks?

    python benchmarks/linking.py --tracks=FOLDER --recordings=recordings.csv        # scores, a row for each linker
    python benchmarks/linking.py --tracks=FOLDER --recordings=recordings.csv --travel_times=times.csv
    python benchmarks/linking.py --count=20000                                      # seconds and memory

FOLDER is what `python -m keras_reid.tracks --recordings=recordings.csv` wrote; the truth is gt.txt beside each file of
boxes, as `write_synthetic_video` writes it. Rows: each camera's own ids (before), linking, linking without one of its
parts and with other thresholds, the nearest neighbor without constraints, and a linker that knows the truth. Needs the
extra tracks (py-motmetrics); HOTA where reid-hota is installed.

--count draws people in NumPy: 20 tracks each, in 10 cameras in a day, embeddings of a center plus noise.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from keras_reid.tracks import (
    Tracks,
    ablation,
    ablation_table,
    learn_travel_times,
    link,
    link_online,
    pair_scores,
    read_scenes,
    read_tracks,
    read_travel_times,
)
from keras_reid.tracks.recordings import read_recordings
from keras_reid.tracks.splitting import split_tracks


def scores(arguments: argparse.Namespace) -> None:
    tracks = read_tracks(arguments.tracks)
    recordings, _ = split_tracks(read_recordings(arguments.recordings), split_gap=arguments.split_gap)
    windows, threshold = None, arguments.threshold
    if arguments.travel_times == "learn":
        windows = learn_travel_times(tracks, threshold=threshold)
    elif arguments.travel_times:
        windows = read_travel_times(arguments.travel_times)
    if windows:
        print(windows.to_frame().to_string(index=False))
    print(ablation_table(ablation(tracks, read_scenes(recordings), threshold=threshold, travel_times=windows)))


def planted(count: int, width: int = 128) -> tuple[Tracks, np.ndarray]:
    random = np.random.default_rng(0)
    persons = np.arange(count) // 20
    centers = random.normal(size=(persons[-1] + 1, width))
    start = random.uniform(0, 86400, count)
    frame = pd.DataFrame({"camera": random.integers(0, 10, count).astype(str), "start": start, "end": start + 10})
    frame["track"] = np.arange(count).astype(str)
    return Tracks(frame, (centers[persons] + 0.5 * random.normal(size=(count, width))).astype(np.float32)), persons


def speed(count: int) -> None:
    tracks, persons = planted(count)
    for name, linker in (("link", link), ("link_online", link_online)):
        start = time.perf_counter()
        found = pair_scores(persons, linker(tracks, threshold=10.0, description=name).identities, draws=1)
        seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{name:<12} {count:,} tracks: {seconds:.1f} s, peak {peak:.2f} GB", end="; ")
        print(f"pairs: precision {100 * found.precision:.1f} %, recall {100 * found.recall:.1f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks")
    parser.add_argument("--recordings")
    parser.add_argument("--travel_times", help="a CSV of windows, or learn")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--split_gap", type=float, default=30.0)
    parser.add_argument("--count", type=int)
    arguments = parser.parse_args()
    if arguments.count:
        speed(arguments.count)
    elif arguments.tracks and arguments.recordings:
        scores(arguments)
    else:
        parser.error("expected --tracks and --recordings, or --count")


if __name__ == "__main__":
    main()
