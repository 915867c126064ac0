"""Evaluation: retrieval metrics on embeddings, the score of an artifact on a catalog, the Keras callback, tables."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
