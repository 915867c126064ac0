"""The embedder: keras-cv's ResNet-50 with the stride, pooling and head of person re-identification, and its files."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
