"""Warm-up requests: what TensorFlow Serving asks each signature of a model before the first user does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Where TensorFlow Serving looks, below the folder of a version.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MODEL_NAME = "embedder"


def write_warmup(saved_model: Path, signatures: Mapping[str, Callable], image_size: tuple[int, int]) -> None:
    """Writes the warm-up file into a SavedModel: one request of one black image to each signature.

    Args:
        saved_model: folder of the version.
        signatures: `tf.function`s by name, with input signatures.
        image_size: (height, width) of the image.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2  # takes TensorFlow: after keras2 has chosen its Keras
    except ImportError as error:
        raise ReidError(
            f"a SavedModel's warm-up requests need tensorflow-serving-api, which cannot be imported ({error}): "
            f"pip install 'tensorflow-serving-api=={tf.__version__}'."
        ) from error

    image = np.zeros((1, *image_size, 3), np.uint8)
    path = saved_model / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, name
            for spec in function.input_signature:
                value = [tf.io.encode_png(image[0]).numpy()] if spec.dtype == tf.string else image
                request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(value, dtype=spec.dtype))
            writer.write(log.SerializeToString())
