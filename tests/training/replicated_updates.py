"""One replica and two logical CPUs: clipped gradients, layer-wise rates, a backbone freed; prints JSON.

In a process of its own: logical devices must be made before TensorFlow starts. Run by test_layer_rates.py.
"""

import json

import numpy as np

from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.training import FreezeBackbone, TripletTrainer
from tests.training.test_trainer import PERSON_IDS, images


def embedder() -> keras.Model:
    """Without BatchNormalization, whose statistics are of each replica's part."""
    x = inputs = keras.Input((32, 16, 3))
    x = keras.layers.Rescaling(1 / 128, -1.0)(x)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv1_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="head_embedding")(x), name="embedder")


def weights_after_training(strategy, optimizer) -> list:
    with strategy.scope():
        keras.utils.set_random_seed(1)
        trainer = TripletTrainer(embedder(), layer_learning_rates={"stem": 0.3})
        trainer.compile(optimizer(), loss=BatchHardTripletLoss(margin="soft"))
    batches = tf.data.Dataset.from_tensor_slices((images(), PERSON_IDS)).repeat().batch(12)
    trainer.fit(batches, steps_per_epoch=2, epochs=3, verbose=0, callbacks=[FreezeBackbone(2)])
    return trainer.embedder.get_weights()


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    differences = {}
    for name, optimizer in {
        "sgd": lambda: keras.optimizers.SGD(1.0, global_clipnorm=0.01),
        "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.01),
    }.items():
        one = weights_after_training(tf.distribute.get_strategy(), optimizer)
        two = weights_after_training(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), optimizer)
        differences[name] = max(float(np.abs(a - b).max()) for a, b in zip(one, two))
    print(json.dumps(differences))


if __name__ == "__main__":
    main()
