"""Good manners in somebody else's project: imports change nothing, and the losses train under Keras 3 as well."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_reid.losses import LOSSES

# Where tf.keras may be Keras 3: TensorFlow 2.16 and later beside keras 3.
KERAS_3 = int(importlib.metadata.version("keras").split(".")[0]) >= 3
only_keras_3 = pytest.mark.skipif(not KERAS_3, reason="Keras 3 is not installed")


def run_python(code, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment.update(variables, TF_CPP_MIN_LOG_LEVEL="3")
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()[-1]


def test_import_changes_nothing():
    code = """
import os, sys
before = dict(os.environ)
import keras_reid
print(before == dict(os.environ), sorted({"tensorflow", "keras", "numpy"} & set(sys.modules)))
"""
    assert run_python(code) == "True []"


@pytest.fixture(scope="module")
def under_keras_3():
    """What a host project on Keras 3 sees: one process, for TensorFlow takes seconds to import."""
    code = """
import json, os, sys, tempfile
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_reid import losses
random = np.random.default_rng(0)
person_ids, embeddings = random.integers(0, 5, 14), random.normal(size=(14, 5)).astype("float32")
seen = {"keras": keras.__version__, "losses": {}}

def trained(loss, strategy):
    with strategy.scope():
        layer = keras.layers.Dense(5, use_bias=False, kernel_initializer="identity")
        model = keras.Sequential([keras.Input([5]), layer])
        model.compile(keras.optimizers.SGD(1.0), loss)
    value = model.fit(embeddings, person_ids, batch_size=14, shuffle=False, verbose=0).history["loss"][0]
    return value, np.eye(5) - model.get_weights()[0], model

one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, loss_class in losses.LOSSES.items():
    kernel = tf.Variable(tf.eye(5))
    with tf.GradientTape() as tape:
        loss = loss_class()
        value = tf.reduce_mean(loss.call(person_ids, embeddings @ kernel))
    expected, gradient = float(value), tape.gradient(value, kernel).numpy()
    runs = [trained(loss_class(name="mine", mining_scope="global"), strategy) for strategy in (one, two)]
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    runs[0][2].save(path)
    seen["losses"][name] = {
        "is_keras_3_loss": issubclass(loss_class, keras.losses.Loss),
        "loss": expected,
        "errors": [abs(run[0] - expected) for run in runs] + [float(np.abs(run[1] - gradient).max()) for run in runs],
        "large_ids": float(loss_class()(person_ids + 2**24, embeddings)),
        "half": float(loss_class(dtype="float16")(person_ids + 2**24, embeddings)),
        "saved": keras.models.load_model(path).loss.get_config() == runs[0][2].loss.get_config(),
    }
try:
    losses.BatchHardTripletLoss()(person_ids.astype("float32"), embeddings)
except ValueError as error:
    seen["float_labels"] = str(error)
try:
    import keras_reid.models
    keras_reid.models.build_embedder
except ImportError as error:
    seen["models"] = str(error)
seen["variable"] = os.environ.get("TF_USE_LEGACY_KERAS")
print(json.dumps(seen))
"""
    return json.loads(run_python(code, TF_USE_LEGACY_KERAS="0"))


@only_keras_3
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_under_keras_3(under_keras_3, name):
    """On one replica and on two; ids above 2^24 must not merge, though Keras 3 makes floats of labels."""
    assert under_keras_3["keras"].startswith("3.")
    seen = under_keras_3["losses"][name]
    assert seen["is_keras_3_loss"] and seen["saved"]
    assert max(seen["errors"]) < 1e-5 * max(1, seen["loss"])
    assert seen["large_ids"] == pytest.approx(seen["loss"], rel=1e-5)
    assert seen["half"] == pytest.approx(seen["loss"], rel=1e-5)


@only_keras_3
def test_float_labels_are_refused_under_keras_3(under_keras_3):
    assert "float32, expected integers" in under_keras_3["float_labels"]


@only_keras_3
def test_models_need_keras_2_and_say_so(under_keras_3):
    assert "needs Keras 2" in under_keras_3["models"] and "TF_USE_LEGACY_KERAS" in under_keras_3["models"]
    assert under_keras_3["variable"] == "0"
