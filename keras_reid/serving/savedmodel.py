"""Decides what TF Serving gets: `EXPORT_DIR/embedder/<version>/`, with all signatures, warm-up and `reid.json`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keras_reid.artifacts import metadata as reid_json
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf
from keras_reid.serving.gallery import Gallery
from keras_reid.serving.signatures import serving_module
from keras_reid.serving.warmup import write_warmup


def export_savedmodel(
    embedder: keras.Model,
    directory: str | os.PathLike,
    metadata: Mapping,
    *,
    gallery: Gallery | None = None,
    neighbours: int = 10,
    version: int | None = None,
) -> Path:
    """Writes a version of the SavedModel, whole or not at all.

    `serving.signatures` lists its signatures. It opens in a process that has only TensorFlow. `reid.json` is an asset;
    `assets.extra` holds the warm-up requests of TensorFlow Serving.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        directory: holds one folder for each version, named by its number.
        metadata: the content of `reid.json`.
        gallery: what the signature `search` searches; None leaves it out.
        neighbours: k, how many `search` finds.
        version: number of the folder; the next by default.

    Returns:
        The folder of the version written.
    """
    target = Path(directory) / str(version or next_version(directory))
    with whole_or_not_at_all(target) as temporary, tempfile.TemporaryDirectory() as folder:
        metadata_file = Path(folder, reid_json.FILE_NAME)
        metadata_file.write_text(reid_json.as_text(metadata), encoding="utf-8")
        module = serving_module(embedder, metadata, metadata_file, gallery=gallery, neighbours=neighbours)
        tf.saved_model.save(module, str(temporary), signatures=module.signatures_by_name)
        write_warmup(temporary, module.signatures_by_name, embedder.input_shape[1:3])
    return target


def next_version(directory: str | os.PathLike) -> int:
    """Returns the number after the highest version in a folder, 1 where there is none."""
    return max((int(child.name) for child in Path(directory).glob("*") if child.name.isdigit()), default=0) + 1
