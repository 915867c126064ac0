"""Does the trainer cost anything beside the network? Its full train_step against a bare loop over the same ResNet-50.

The baseline is the same network, optimizer and precision with the mean of the embeddings as the loss: no mining, no
distances, no statistics. Steps of both are interleaved, so that a busy machine slows both alike; medians are compared.

    python benchmarks/train_step.py --steps=15

Prints images/s of each and the trainer's share of the baseline's speed; 0.97 or more is wanted.
"""

import argparse
import statistics
import time

import numpy as np

from keras_reid import TripletTrainer, build_embedder
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import build_optimizer, resolve_precision
from keras_reid.training.precision import cpu_computes_in_bfloat16


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


def compiled(trainer_class, image_size, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    trainer = trainer_class(build_embedder(image_size=image_size))
    trainer.compile(optimizer=build_optimizer("adam", 3e-4), **options)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each, after two that are not")
    parser.add_argument("--identities", type=int, default=18)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--mixed_precision", default="auto")
    arguments = parser.parse_args()

    gpus = len(tf.config.list_physical_devices("GPU"))
    policy = resolve_precision(arguments.mixed_precision, gpus=gpus, cpu_has_bfloat16=cpu_computes_in_bfloat16())
    keras.mixed_precision.set_global_policy(policy)
    size = (arguments.height, arguments.width)
    batch_size = arguments.identities * arguments.images
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (batch_size, *size, 3), np.uint8))
    person_ids = tf.constant(np.repeat(np.arange(arguments.identities, dtype=np.int32), arguments.images))
    steps = {
        "trainer": compiled(TripletTrainer, size, loss=BatchHardTripletLoss(margin="soft")).make_train_function(),
        "baseline": compiled(MeanTrainer, size).make_train_function(),
    }
    batches = iter(tf.data.Dataset.from_tensors((images, person_ids)).repeat())
    seconds = {name: [] for name in steps}
    for n in range(arguments.steps + 2):
        # Whoever comes second finds a warm cache: they take turns.
        for name in sorted(steps, reverse=bool(n % 2)):
            began = time.perf_counter()
            float(steps[name](batches)["loss"])  # waits until the step is done
            if n >= 2:
                seconds[name].append(time.perf_counter() - began)
    print(f"{size[0]}x{size[1]}, {arguments.identities} x {arguments.images}, {policy}, {gpus or 'no'} GPU")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:9} {batch_size / median:8.1f} images/s, median of {arguments.steps} steps {median:.3f} s")
    print(f"trainer / baseline: {medians['baseline'] / medians['trainer']:.3f}")


if __name__ == "__main__":
    main()
