"""Versions of a SavedModel, written one after the other as TensorFlow Serving expects them."""

from pathlib import Path

from keras_reid.artifacts.formats import savedmodel


def write_version(embedder, directory, metadata, **options) -> Path:
    """Writes the next version and returns its folder."""
    return savedmodel.write(embedder, Path(directory) / str(savedmodel.next_version(directory)), metadata, **options)
