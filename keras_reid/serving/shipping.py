"""Decides what counts as shipped: a format that is written, opened again as its users open it, and scored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.evaluation import RetrievalEvaluation
from keras_reid.keras2 import keras
from keras_reid.serving.savedmodel import export_savedmodel
from keras_reid.serving.tflite import export_tflite

# Format -> where it lies in the export folder, and who writes it there.
FORMATS = {"savedmodel": ("embedder", export_savedmodel), "tflite": ("embedder.tflite", export_tflite)}


def check_formats(formats: Sequence[str]) -> None:
    """Raises ReidError when a format is unknown, or none is given."""
    if not formats or not set(formats) <= FORMATS.keys():
        raise ReidError(f"--formats={','.join(formats)}, expected one or more of {', '.join(FORMATS)}, by commas.")


def ship(
    embedder: keras.Model,
    directory: str | os.PathLike,
    *,
    formats: Sequence[str],
    metadata: Mapping,
    catalog: pd.DataFrame,
    batch_size: int = 64,
) -> tuple[dict[str, Path], dict[str, dict]]:
    """Exports an embedder in several formats and scores each artifact by itself.

    Args:
        embedder: float32.
        directory: the export folder.
        formats: of `FORMATS`.
        metadata: the content of `reid.json`.
        catalog: with the splits "query" and "gallery".
        batch_size: images at once.

    Returns:
        The path of each format, and its scores as `RetrievalResult.to_dict()` gives them.

    Raises:
        ReidError: an unknown format.
    """
    check_formats(formats)
    paths, scores = {}, {}
    for name in formats:
        place, export = FORMATS[name]
        paths[name] = export(embedder, Path(directory) / place, metadata)
        print(f"exported {paths[name]}, scoring it", flush=True)
        evaluation = RetrievalEvaluation(catalog, artifact=paths[name], batch_size=batch_size)
        evaluation.evaluate()
        scores[name] = evaluation.result.to_dict()
    return paths, scores
