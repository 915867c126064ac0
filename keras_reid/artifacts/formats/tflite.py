"""TFLite format: one file of one of five kinds, with the resize and `reid.json` inside.

| kind | weights | activations | input |
|---|---|---|---|
| `float32` | float32 | float32 | uint8 |
| `float16` | float16 | float32 | uint8 |
| `dynamic_range` | int8 | int8, their scale found at run time | uint8 |
| `int8` | int8, a scale for each channel | int8, calibrated | uint8 |
| `int16` | int8, a scale for each channel | int16, calibrated; slow on CPUs | float32, 0..255 |

The output of every kind is float32. A network that normalizes embeddings divides by their length in float32, too: in
int8 each of the 128 numbers of a unit vector would have about 20 levels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_reid.artifacts.artifact import Artifact, unreadable
from keras_reid.artifacts.foreign import ForeignNetwork, Port, as_dtype
from keras_reid.artifacts.formats.signatures import INPUT, OUTPUT, SIGNATURE, embedding_function
from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.artifacts.metadata import FILE_NAME, as_text
from keras_reid.artifacts.places import described_already, read_tflite_metadata
from keras_reid.errors import ReidError, first_line
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import tf

# isort: split
from tensorflow.lite.python import schema_py_generated  # takes TensorFlow: after keras2 has chosen its Keras

KINDS = tuple(one.tflite_kind for one in FORMATS.values() if one.tflite_kind)
_CALIBRATED_KINDS = tuple(one.tflite_kind for one in FORMATS.values() if one.needs_calibration)


def write(
    embedder: tf.keras.Model,
    path: str | os.PathLike,
    metadata: Mapping,
    *,
    kind: str = "float32",
    calibration_images: np.ndarray | None = None,
) -> Path:
    """Writes a TFLite file, as `Format.write`; its signature is `serving_default` of the SavedModel.

    The kind int16 is for networks of convolutions: other layers, such as LayerNormalization, may end the process that
    runs the file. Calibration images, uint8 `[N, H, W, 3]` as the network will see them, show the ranges of all
    activations of int8 and int16.

    Raises:
        ReidError: an unknown kind, no calibration images where they are needed, or TensorFlow Lite cannot convert it.
    """
    if kind not in KINDS:
        raise ReidError(f"TFLite kind {kind!r} is unknown: expected one of {', '.join(KINDS)}.")
    if kind in _CALIBRATED_KINDS and (calibration_images is None or not len(calibration_images)):
        raise ReidError(f"TFLite {kind} is calibrated on images: expected calibration_images, uint8 [N, H, W, 3].")
    path, dtype = Path(path), tf.float32 if kind == "int16" else tf.uint8
    with tempfile.TemporaryDirectory() as folder, whole_or_not_at_all(path) as temporary:
        module = tf.Module()
        module.variables_of_embedder = list(embedder.variables)
        tf.saved_model.save(module, folder, signatures={SIGNATURE: embedding_function(embedder, dtype)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        try:
            with _quiet_stderr():
                model = _convert(converter, kind, dtype, calibration_images)
        except Exception as error:  # its errors have many classes, and texts of a hundred lines
            raise ReidError(f"TensorFlow Lite cannot convert the network to {kind} ({first_line(error)}).") from error
        model = _with_default_shape(model, embedder.input_shape[1:])
        _refuse_zero_scales(model, kind)
        temporary.write_bytes(model)
        _append_metadata(temporary, metadata)
    return path


def load(path: Path) -> Artifact:
    """Opens a `.tflite` file; ReidError where it is damaged or was not written by `write`."""
    metadata = read_tflite_metadata(path)
    try:
        runner = interpreter(model_path=str(path), num_threads=os.cpu_count()).get_signature_runner(SIGNATURE)
        dtype = runner.get_input_details()[INPUT]["dtype"]  # float32 where activations are int16
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise unreadable(path, "TFLite model of keras_reid", error) from error
    return Artifact(str(path), "tflite", metadata, lambda images: runner(**{INPUT: images.astype(dtype)})[OUTPUT])


def read_foreign(path: Path) -> ForeignNetwork:
    """Opens a `.tflite` file of somebody else's; ReidError where it cannot be run, or is one of ours."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if FILE_NAME in file.namelist():
                raise described_already(path)
    content = path.read_bytes()
    try:
        _refuse_cut(content)
        network = interpreter(model_content=content, num_threads=os.cpu_count())
        network.allocate_tensors()
    except Exception as error:  # struct.error, RuntimeError for an operation that it does not have, ...
        raise unreadable(path, "TFLite model that TensorFlow Lite runs", error) from error
    inputs, outputs = network.get_input_details(), network.get_output_details()

    def run(name: str, values: np.ndarray, output: str) -> np.ndarray:
        taken = next(one for one in inputs if one["name"] == name)
        given = next(one for one in outputs if one["name"] == output)
        if tuple(network.get_tensor(taken["index"]).shape) != values.shape:
            network.resize_tensor_input(taken["index"], values.shape)
            network.allocate_tensors()
        scale, zero = taken["quantization"]
        network.set_tensor(taken["index"], as_dtype(values / scale + zero if scale else values, taken["dtype"]))
        network.invoke()
        found, (scale, zero) = network.get_tensor(given["index"]), given["quantization"]
        return (found.astype(np.float32) - zero) * scale if scale else found

    return ForeignNetwork(tuple(map(_port, inputs)), tuple(map(_port, outputs)), run)


def _port(details: Mapping) -> Port:
    sizes = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    shape = tuple(int(size) if size > 0 else None for size in sizes)
    return Port(details["name"], shape, np.dtype(details["dtype"]).name, bool(details["quantization"][0]))


def _refuse_cut(content: bytes) -> None:
    """Raises an error of any class for a file that is cut: the interpreter would read beyond its end."""
    if content[4:8] != b"TFL3":
        raise ValueError("it does not begin as a TFLite file does")
    model = schema_py_generated.Model.GetRootAs(content, 0)
    for number in range(model.BuffersLength()):
        model.Buffers(number).DataAsNumpy()
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for tensor in range(graph.TensorsLength()):
            graph.Tensors(tensor).ShapeAsNumpy()


def interpreter(**options) -> tf.lite.Interpreter:
    """Returns `tf.lite.Interpreter` with some options, without the notice that it will move to another package."""
    with warnings.catch_warnings():
        # TensorFlow 2.21 still has it, and whoever runs a command can do nothing about the notice.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        return tf.lite.Interpreter(**options)


def replace_metadata(path: Path, metadata: Mapping) -> None:
    """Replaces `reid.json` at the end of a file, whole or not at all; ReidError where others' files are there, too."""
    with zipfile.ZipFile(path) as file:
        others, model_bytes = set(file.namelist()) - {FILE_NAME}, file.getinfo(FILE_NAME).header_offset
    if others:
        raise ReidError(f"{str(path)!r} holds {sorted(others)} as well as {FILE_NAME}: not changed. Export it again.")
    with whole_or_not_at_all(path) as temporary:
        with open(path, "rb") as old:
            temporary.write_bytes(old.read(model_bytes))
        _append_metadata(temporary, metadata)


def _append_metadata(path: Path, metadata: Mapping) -> None:
    """Appends `reid.json` to a file as zip content: TFLite readers look at the front of a file, zip readers at its end.

    TensorFlow Lite's own metadata library does the same with associated files. The zip's comment is the SHA-256 of the
    model before it: the interpreter does not check what it reads, and a damaged file may crash the process.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path, "a") as file:
        file.comment = digest.encode()
        file.writestr(FILE_NAME, as_text(metadata))


def _convert(converter: tf.lite.TFLiteConverter, kind: str, dtype: tf.DType, images: np.ndarray | None) -> bytes:
    if kind == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind not in _CALIBRATED_KINDS:
        return converter.convert()
    sets = tf.lite.OpsSet
    int16 = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    whole = sets.TFLITE_BUILTINS_INT8 if kind == "int8" else int16
    converter.target_spec.supported_ops = [whole, sets.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: (
        (SIGNATURE, {INPUT: image[None].astype(dtype.as_numpy_dtype)}) for image in images
    )
    if kind == "int16":  # has no integer division by the length and leaves it in float32 by itself
        return converter.convert()
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["L2_NORMALIZATION"])
    quantizer = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return quantizer.get_nondebug_quantized_model()


def _with_default_shape(model: bytes, image_shape: tuple[int, int, int]) -> bytes:
    """Returns a TFLite model whose input says `[1, height, width, 3]`, where the converter writes 1 for any size.

    Most clients read the size that they resize photos to there. `shape_signature` still says that all may be changed.
    """
    edited = bytearray(model)
    graph = schema_py_generated.Model.GetRootAs(edited, 0).Subgraphs(0)
    graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[:] = (1, *image_shape)  # a view of the buffer
    return bytes(edited)


def _refuse_zero_scales(model: bytes, kind: str) -> None:
    """Raises ReidError for a file that would end the process that runs it.

    With int16 activations TensorFlow 2.15 writes the scale 0 for a constant of zeros, such as the shift of a
    BatchNormalization that is folded into no convolution, and interpreters divide by it.
    """
    tensors = interpreter(model_content=model).get_tensor_details()
    if any((tensor["quantization_parameters"]["scales"] == 0).any() for tensor in tensors):
        raise ReidError(
            f"TensorFlow {tf.__version__} cannot quantize this network to {kind}: a constant in it is all zeros, which "
            "gives the scale 0. Use another kind, or TensorFlow 2.21."
        )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keeps the converter's C++ statistics off the screen, and shows them when it fails."""
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
