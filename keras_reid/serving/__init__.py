"""What ships: the embedder as SavedModel, TFLite, `.keras` and ONNX, compared with the live model before it counts."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Gallery",
    "Search",
    "ShippingOptions",
    "check_formats",
    "export_onnx",
    "export_savedmodel",
    "export_tflite",
    "read_gallery",
    "scored_images",
    "ship",
    "some_people",
    "write_savedmodel",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "DEFAULT_FORMATS": ".formats",
        "FORMATS": ".formats",
        "Gallery": ".gallery",
        "Search": ".shipping",
        "ShippingOptions": ".shipping",
        "check_formats": ".formats",
        "export_onnx": ".onnx",
        "export_savedmodel": ".savedmodel",
        "export_tflite": ".tflite",
        "read_gallery": ".gallery",
        "scored_images": ".parity",
        "ship": ".shipping",
        "some_people": ".parity",
        "write_savedmodel": ".savedmodel",
    },
)
