"""What ships: the embedder as SavedModel, TFLite, `.keras` and ONNX, compared with the live model before it counts."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Gallery",
    "check_formats",
    "export_onnx",
    "export_savedmodel",
    "export_tflite",
    "read_gallery",
    "ship",
    "some_people",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "DEFAULT_FORMATS": ".formats",
        "FORMATS": ".formats",
        "Gallery": ".gallery",
        "check_formats": ".formats",
        "export_onnx": ".onnx",
        "export_savedmodel": ".savedmodel",
        "export_tflite": ".tflite",
        "read_gallery": ".gallery",
        "ship": ".shipping",
        "some_people": ".parity",
    },
)
