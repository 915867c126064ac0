"""What does the report of a dataset of Market-1501's size cost, after scoring?

    python benchmarks/report.py
    python benchmarks/report.py --width=2048 --json=FILE

3,368 queries and 15,913 gallery images of 750 people by 6 cameras, 2,798 distractors among them. Embeddings are a
center of each person plus normal noise; photos are those of a rendered dataset, again and again. Bounds: 60 seconds,
10 MB, 1 GB of memory above what the process held with embeddings and scores.

The page is written by a process that does nothing else. Attention is part of it where the run has a network: it is not
measured here, and takes a forward and a backward pass for each of up to 27 pairs of photos.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

PEOPLE, CAMERAS, QUERIES, GALLERY, DISTRACTORS = 750, 6, 3368, 15_913, 2798
BOUNDS = {"seconds": 60, "page_mb": 10, "memory_gb": 1}


def drawn(folder: Path, width: int):
    """Returns embedded queries and gallery whose photos are rendered into a folder."""
    from keras_reid.data import write_synthetic
    from keras_reid.evaluation import Embedded

    write_synthetic(folder, identities=40, cameras=CAMERAS, images_per_camera=4, seed=0)
    photos = np.array(sorted(map(str, folder.rglob("*.jpg"))), object)
    random = np.random.default_rng(0)
    centers = 0.5 * random.normal(size=(PEOPLE + 1, width))
    sides = []
    for count, distractors in ((QUERIES, 0), (GALLERY, DISTRACTORS)):
        people = np.append(random.integers(1, PEOPLE + 1, count - distractors), np.zeros(distractors, int))
        columns = {"person_id": people, "camera_id": random.integers(1, CAMERAS + 1, count)}
        frame = pd.DataFrame({**columns, "image_path": random.choice(photos, count)})
        noise = random.normal(size=(count, width))
        sides += [frame, (noise + np.where(people > 0, 1, 2)[:, None] * centers[people]).astype(np.float32)]
    return Embedded(*sides)


def memory_gb(of: str) -> float:
    """Returns what the process holds ("VmRSS"), or the most since `clear_refs` was written ("VmHWM")."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(of))
    return int(line.split()[1]) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--output", help="where the page stays; nowhere by default")
    parser.add_argument("--json")
    arguments = parser.parse_args()

    from keras_reid.evaluation import Report, confidence_intervals
    from keras_reid.evaluation.report import per_query
    from keras_reid.reports.page import write_page

    with tempfile.TemporaryDirectory() as folder:
        embedded = drawn(Path(folder, "photos"), arguments.width)
        result, rules = embedded.evaluate(), {"ignore": "same_camera", "missing_cameras": "refuse"}
        report = Report(result, per_query(embedded.query, result), rules, confidence_intervals(result))
        report.verification = embedded.verify(**rules)
        print(result, flush=True)
        Path("/proc/self/clear_refs").write_text("5")
        before, began = memory_gb("VmRSS"), time.perf_counter()
        output = arguments.output or Path(folder, "report.html")
        write_page(output, embedded, report, title="drawn", source=f"{arguments.width} numbers an image")
        found = {
            "seconds": time.perf_counter() - began,
            "page_mb": os.path.getsize(output) / 1e6,
            "memory_gb": memory_gb("VmHWM") - before,
        }
    for name, value in found.items():
        print(f"{name}: {value:.2f}, at most {BOUNDS[name]}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**found, "width": arguments.width}) + "\n")
    return int(any(value > BOUNDS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
