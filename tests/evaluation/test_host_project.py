"""The callback in a project on Keras 3: a plain model of that project is scored as its float32 weights by hand."""

import json

import pytest

from tests.losses.test_host_project import only_keras_3, run_python

CODE = """
import json, os, tempfile
import keras, numpy as np, pandas as pd
from PIL import Image
from keras_reid.artifacts import open_artifact
from keras_reid.evaluation import RetrievalEvaluation, evaluate_retrieval

random, folder, rows, pixels = np.random.default_rng(0), tempfile.mkdtemp(), [], []
for number in range(48):
    pixels.append(random.integers(0, 256, (4, 2, 3)).astype(np.uint8))
    path = os.path.join(folder, f"{number}.png")
    Image.fromarray(pixels[-1]).save(path)
    rows.append((path, number % 8, number // 8 % 3, "query" if number < 16 else "gallery"))
catalog = pd.DataFrame(rows, columns=["image_path", "person_id", "camera_id", "split"])
pixels = np.stack(pixels).reshape(48, -1) / 255
query, gallery = catalog[catalog.split == "query"], catalog[catalog.split == "gallery"]
people = {"query_person_ids": query.person_id, "gallery_person_ids": gallery.person_id}
people |= {"query_camera_ids": query.camera_id, "gallery_camera_ids": gallery.camera_id}

class ByHand(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        kernel, bias = (weights.astype(float) for weights in self.model.get_weights())
        embeddings = pixels @ kernel + bias
        scores = evaluate_retrieval(embeddings[:16], embeddings[16:], **people).to_dict()
        seen[name]["by_hand"].append([scores["mean_average_precision"], scores["top1"]])

seen = {"keras": keras.__version__}
for policy in ("float32", "mixed_bfloat16"):
    for kind in ("functional", "sequential"):
        name = f"{kind}, {policy}"
        seen[name] = {"by_hand": []}
        keras.config.set_dtype_policy(policy)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input([4, 2, 3]), *layers])
        if kind == "functional":
            model = keras.Model(model.inputs, model.outputs)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        evaluation = RetrievalEvaluation(catalog)
        images, targets = 255 * random.random((16, 4, 2, 3)), random.normal(size=(16, 3))
        logs = model.fit(images, targets, epochs=3, verbose=0, callbacks=[evaluation, ByHand()]).history
        seen[name]["scores"] = list(zip(logs["val_mean_average_precision"], logs["val_top1"]))

class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, images):
        return self.pool(images)

subclassed = Subclassed()
subclassed.compile("sgd", "mse")
try:
    subclassed.fit(images, targets, verbose=0, callbacks=[RetrievalEvaluation(catalog)])
except ValueError as error:
    seen["subclassed"] = [type(error).__name__, str(error)]
model.save(os.path.join(folder, "model.keras"))
try:
    open_artifact(os.path.join(folder, "model.keras"))
except ImportError as error:
    seen["keras file"] = str(error)
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def under_keras_3():
    return json.loads(run_python(CODE, TF_USE_LEGACY_KERAS="0"))


@only_keras_3
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_plain_keras_3_model_is_scored_each_epoch_as_it_ships(under_keras_3, kind, policy):
    """By hand: the images times the kernel plus the bias, in float64."""
    assert under_keras_3["keras"].startswith("3.")
    seen = under_keras_3[f"{kind}, {policy}"]
    assert len(seen["scores"]) == 3 and seen["scores"][0] != seen["scores"][2]
    assert seen["scores"] == [pytest.approx(expected, abs=1e-9) for expected in seen["by_hand"]]


@only_keras_3
def test_a_subclassed_keras_3_model_is_refused_in_one_line(under_keras_3):
    kind, message = under_keras_3["subclassed"]
    assert kind == "ReidError" and "\n" not in message
    assert message.startswith("model is a Subclassed without an input of a known shape: expected a functional or Seq")


@only_keras_3
def test_a_keras_file_needs_keras_2_and_says_so(under_keras_3):
    assert "needs Keras 2" in under_keras_3["keras file"]
