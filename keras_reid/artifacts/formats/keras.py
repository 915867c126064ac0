"""Keras format: one `.keras` file for Keras 2 and Keras 3 that takes float images of the network's own size."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from keras_reid.artifacts.artifact import Artifact, artifact_of
from keras_reid.artifacts.metadata import checked
from keras_reid.artifacts.network import fingerprint_of
from keras_reid.keras2 import keras
from keras_reid.models import load_keras, read_metadata, save_keras
from keras_reid.models.keras_file import replace_metadata

__all__ = ["load", "replace_metadata", "write"]


def write(embedder: keras.Model, path: str | os.PathLike, metadata: Mapping) -> Path:
    """Writes a `.keras` file, as `Format.write`."""
    return save_keras(embedder, path, metadata=dict(metadata))


def load(path: Path) -> Artifact:
    """Opens a `.keras` file, with or without a `reid.json`; ReidError where it is damaged."""
    embedder, metadata = load_keras(path), read_metadata(path)
    if metadata:  # of any age; the fingerprint is of the weights that are there
        metadata = {**checked(metadata, path), "network_fingerprint": fingerprint_of(embedder)}
    return artifact_of(embedder, metadata, name=str(path), kind="keras")
