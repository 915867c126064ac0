"""Trains with every augmentation, stops, goes on, and draws on two replicas; prints JSON. Run by test_augmentation.py.

In a process of its own: logical devices must be made before TensorFlow starts, and deterministic ops stay on.
"""

import hashlib
import json
import sys

import numpy as np

from keras_reid import TripletTrainer
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import Checkpoints, build_augmentation
from tests.conftest import tiny_embedder

STRENGTHS = {"color_jitter": 0.5, "rand_augment": 0.5, "random_grayscale": 0.3, "random_blur": 0.5}
PERSON_IDS = np.repeat([3, 5, 9], 4).astype(np.int32)


def batches(start):
    random = np.random.default_rng(0)
    every = [(random.integers(0, 256, (12, 32, 16, 3), np.uint8), PERSON_IDS) for _ in range(4)]
    images, person_ids = zip(*every[start:])
    return tf.data.Dataset.from_tensor_slices((np.stack(images), np.stack(person_ids)))


def fresh_run(folder, seed):
    keras.utils.set_random_seed(seed)
    trainer = TripletTrainer(tiny_embedder(), augmentation=build_augmentation(**STRENGTHS, seed=seed))
    trainer.compile(keras.optimizers.Adam(0.01), loss=BatchHardTripletLoss())
    return trainer, Checkpoints(folder, trainer)


def digest(trainer):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in trainer.embedder.get_weights())).hexdigest()


def drawn_by_replicas():
    """Returns, of two batches on two replicas, how many of the four results are alike, and the batches counted."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = build_augmentation(**STRENGTHS, seed=3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (8, 32, 16, 3), np.uint8))

    @tf.function
    def step():
        return strategy.run(layer, args=(images,), kwargs={"training": True})

    results = [result.numpy().tobytes() for _ in range(2) for result in strategy.experimental_local_results(step())]
    return {"different": len(set(results)), "state": layer.get_weights()[0].tolist()}


def main():
    folder = sys.argv[1]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    trainer, checkpoints = fresh_run(folder, seed=1)
    trainer.fit(batches(0).take(2), verbose=0)
    checkpoints.save(2)
    seen = {"halfway": digest(trainer)}
    trainer.fit(batches(2), verbose=0)
    seen["uninterrupted"] = digest(trainer)
    trainer, checkpoints = fresh_run(folder, seed=2)  # what it draws must come from the checkpoint
    seen["step"] = checkpoints.restore_newest()
    trainer.fit(batches(2), verbose=0)
    print(json.dumps({**seen, "resumed": digest(trainer), "replicas": drawn_by_replicas()}))


if __name__ == "__main__":
    main()
