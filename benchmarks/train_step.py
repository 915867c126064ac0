"""Does the trainer cost anything beside the network, and what would PyTorch make of the same step? ResNet-50.

- `trainer`: the full train_step: forward, mining, batch-hard loss, backward, Adam, statistics.
- `baseline`: a bare loop over the same network with the mean of the embeddings as the loss: no mining, no distances, no
  statistics.
- `pytorch`: the same network, loss and optimizer in PyTorch, where torch can be imported (pytorch_step.py, a process of
  its own).

Their steps take turns, so that a busy machine slows the first two alike; medians are compared. PyTorch's row wants a
machine without other work: its threads wait for each other in loops, and with others on the same cores a step took four
times as long by two threads as by one.

    python benchmarks/train_step.py                                     # on 2 CPU cores: see docs/results.md
    python benchmarks/train_step.py --sizes=64x32 --steps=15

Prints images/s of each, and the ratios of the trainer's speed to that of the other two; 0.97 or more of the baseline is
wanted.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do

import numpy as np

from keras_reid import TripletTrainer, build_embedder
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import build_optimizer, resolve_precision
from keras_reid.training.processor import cpu_computes_in, onednn_is_on


class MeanTrainer(keras.Model):
    """The bare loop: forward, mean as the loss, gradient, update."""

    def __init__(self, embedder: keras.Model):
        super().__init__()
        self.embedder = embedder

    def train_step(self, data):
        images, _ = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(self.embedder(images, training=True), tf.float32))
        self.optimizer.minimize(loss, self.embedder.trainable_variables, tape=tape)
        return {"loss": loss}


def keras_step(trainer_class, images, person_ids, **options):
    """Returns a function that makes a step of a trainer and returns the loss."""
    keras.utils.set_random_seed(0)
    trainer = trainer_class(build_embedder(image_size=images.shape[1:3], backbone_weights="none"))
    trainer.compile(optimizer=build_optimizer("adam", 3e-4), **options)
    train_function = trainer.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((images, person_ids)).repeat())
    return lambda: float(train_function(batches)["loss"])  # waits until the step is done


@contextlib.contextmanager
def pytorch_step(*arguments):
    """Yields a function that makes a step in a process of PyTorch, and returns the loss."""
    command = [sys.executable, str(Path(__file__).with_name("pytorch_step.py")), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def step() -> float:
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield step


def seconds_of(steps: dict, count: int) -> dict[str, float]:
    """Returns the median seconds of each step, after two that build the graph and fill the memory."""
    seconds = {name: [] for name in steps}
    for n in range(count + 2):
        # Whoever comes second finds a warm cache: they take turns.
        for name in sorted(steps, reverse=bool(n % 2)):
            began = time.perf_counter()
            steps[name]()
            if n >= 2:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each, after two that are not")
    parser.add_argument("--identities", type=int, default=18)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--sizes", default="64x32,128x64,256x128", help="heights x widths")
    parser.add_argument("--mixed_precision", default="auto")
    arguments = parser.parse_args()

    gpus = len(tf.config.list_physical_devices("GPU"))
    policy = resolve_precision(arguments.mixed_precision, gpus=gpus, cpu_has_bfloat16=cpu_computes_in("bfloat16"))
    keras.mixed_precision.set_global_policy(policy)
    batch_size = arguments.identities * arguments.images
    person_ids = np.repeat(np.arange(arguments.identities, dtype=np.int32), arguments.images)
    has_torch = importlib.util.find_spec("torch") is not None
    kernels = "on" if onednn_is_on() else "off"
    print(f"{arguments.identities} x {arguments.images} images, {policy}, {gpus or 'no'} GPU, oneDNN kernels {kernels}")
    if not has_torch:
        print("torch is not installed: no row for PyTorch")
    for image_size in map(size, arguments.sizes.split(",")):
        images = np.random.default_rng(0).integers(0, 256, (batch_size, *image_size, 3), np.uint8)
        steps = {
            "trainer": keras_step(TripletTrainer, images, person_ids, loss=BatchHardTripletLoss(margin="soft")),
            "baseline": keras_step(MeanTrainer, images, person_ids),
        }
        with contextlib.ExitStack() as stack:
            if has_torch:
                other = pytorch_step(*image_size, arguments.identities, arguments.images, policy)
                steps["pytorch"] = stack.enter_context(other)
            seconds = seconds_of(steps, arguments.steps)
        shape = "x".join(map(str, image_size))
        for name, median in seconds.items():
            row = f"{shape:8}{name:9}{batch_size / median:8.1f} images/s {median:8.3f} s a step"
            ratio = f"   trainer / {name}: {median / seconds['trainer']:.3f}" if name != "trainer" else ""
            print(row + ratio, flush=True)


if __name__ == "__main__":
    main()
