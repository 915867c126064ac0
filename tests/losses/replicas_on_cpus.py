"""One replica and n logical CPUs on the same batch, network and optimizer; prints JSON. Run by test_replicas.py.

In a process of its own: logical devices must be made before TensorFlow starts, and its collectives do not bear
strategies of different sizes.
"""

import json
import sys

import numpy as np

from keras_reid import TripletTrainer, losses
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.training import CollapseDoctor
from tests.conftest import tiny_embedder

REPLICAS, NAMES = int(sys.argv[1]), sys.argv[2:]
SIZES = {2: ([6, 6], [11, 1]), 3: ([4, 4, 4], [7, 0, 5])}
IMAGES, WIDTH = 12, 5


def logical_cpus(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def batch(seed=0):
    """Identities lie across the border between the replicas; some are alone."""
    random = np.random.default_rng(seed)
    return random.integers(0, 5, IMAGES) + 2**40, random.normal(size=(IMAGES, WIDTH)).astype(np.float32)


def step_by_hand(strategy, loss):
    """Returns a function from the sizes of the replicas' shares to loss and gradient of a linear network.

    It is traced once, for shares of any size: to trace it takes two seconds.
    """
    person_ids, features = batch()
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        kernel = tf.Variable(np.eye(WIDTH, dtype=np.float32))

    def local_step(borders):
        context = tf.distribute.get_replica_context()
        share = slice(*tf.unstack(borders[context.replica_id_in_sync_group :][:2]))
        with tf.GradientTape() as tape:
            terms = loss(tf.constant(person_ids)[share], tf.constant(features)[share] @ kernel)  # [B_r], reduction none
            # Keras's default: the mean of the replica's rows, then the share of a replica.
            value = tf.math.divide_no_nan(tf.reduce_sum(terms), replicas * tf.cast(tf.size(terms), tf.float32))
        gradient = tape.gradient(value, kernel)
        return context.all_reduce("sum", [value, tf.convert_to_tensor(gradient)])

    step = tf.function(lambda borders: strategy.run(local_step, (borders,)))

    def run(sizes):
        results = step(tf.constant(np.cumsum([0, *sizes])))
        value, gradient = (strategy.experimental_local_results(result)[0].numpy() for result in results)
        return float(value), gradient

    return run


def frozen_batch_normalization(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def trained(strategy, loss, **weights):
    """Returns weights and report of two steps of `TripletTrainer.fit`."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (IMAGES, 32, 16, 3), np.uint8)
    person_ids = np.int32([1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 6])  # 3 lies in both halves, 5 is alone
    with strategy.scope():
        keras.utils.set_random_seed(0)
        embedder = tiny_embedder()
        frozen_batch_normalization(embedder)
        trainer = TripletTrainer(embedder, person_ids=person_ids, **weights)
        if trainer.identity_loss is not None:
            trainer.identity_loss._neck.trainable = False
        trainer.compile(keras.optimizers.SGD(0.1), loss)
    dataset = tf.data.Dataset.from_tensors((images, person_ids)).repeat()
    doctor = CollapseDoctor(identities_per_batch=6, images_per_identity=2)
    history = trainer.fit(dataset, steps_per_epoch=2, verbose=0, callbacks=[doctor]).history
    parts = [part for part in (embedder, trainer.identity_loss, trainer.center_loss) if part is not None]
    learned = [weight for part in parts for weight in part.get_weights()]
    return learned, {name: values[0] for name, values in history.items()}


def differences(one, two):
    """Returns the largest difference of weights and of each reported number, relative to the larger of it and 1."""
    weights = max(float(np.abs(a - b).max()) for a, b in zip(one[0], two[0]))
    report = max(abs(one[1][name] - two[1][name]) / max(1, abs(one[1][name])) for name in one[1])
    return {"weights": weights, "report": report, "learning_rate": two[1]["learning_rate"]}


def refusal(strategy):
    with strategy.scope():
        trainer = TripletTrainer(tiny_embedder())
        try:
            trainer.compile("sgd", losses.BatchHardTripletLoss(), jit_compile=True)
        except ReidError as error:
            return str(error)


def host_fit(strategy, loss):
    """Returns loss and weights after a step of a plain Keras model."""
    person_ids, features = batch()
    with strategy.scope():
        layer = keras.layers.Dense(WIDTH, use_bias=False, kernel_initializer="identity")
        model = keras.Sequential([keras.Input([WIDTH]), layer])
        model.compile(keras.optimizers.SGD(1.0), loss)
    history = model.fit(features, person_ids, batch_size=IMAGES, shuffle=False, verbose=0).history
    return history["loss"][0], model.get_weights()[0]


def main():
    logical_cpus(REPLICAS)
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    many = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(REPLICAS)])
    seen = {}
    for name in NAMES:
        loss_class = losses.LOSSES[name]
        loss = loss_class(reduction="none")
        value, gradient = step_by_hand(one, loss)([IMAGES])
        by_hand, on_many = [], step_by_hand(many, loss)
        for sizes in SIZES[REPLICAS]:
            other, other_gradient = on_many(sizes)
            by_hand.append(max(abs(other - value), float(np.abs(other_gradient - gradient).max())))
        seen[name] = {
            "value": value,
            "slope": float(np.abs(gradient).max()),
            "by_hand": max(by_hand),
        }
    fits = [host_fit(strategy, losses.BatchHardTripletLoss()) for strategy in (one, many)]
    seen["host fit"] = max(abs(fits[0][0] - fits[1][0]), float(np.abs(fits[0][1] - fits[1][1]).max()))
    weights = {"identity_loss_weight": 1.0, "center_loss_weight": 0.1}
    both = [trained(strategy, losses.BatchHardTripletLoss("soft"), **weights) for strategy in (one, many)]
    seen["trainer"] = differences(*both)
    if REPLICAS == 2:
        replica_scope = losses.BatchHardTripletLoss(reduction="none", mining_scope="replica")
        seen["replica scope"] = step_by_hand(many, replica_scope)([6, 6])[0]
    seen["jit"] = refusal(many)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
