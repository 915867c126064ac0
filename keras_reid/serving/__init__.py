"""What ships: the embedder as SavedModel, TFLite, `.keras` and ONNX, compared with the live model before it counts."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Gallery",
    "check_formats",
    "read_gallery",
    "scored_images",
    "ship",
    "some_people",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "DEFAULT_FORMATS": "..artifacts.formats.table",
        "FORMATS": "..artifacts.formats.table",
        "Gallery": "..artifacts.formats.search",
        "check_formats": "..artifacts.formats.table",
        "read_gallery": "..artifacts.formats.search",
        "scored_images": ".parity",
        "ship": ".shipping",
        "some_people": ".parity",
    },
)
