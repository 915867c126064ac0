"""Table of formats: the place of each in the export folder, its module, and its limits; takes no TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from keras_reid.errors import ReidError
from keras_reid.models.structure import check_embedder

DEFAULT_FORMATS = ("savedmodel", "tflite")
MIN_COSINE = 0.999
MIN_COSINE_OF_INT8_WEIGHTS = 0.98  # the price of rounding weights to 8 bits, whatever computes with them
MAX_MAP_DROP = 1.0  # points


@dataclasses.dataclass(frozen=True)
class Format:
    """What one format is."""

    module: str  # of this folder: "savedmodel", "keras", "tflite" or "onnx"; also `Artifact.kind`
    place: str  # in the export folder: a file, or for a SavedModel the folder of its versions
    tflite_kind: str | None = None  # one of `tflite.KINDS`
    min_cosine: float = MIN_COSINE  # the least to the reference model that counts as the same network
    # Whether the 1st percentile of the cosines must reach it, not the worst one: int8 may round a rare image far.
    judged_by_first_percentile: bool = False
    needs_calibration: bool = False  # whether training images must show the range of its activations

    def write(self, embedder, path: str | os.PathLike, metadata: Mapping, **options) -> Path:
        """Writes an embedder, whole or not at all, and returns the path.

        Args:
            embedder: float32 Keras model, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
            path: the file, with the suffix of its place; for a SavedModel a folder, which must not exist.
            metadata: the content of `reid.json`.
            **options: of the module's `write`.

        Raises:
            ReidError: the embedder is another kind of model, or cannot be written in this format.
        """
        check_embedder(embedder)
        if self.tflite_kind:
            options["kind"] = self.tflite_kind
        return module_of(self.module).write(embedder, path, metadata, **options)


def _int8_weights(kind: str, **limits) -> Format:
    return Format("tflite", f"embedder_{kind}.tflite", kind, min_cosine=MIN_COSINE_OF_INT8_WEIGHTS, **limits)


FORMATS = {
    "savedmodel": Format("savedmodel", "embedder"),
    "keras": Format("keras", "embedder.keras"),
    "tflite": Format("tflite", "embedder.tflite", "float32"),
    "tflite_float16": Format("tflite", "embedder_float16.tflite", "float16"),
    "tflite_dynamic_range": _int8_weights("dynamic_range"),
    "tflite_int8": _int8_weights("int8", judged_by_first_percentile=True, needs_calibration=True),
    "tflite_int16": _int8_weights("int16", needs_calibration=True),
    "onnx": Format("onnx", "embedder.onnx"),
}


def check_formats(formats: Sequence[str]) -> None:
    """Raises ReidError when a format is unknown, or none is given."""
    if not formats or not set(formats) <= FORMATS.keys():
        raise ReidError(f"formats={','.join(formats)}, expected one or more of {', '.join(FORMATS)}, by commas.")


def module_of(kind: str) -> ModuleType:
    """Returns the module of a kind of artifact: its functions are `write`, `load` and `replace_metadata`."""
    return importlib.import_module(f"keras_reid.artifacts.formats.{kind}")  # not above: it takes TensorFlow
