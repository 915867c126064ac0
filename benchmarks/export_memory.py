"""How much memory does an export take? The peak of each format for a ResNet-50 of 103 MB, in a process of its own.

    python benchmarks/export_memory.py
    python benchmarks/export_memory.py --formats=onnx --json=FILE

`before` is the process with TensorFlow and the network, `peak` the most that it held while it wrote, `more` their
difference, which must stay under 2.5 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np

BOUND = 2.5  # GB
IMAGE_SIZE = (128, 64)


def peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(name: str) -> dict:
    """Writes a network in a format, and returns GB before and at the peak, seconds, and MB of what was written."""
    from keras_reid import build_embedder
    from keras_reid.artifacts import describe_embedder
    from keras_reid.artifacts.formats.table import FORMATS

    format_ = FORMATS[name]
    with contextlib.redirect_stdout(sys.stderr):  # keras-cv greets
        embedder = build_embedder(image_size=IMAGE_SIZE, backbone_weights="none")
    options = {}
    if format_.needs_calibration:
        options["calibration_images"] = np.random.default_rng(0).integers(0, 256, (20, *IMAGE_SIZE, 3), np.uint8)
    before, began = peak_gb(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(format_.place).name)
        format_.write(embedder, path, describe_embedder(embedder), **options)
        seconds = time.perf_counter() - began
        files = path.rglob("*") if path.is_dir() else [path]
        megabytes = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    return {"before": before, "peak": peak_gb(), "seconds": seconds, "megabytes": megabytes}


def main() -> int:
    from keras_reid.choices import FORMATS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--json", help="file to write the table to")
    options = parser.parse_args()
    rows = {}
    print("format                 before     peak     more   seconds   file", flush=True)
    for name in options.formats.split(","):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows[name] = row = pool.apply(measure, [name])
        memory = "".join(f"{value:6.2f} GB" for value in (row["before"], row["peak"], row["peak"] - row["before"]))
        print(f"{name:20}{memory}{row['seconds']:8.1f} s{row['megabytes']:7.1f} MB", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")
    over = [name for name, row in rows.items() if row["peak"] - row["before"] > BOUND]
    print(f"above {BOUND} GB: {', '.join(over)}" if over else f"all stay under {BOUND} GB more")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
