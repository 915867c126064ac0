"""Artifacts: what ships, in any format, opened as one thing that embeds images; `reid.json` inside says what it is."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
