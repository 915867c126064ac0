"""What ships: the embedder as a SavedModel for TF Serving and as a TFLite file, scored before it counts as shipped."""

from keras_reid._lazy import lazy_attributes

__all__ = ["FORMATS", "check_formats", "export_savedmodel", "export_tflite", "ship"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "FORMATS": ".shipping",
        "check_formats": ".shipping",
        "export_savedmodel": ".savedmodel",
        "export_tflite": ".tflite",
        "ship": ".shipping",
    },
)
