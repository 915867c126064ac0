"""Scoring: retrieval metrics on embeddings, artifacts on a catalog, the Keras callback, tables of scores."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
