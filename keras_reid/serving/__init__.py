"""Shipping: an embedder is written in several formats, and each is compared with the reference model."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
