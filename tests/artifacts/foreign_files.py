"""Files of somebody else's for the tests: ONNX networks of a convolution, and Keras networks without normalization."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_reid.keras2 import keras, tf
from tests.conftest import tiny_embedder

KERNEL = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)  # [out, in, height, width]
BIAS = np.random.default_rng(1).normal(size=5).astype(np.float32)
SIZE = (8, 6)


def features(values: np.ndarray) -> np.ndarray:
    """What the convolution gives by NumPy for float `[N, 3, 8, 6]`: steps of 2, no border, ReLU, mean: `[N, 5]`."""
    result = np.zeros((len(values), 5))
    for number, value in enumerate(values.astype(np.float64)):
        for channel in range(5):
            found = [
                max(0.0, (value[:, y : y + 3, x : x + 3] * KERNEL[channel]).sum() + BIAS[channel])
                for y in range(0, SIZE[0] - 2, 2)
                for x in range(0, SIZE[1] - 2, 2)
            ]
            result[number, channel] = np.mean(found)
    return result


def write_onnx(
    path: Path, *more, outputs=("features",), shape=("N", 3, *SIZE), dtype=None, external=False, **constants
) -> Path:
    """Writes the convolution, `features` `[N, 5, 1, 1]`, and more nodes behind it, each a tuple for `make_node`."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    weights = {"kernel": KERNEL, "bias": BIAS, **constants}
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "bias"], ["map"], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["features"]),
        *(helper.make_node(kind, inputs, names, **options) for kind, inputs, names, options in more),
    ]
    if dtype is not None:
        nodes[0].input[0] = "pixels"
        nodes.insert(0, helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", dtype or TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("somebody", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = {"location": f"{path.name}.data", "size_threshold": 0} if external else {}
    save_model(model, str(path), save_as_external_data=external, **options)
    return path


def without_normalization(embedder):
    """Returns `tiny_embedder` without its first layer, which divides by 128 and subtracts 1."""
    images = x = keras.Input((*embedder.input_shape[1:],))
    for layer in embedder.layers[2:]:
        x = layer(x)
    return keras.Model(images, x)


def keras_networks(folder: Path):
    """Writes one network as a SavedModel and as TFLite, without its normalization; returns it as it was."""
    embedder = tiny_embedder()
    bare = without_normalization(embedder)
    shape = [None, *embedder.input_shape[1:]]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="pixels")])
    def serve(pixels):
        return {"features": bare(pixels, training=False), "first": pixels[:, 0, 0]}

    tf.saved_model.save(bare, str(folder / "saved"), signatures={"serving_default": serve})
    (folder / "network.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(bare).convert())
    return embedder
