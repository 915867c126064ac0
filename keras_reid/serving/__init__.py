"""What ships: the embedder as SavedModel, TFLite, `.keras` and ONNX, compared with the live model before it counts."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
