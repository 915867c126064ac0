"""Decides what TensorFlow Lite gets: one file of one of five kinds, with the resize and `reid.json` inside.

| kind | weights | activations | input |
|---|---|---|---|
| `float32` | float32 | float32 | uint8 |
| `float16` | float16 | float32 | uint8 |
| `dynamic_range` | int8 | int8, their scale found at run time | uint8 |
| `int8` | int8, a scale for each channel | int8, calibrated | uint8 |
| `int16` | int8, a scale for each channel | int16, calibrated; slow on CPUs | float32, 0..255 |

Under every kind the output is float32, and so is the division by its length, where the network normalizes embeddings:
in int8 that would leave a unit vector of 128 numbers about 20 levels for each.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_reid.artifacts.artifact import INPUT, OUTPUT, SIGNATURE, tflite_interpreter
from keras_reid.artifacts.metadata import add_to_zip
from keras_reid.data.images import resize_images
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf

KINDS = ("float32", "float16", "dynamic_range", "int8", "int16")
CALIBRATED_KINDS = ("int8", "int16")


def export_tflite(
    embedder: keras.Model,
    path: str | os.PathLike,
    metadata: Mapping,
    *,
    kind: str = "float32",
    calibration_images: np.ndarray | None = None,
) -> Path:
    """Writes a TFLite file, whole or not at all.

    Its signature `serving_default` takes `images` `[N, H, W, 3]`, RGB 0..255 of any size, and gives `embedding`
    float32 `[N, D]`.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        path: the file, ending in `.tflite`.
        metadata: the content of `reid.json`.
        kind: of `KINDS`. int16 is for networks of convolutions: other layers, such as LayerNormalization, may end the
            process that runs the file.
        calibration_images: uint8 `[N, H, W, 3]`, as the network will see them: int8 and int16 take the ranges of all
            activations from them.

    Returns:
        The path.

    Raises:
        ReidError: an unknown kind, no calibration images where they are needed, or TensorFlow Lite cannot convert it.
    """
    if kind not in KINDS:
        raise ReidError(f"TFLite kind {kind!r} is unknown: expected one of {', '.join(KINDS)}.")
    if kind in CALIBRATED_KINDS and (calibration_images is None or not len(calibration_images)):
        raise ReidError(f"TFLite {kind} is calibrated on images: expected calibration_images, uint8 [N, H, W, 3].")
    path, dtype = Path(path), tf.float32 if kind == "int16" else tf.uint8
    with tempfile.TemporaryDirectory() as folder, whole_or_not_at_all(path) as temporary:
        _save(embedder, folder, dtype)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        try:
            with _quiet_stderr():
                model = _convert(converter, kind, dtype, calibration_images)
        except Exception as error:  # its errors have many classes, and texts of a hundred lines
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
            raise ReidError(f"TensorFlow Lite cannot convert the network to {kind} ({reason}).") from error
        _refuse_zero_scales(model, kind)
        temporary.write_bytes(model)
        add_to_zip(temporary, metadata)
    return path


def _save(embedder: keras.Model, folder: str, dtype: tf.DType) -> None:
    """Writes a SavedModel of the one signature that a TFLite file has."""
    image_size = embedder.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], dtype, name=INPUT)])
    def embed(images):
        # TFLite's resize gives the type that it takes: pixels between two others would be rounded.
        return {OUTPUT: embedder(resize_images(tf.cast(images, tf.float32), image_size), training=False)}

    module = tf.Module()
    module.variables_of_embedder = list(embedder.variables)
    tf.saved_model.save(module, folder, signatures={SIGNATURE: embed})


def _convert(converter: tf.lite.TFLiteConverter, kind: str, dtype: tf.DType, images: np.ndarray | None) -> bytes:
    if kind == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind not in CALIBRATED_KINDS:
        return converter.convert()
    sets = tf.lite.OpsSet
    int16 = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    whole = sets.TFLITE_BUILTINS_INT8 if kind == "int8" else int16
    converter.target_spec.supported_ops = [whole, sets.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: (
        (SIGNATURE, {INPUT: image[None].astype(dtype.as_numpy_dtype)}) for image in images
    )
    if kind == "int16":  # does not know the division by the length, and leaves it in float32 by itself
        return converter.convert()
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["L2_NORMALIZATION"])
    quantizer = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return quantizer.get_nondebug_quantized_model()


def _refuse_zero_scales(model: bytes, kind: str) -> None:
    """Raises ReidError for a file that would end the process of whoever runs it.

    Of int16 activations and a constant of zeros, such as the shift of a BatchNormalization that is folded into no
    convolution, TensorFlow 2.15 takes the scale to be 0, and interpreters divide by it.
    """
    tensors = tflite_interpreter(model_content=model).get_tensor_details()
    if any((tensor["quantization_parameters"]["scales"] == 0).any() for tensor in tensors):
        raise ReidError(
            f"TensorFlow {tf.__version__} cannot quantize this network to {kind}: a constant of it is all 0, and so is "
            "its scale. Take another kind, or TensorFlow 2.21."
        )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keeps the converter's C++ statistics off the screen; what it wrote is shown when it fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
