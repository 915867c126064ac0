"""Tracks: people followed through recordings by any tracker become crops, embeddings, and links between cameras."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
