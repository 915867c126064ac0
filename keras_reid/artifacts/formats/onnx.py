"""ONNX format: one file with the signature `serving_default` of the SavedModel, resize and `reid.json` inside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_reid.artifacts.artifact import Artifact, unreadable
from keras_reid.artifacts.foreign import ForeignNetwork, Port, as_dtype
from keras_reid.artifacts.formats.signatures import INPUT, OUTPUT, embedding_function
from keras_reid.artifacts.metadata import FILE_NAME, as_text, parse
from keras_reid.artifacts.places import described_already, not_described
from keras_reid.errors import ReidError, first_line
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import tf

_OPSET = 17  # of 2022, read by every runtime since


def import_tf2onnx():
    """Returns tf2onnx; ReidError says how to get it."""
    try:
        import tf2onnx
    except ImportError as error:
        raise ReidError(
            f"ONNX is written by tf2onnx, which cannot be imported ({error}): pip install 'keras_reid[onnx]', on "
            "Python 3.10 or 3.11 with TensorFlow 2.15."
        ) from error
    return tf2onnx


def write(embedder: tf.keras.Model, path: str | os.PathLike, metadata: Mapping) -> Path:
    """Writes an ONNX file, as `Format.write`; `reid.json` lies in the model's `metadata_props`.

    Raises:
        ReidError: tf2onnx is missing, or cannot convert the network.
    """
    tf2onnx, embed = import_tf2onnx(), embedding_function(embedder, tf.uint8)
    with whole_or_not_at_all(path) as temporary:
        try:
            # As for a model above 2 GB: otherwise each pass over the graph begins with a copy of it.
            options = {"input_signature": embed.input_signature, "opset": _OPSET, "large_model": True}
            with _constants_left_alone():
                model, weights = tf2onnx.convert.from_function(embed, **options)
        except Exception as error:  # of any class
            raise ReidError(f"tf2onnx cannot convert the network ({first_line(error)}).") from error
        for tensor in model.graph.initializer:
            if tensor.external_data:
                name = next(entry.value for entry in tensor.external_data if entry.key == "location")
                tensor.raw_data = weights.name_to_tensor_data[name]
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
        entry = model.metadata_props.add()
        entry.key, entry.value = FILE_NAME, as_text(metadata)
        temporary.write_bytes(model.SerializeToString())
    return Path(path)


@contextlib.contextmanager
def _constants_left_alone() -> Iterator[None]:
    """Keeps tf2onnx from copying each constant into its node again after each of its passes over the graph.

    Nothing reads these copies, and protobuf frees none while the node lives: 2.8 GB for a network of 103 MB.
    """
    from tf2onnx.graph import Node

    update_proto = Node.update_proto
    Node.update_proto = lambda node, *storage, **named: node.is_const() or update_proto(node, *storage, **named)
    try:
        yield
    finally:
        Node.update_proto = update_proto


def load(path: Path) -> Artifact:
    """Opens an ONNX file by onnxruntime on the CPU; ReidError where that is missing, or the file is damaged."""
    session = _session(path, "ONNX model of keras_reid")
    text = session.get_modelmeta().custom_metadata_map.get(FILE_NAME)
    if text is None:
        raise not_described(path)
    return Artifact(str(path), "onnx", parse(text, path), lambda images: session.run([OUTPUT], {INPUT: images})[0])


def read_foreign(path: Path) -> ForeignNetwork:
    """Opens an ONNX file of somebody else's; ReidError where it cannot be run, or is one of ours."""
    session = _session(path, "ONNX model that onnxruntime runs")
    if FILE_NAME in session.get_modelmeta().custom_metadata_map:
        raise described_already(path)
    ports = [
        tuple(Port(one.name, _shape(one.shape), _dtype(one.type)) for one in side)
        for side in (session.get_inputs(), session.get_outputs())
    ]
    dtypes = {port.name: port.dtype for port in ports[0]}

    def run(name: str, values: np.ndarray, output: str) -> np.ndarray:
        return session.run([output], {name: as_dtype(values, dtypes[name])})[0]

    return ForeignNetwork(*ports, run)


def _session(path: Path, what: str):
    try:
        import onnxruntime
    except ImportError as error:
        raise ReidError(
            f"{str(path)!r} needs onnxruntime, which cannot be imported ({error}): pip install 'keras_reid[onnx]', on "
            "Python 3.10 or later."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is in the exception; the log would show it a second time
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class of their own
        raise unreadable(path, what, error) from error


def _shape(sizes: list) -> tuple:
    return tuple(size if isinstance(size, int) and size > 0 else None for size in sizes)  # a name: any size


def _dtype(name: str) -> str:
    """Returns NumPy's name of a type of ONNX, such as tensor(float); its own where there is none."""
    inner = name[len("tensor(") : -1] if name.startswith("tensor(") else name
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def replace_metadata(path: Path, metadata: Mapping) -> None:
    """Replaces `reid.json` in an ONNX file, whole or not at all; ReidError where onnx is missing."""
    try:
        import onnx
    except ImportError as error:
        raise ReidError(f"changing {str(path)!r} needs onnx ({error}): pip install onnx.") from error
    model = onnx.load(str(path))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, FILE_NAME: as_text(metadata)})
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
