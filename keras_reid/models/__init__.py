"""The embedder: keras-cv's ResNet-50 with the stride, pooling and head of person re-identification, and its files."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "WeightReport",
    "assign_weights",
    "build_embedder",
    "load_keras",
    "read_backbone_weights",
    "read_metadata",
    "rebuild_in_float32",
    "save_keras",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "WeightReport": ".weights",
        "assign_weights": ".weights",
        "build_embedder": ".embedder",
        "load_keras": ".keras_file",
        "read_backbone_weights": ".weight_files",
        "read_metadata": ".keras_file",
        "rebuild_in_float32": ".precision",
        "save_keras": ".keras_file",
    },
)
