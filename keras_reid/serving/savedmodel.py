"""Decides what TF Serving gets: `EXPORT_DIR/embedder/<version>/`, with all signatures, warm-up and `reid.json`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_reid.artifacts import metadata as reid_json
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf
from keras_reid.serving.gallery import Gallery
from keras_reid.serving.signatures import serving_module
from keras_reid.serving.warmup import write_warmup


def export_savedmodel(embedder: keras.Model, directory: str | os.PathLike, metadata: Mapping, **options: Any) -> Path:
    """Writes the next version of the SavedModel, by `write_savedmodel` and its options, and returns its folder.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        directory: holds one folder for each version, named by its number.
        metadata: the content of `reid.json`.
    """
    path = Path(directory) / str(next_version(directory))
    write_savedmodel(embedder, path, metadata, **options)
    return path


def write_savedmodel(
    embedder: keras.Model,
    path: str | os.PathLike,
    metadata: Mapping,
    *,
    gallery: Gallery | None = None,
    neighbors: int = 10,
) -> None:
    """Writes a SavedModel, whole or not at all.

    `serving.signatures` lists its signatures. It opens in a process that has only TensorFlow. `reid.json` is an asset;
    `assets.extra` holds the warm-up requests of TensorFlow Serving.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        path: the folder, which must not exist.
        metadata: the content of `reid.json`.
        gallery: what the signature `search` searches; None leaves it out.
        neighbors: k, how many `search` finds.
    """
    with whole_or_not_at_all(path) as temporary, tempfile.TemporaryDirectory() as folder:
        metadata_file = Path(folder, reid_json.FILE_NAME)
        metadata_file.write_text(reid_json.as_text(metadata), encoding="utf-8")
        module = serving_module(embedder, metadata, metadata_file, gallery=gallery, neighbors=neighbors)
        tf.saved_model.save(module, str(temporary), signatures=module.signatures_by_name)
        write_warmup(temporary, module.signatures_by_name, embedder.input_shape[1:3])


def next_version(directory: str | os.PathLike) -> int:
    """Returns the number after the highest version in a folder, 1 where there is none."""
    return max((int(child.name) for child in Path(directory).glob("*") if child.name.isdecimal()), default=0) + 1
