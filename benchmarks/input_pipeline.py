"""Does the input pipeline keep up with what no pipeline can do without: reading and decoding the files?

    python benchmarks/input_pipeline.py --data_dir=Market-1501-v15.09.15        # about 2 minutes
    python benchmarks/input_pipeline.py --json=FILE                             # synthetic files like them

The baseline, `bare`, is the least that makes a 256 x 128 image of a file with tf.data: read, decode, resize, round to
uint8, in a parallel map, batched and prefetched. `decode only` leaves out resize and rounding: batches of files at
their own size (Market-1501's are 128 x 64, a quarter of the pixels), which no network of 256 x 128 can take.
Ours are the batches of training, 18 x 4, with flip, pad-and-crop and erasing (probability 0.5):
- without a cache: at least 0.85 of bare;
- with the cache, from the second epoch on: at least 1.5 times bare;
- first epoch with the cache: as without, but for the memory that it takes for the first time.

All of it runs in one process, in turns, so that the machine's noise falls on all; medians of the turns are compared.
Memory is the peak of a process of its own, above what it held before its dataset was made.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do

import numpy as np
import pandas as pd

IMAGE_SIZE, P, K = (256, 128), 18, 4
BATCH = P * K
# Name, --cache, bound of the ratio to bare.
CASES = (("without cache", "none", 0.85), ("with cache", "memory", 1.5))


def synthetic_files(folder: str, *, identities: int = 751, images: int = 12_936) -> tuple[list[str], np.ndarray]:
    """Writes JPEG files of Market-1501's number and size, smooth noise of its file size (2.3 KB); returns them."""
    from PIL import Image

    random = np.random.default_rng(0)
    paths = [os.path.join(folder, f"{n:05}.jpg") for n in range(images)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (16, 8, 3), np.uint8))
        coarse.resize((64, 128), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths, np.sort(random.integers(0, identities, images))


def market_files(data_dir: str) -> tuple[list[str], np.ndarray]:
    from keras_reid.data import read_market1501

    catalog = read_market1501(data_dir)
    train = catalog[catalog.split == "train"]
    return list(train.image_path), train.person_id.to_numpy()


def bare(paths: list[str], *, resize: bool):
    """Returns batches of decoded images in random order, without end."""
    from keras_reid.data.images import decode_image, resize_images
    from keras_reid.keras2 import tf

    def read(path):
        image = decode_image(tf.io.read_file(path))
        return tf.cast(tf.round(resize_images(image, IMAGE_SIZE)), tf.uint8) if resize else image

    files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed=0).repeat()
    return files.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def ours(paths: list[str], person_ids: np.ndarray, cache: str):
    from keras_reid.data import IdentityBatches, training_dataset
    from keras_reid.data.augmentation import Augmentation

    images = pd.DataFrame({"image_path": paths, "person_id": person_ids})
    batches = IdentityBatches(images, identities_per_batch=P, images_per_identity=K, seed=0)
    augmentation = Augmentation(flip=0.5, crop_padding=10, erasing=0.5)
    return training_dataset(batches, image_size=IMAGE_SIZE, epochs=1000, augmentation=augmentation, cache=cache)


def rate(batches, steps: int) -> float:
    """Returns images/s over that many batches, after a few that are not timed: what was read ahead is used up."""
    for _ in range(10):
        next(batches)
    began = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return steps * BATCH / (time.perf_counter() - began)


def first_epoch(paths: list[str], person_ids: np.ndarray, cache: str, connection) -> None:
    """Sends, of a fresh process: seconds to the first batch, images/s of an epoch, GB at the peak above the start."""
    before = peak_gb()
    began = time.perf_counter()
    batches = iter(ours(paths, person_ids, cache))
    next(batches)
    first = time.perf_counter() - began
    steps = len(paths) // BATCH
    for _ in range(steps - 1):
        next(batches)
    seconds = time.perf_counter() - began - first
    next(batches)  # with the cache: of the second epoch, when all is stored
    connection.send((first, (steps - 1) * BATCH / seconds, peak_gb() - before))


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def in_a_process(*arguments):
    """Returns what `first_epoch` sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=first_epoch, args=(*arguments, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise SystemExit(f"a process ended without a result, exit code {process.exitcode}") from None
    finally:
        process.join()


def rates(paths: list[str], person_ids: np.ndarray, *, steps: int, turns: int) -> dict[str, list[float]]:
    """Returns images/s of each turn, by name; the cache is full before the first."""
    sources = {
        "decode only": iter(bare(paths, resize=False)),
        "bare": iter(bare(paths, resize=True)),
        **{name: iter(ours(paths, person_ids, cache)) for name, cache, _ in CASES},
    }
    for _ in range(len(paths) // BATCH + 1):
        next(sources["with cache"])
    measured = {name: [] for name in sources}
    for _ in range(turns):
        for name, batches in sources.items():
            measured[name].append(rate(batches, steps))
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default=os.environ.get("MARKET1501_DIR"), help="Market-1501; synthetic without")
    parser.add_argument("--steps", type=int, default=60, help="timed batches of each turn; default: %(default)s")
    parser.add_argument("--turns", type=int, default=7, help="the median is compared; default: %(default)s")
    parser.add_argument("--json", help="file for the numbers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths, person_ids = market_files(arguments.data_dir) if arguments.data_dir else synthetic_files(folder)
        fresh = {name: in_a_process(paths, person_ids, cache) for name, cache, _ in CASES}
        measured = rates(paths, person_ids, steps=arguments.steps, turns=arguments.turns)
    images = "Market-1501's files" if arguments.data_dir else "synthetic files"
    print(f"{len(paths)} {images}, {P} x {K} at {IMAGE_SIZE[0]} x {IMAGE_SIZE[1]}, {os.cpu_count()} cores")
    print(f"{'':16}{'images/s':>10}{'ratio':>8}{'bound':>7}{'first batch':>13}{'first epoch':>14}{'memory':>10}")
    medians = {name: float(np.median(values)) for name, values in measured.items()}
    # Of the turns, not of the medians: neighbors in time share the machine's noise.
    ratios = {name: float(np.median(np.divide(values, measured["bare"]))) for name, values in measured.items()}
    for name in ("decode only", "bare"):
        print(f"{name:16}{medians[name]:10.0f}{ratios[name]:8.2f}")
    for name, _, bound in CASES:
        first, epoch, memory = fresh[name]
        print(
            f"{name:16}{medians[name]:10.0f}{ratios[name]:8.2f}{bound:7.2f}{first:11.2f} s{epoch:10.0f} /s"
            f"{memory:7.2f} GB"
        )
    if arguments.json:
        rows = {"rates": measured, "ratios": ratios, "first_batch_s, first_epoch_images_per_s, memory_gb": fresh}
        Path(arguments.json).write_text(json.dumps(rows, indent=2))
    kept = all(ratios[name] >= bound for name, _, bound in CASES)
    print("all bounds are kept" if kept else "a bound is broken")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
