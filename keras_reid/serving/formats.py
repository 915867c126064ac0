"""Decides which formats ship, where each lies in the export folder, and how near to the live model it must be."""

from __future__ import annotations

from collections.abc import Sequence

from keras_reid.errors import ReidError

# Format -> its place in the export folder. A TFLite format is `tflite`, or `tflite_` and one of the kinds of `tflite`.
FORMATS = {
    "savedmodel": "embedder",
    "keras": "embedder.keras",
    "tflite": "embedder.tflite",
    "tflite_float16": "embedder_float16.tflite",
    "tflite_dynamic_range": "embedder_dynamic_range.tflite",
    "tflite_int8": "embedder_int8.tflite",
    "tflite_int16": "embedder_int16.tflite",
    "onnx": "embedder.onnx",
}
DEFAULT_FORMATS = ("savedmodel", "tflite")
MIN_COSINE = 0.999
# What rounding weights to 8 bits costs, whatever computes with them.
MIN_COSINE_OF_INT8_WEIGHTS = 0.98
MAX_MAP_DROP = 1.0  # points
_INT8_WEIGHTS = ("tflite_dynamic_range", "tflite_int8", "tflite_int16")


def check_formats(formats: Sequence[str]) -> None:
    """Raises ReidError when a format is unknown, or none is given."""
    if not formats or not set(formats) <= FORMATS.keys():
        raise ReidError(f"--formats={','.join(formats)}, expected one or more of {', '.join(FORMATS)}, by commas.")


def tflite_kind(name: str) -> str:
    """Returns the kind of a TFLite format, of `serving.tflite.KINDS`."""
    return "float32" if name == "tflite" else name[len("tflite_") :]


def least_cosine(name: str) -> float:
    """Returns the cosine to the live model that a format must reach where nobody says otherwise."""
    return MIN_COSINE_OF_INT8_WEIGHTS if name in _INT8_WEIGHTS else MIN_COSINE


def judged_by_first_percentile(name: str) -> bool:
    """Whether the 1st percentile of the cosines is judged, and not the worst: int8 may round a rare image far."""
    return name == "tflite_int8"
