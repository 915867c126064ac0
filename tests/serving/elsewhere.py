"""Asks an artifact in an environment without keras_reid: python elsewhere.py KIND PATH IMAGES.npy EMBEDDINGS.npy.

KIND is savedmodel, keras, tflite or onnx; IMAGES are uint8 [N, H, W, 3], of the network's own size for keras.
"""

import sys

import numpy as np


def savedmodel(path, images):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return loaded.signatures["serving_default"](images=tf.constant(images))["embedding"].numpy()


def keras(path, images):
    import tensorflow as tf

    print(tf.keras.__version__ if hasattr(tf.keras, "__version__") else tf.__version__)
    return tf.keras.models.load_model(path).predict(images.astype(np.float32), verbose=0)


def tflite(path, images):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=path).get_signature_runner("serving_default")
    dtype = runner.get_input_details()["images"]["dtype"]
    return runner(images=images.astype(dtype))["embedding"]


def onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"images": images})[0]


if __name__ == "__main__":
    kind, path, images, embeddings = sys.argv[1:]
    np.save(embeddings, globals()[kind](path, np.load(images)))
    assert not {"keras_reid", "keras_cv", "tf_keras"} & sys.modules.keys()  # some of them may lie in the environment
