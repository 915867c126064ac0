"""Is a loss worth switching to? Forward and backward, time and peak memory, beside tensorflow-addons in the same run.

    python benchmarks/losses.py                  # needs tensorflow-addons: Python 3.9 to 3.11
    python benchmarks/losses.py --batch_sizes=72 --embedding_sizes=128 --json=FILE

Each case runs in a process of its own: memory is the peak of that process above what it held after a step with 8 images
of the same case. Theirs and ours take turns, step by step, so that the machine's noise falls on both. Batches of
identities x 4 images, normalized random embeddings, margin 0.3; a case that is killed for memory says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import resource
import sys
import threading
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do

# ours, theirs (None: tensorflow-addons has none)
PAIRS = {
    "batch_hard": "TripletHardLoss",
    "semi_hard": "TripletSemiHardLoss",
    "lifted": "LiftedStructLoss",
    "batch_all": None,
    "class_hard": None,
    "weighted": None,
    "contrastive": None,
    "circle": None,
}
IMAGES_PER_IDENTITY = 4


def loss_of(side: str, name: str):
    if side == "ours":
        from keras_reid.losses import build_loss

        return build_loss(name, margin=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its notice of its end of life, in each process
        import tensorflow_addons

    return getattr(tensorflow_addons.losses, PAIRS[name])(margin=0.3)


def step_of(loss):
    """Returns a compiled step from (ids, embeddings) to the gradient."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def step(person_ids, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(person_ids, embeddings)
        return value, tf.convert_to_tensor(tape.gradient(value, embeddings))

    return step


def batch(images: int, width: int):
    import numpy as np
    import tensorflow as tf

    embeddings = np.random.default_rng(0).normal(size=(images, width)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return tf.constant(np.arange(images) // IMAGES_PER_IDENTITY), tf.constant(embeddings)


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Peak(threading.Thread):
    """Samples the process's resident memory every millisecond."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes, self._running = resident_bytes(), True

    def run(self):
        while self._running:
            self.bytes = max(self.bytes, resident_bytes())
            time.sleep(0.001)

    def stop(self) -> int:
        self._running = False
        self.join()
        return self.bytes


def measure_memory(connection, side: str, name: str, images: int, width: int) -> None:
    step = step_of(loss_of(side, name))
    step(*batch(8, width))
    data = batch(images, width)
    before, peak = resident_bytes(), Peak()
    peak.start()
    for _ in range(2):
        step(*data)
    connection.send((peak.stop() - before) / 1e6)


def measure_time(connection, sides: list, name: str, images: int, width: int, seconds: float) -> None:
    data = batch(images, width)
    steps = {side: step_of(loss_of(side, name)) for side in sides}
    for step in steps.values():
        step(*data), step(*data)  # tracing, then warm
    times = {side: [] for side in sides}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times[sides[0]]) < 3:
        for side, step in steps.items():
            began = time.perf_counter()
            step(*data)[1].numpy()
            times[side].append(time.perf_counter() - began)
    connection.send({side: sorted(values)[len(values) // 2] * 1e3 for side, values in times.items()})


def in_a_process(function, *arguments):
    """Returns what the function sends; None when its process dies, as it does for want of memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        result = None
    process.join()
    return result


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", type=numbers, default=[72, 256, 1024])
    parser.add_argument("--embedding_sizes", type=numbers, default=[128, 2048])
    parser.add_argument("--losses", default=",".join(PAIRS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing for each case")
    parser.add_argument("--json", help="file to write the table to")
    options = parser.parse_args()
    addons = importlib.util.find_spec("tensorflow_addons") is not None
    if not addons:
        print("tensorflow-addons is not installed: ours alone, no ratios")
    rows = []
    print("loss             B     D       ours     addons  ratio       ours    addons", flush=True)
    for name in options.losses.split(","):
        sides = ["ours", "theirs"] if addons and PAIRS[name] else ["ours"]
        for images in options.batch_sizes:
            for width in options.embedding_sizes:
                memory = {side: in_a_process(measure_memory, side, name, images, width) for side in sides}
                alive = [side for side in sides if memory[side] is not None]
                times = in_a_process(measure_time, alive, name, images, width, options.seconds) or {}
                rows.append({"loss": name, "images": images, "width": width, "ms": times, "megabytes": memory})
                print(line_of(rows[-1], sides), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)
    return 0


def line_of(row: dict, sides: list) -> str:
    def text(values, side, form):
        if side not in sides:
            return "-"
        return "killed" if values.get(side) is None else form.format(values[side])

    ms, ratio = row["ms"], "-"
    if len(ms) == 2:
        ratio = f"{ms['ours'] / ms['theirs']:.2f}"
    return (
        f"{row['loss']:12} {row['images']:5} {row['width']:5}  {text(ms, 'ours', '{:.2f} ms'):>9} "
        f"{text(ms, 'theirs', '{:.2f} ms'):>10} {ratio:>6}   {text(row['megabytes'], 'ours', '{:.0f} MB'):>8} "
        f"{text(row['megabytes'], 'theirs', '{:.0f} MB'):>9}"
    )


if __name__ == "__main__":
    sys.exit(main())
