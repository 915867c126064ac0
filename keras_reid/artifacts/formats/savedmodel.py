"""SavedModel format: what TensorFlow Serving serves, with all signatures, warm-up requests and `reid.json`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_reid.artifacts import metadata as reid_json
from keras_reid.artifacts.artifact import Artifact, unreadable
from keras_reid.artifacts.formats.search import Gallery
from keras_reid.artifacts.formats.signatures import INPUT, OUTPUT, SIGNATURE, serving_module
from keras_reid.artifacts.formats.warmup import write_warmup
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, write_text
from keras_reid.keras2 import keras, tf


def write(
    embedder: keras.Model,
    path: str | os.PathLike,
    metadata: Mapping,
    *,
    gallery: Gallery | None = None,
    neighbors: int = 10,
) -> Path:
    """Writes a SavedModel, whole or not at all.

    `formats.signatures` lists its signatures. It opens in a process that has only TensorFlow. `reid.json` is an asset;
    `assets.extra` holds the warm-up requests of TensorFlow Serving.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        path: the folder, which must not exist.
        metadata: the content of `reid.json`.
        gallery: searched by the signature `search`, which is left out without it.
        neighbors: k, how many `search` finds.

    Returns:
        The path.
    """
    with whole_or_not_at_all(path) as temporary, tempfile.TemporaryDirectory() as folder:
        metadata_file = Path(folder, reid_json.FILE_NAME)
        metadata_file.write_text(reid_json.as_text(metadata), encoding="utf-8")
        module = serving_module(embedder, metadata, metadata_file, gallery=gallery, neighbors=neighbors)
        tf.saved_model.save(module, str(temporary), signatures=module.signatures_by_name)
        write_warmup(temporary, module.signatures_by_name, embedder.input_shape[1:3])
    return Path(path)


def write_version(embedder: keras.Model, directory: str | os.PathLike, metadata: Mapping, **options: Any) -> Path:
    """Writes the next version of a SavedModel, as TensorFlow Serving expects it, and returns its folder.

    Args:
        embedder: as in `write`.
        directory: holds one folder for each version, named by its number.
        metadata: as in `write`.
        **options: the same.
    """
    return write(embedder, Path(directory) / str(next_version(directory)), metadata, **options)


def next_version(directory: str | os.PathLike) -> int:
    """Returns the number after the highest version in a folder, 1 where there is none."""
    return max((int(child.name) for child in Path(directory).glob("*") if child.name.isdecimal()), default=0) + 1


def load(folder: Path) -> Artifact:
    """Opens the folder of one version; ReidError where it is damaged or was not written by `write`."""
    metadata_file = _metadata_file(folder)
    if not metadata_file.is_file():
        raise ReidError(
            f"{str(folder)!r} was not exported by keras_reid, or is damaged: it has no {metadata_file.name}."
        )
    metadata = reid_json.parse(metadata_file.read_bytes(), folder)
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures[SIGNATURE]
    except Exception as error:  # of any class: IndexError where the weights are cut, ValueError of protobuf, ...
        raise unreadable(folder, "SavedModel", error) from error

    def embed_batch(images):
        return signature(**{INPUT: tf.constant(images)})[OUTPUT]

    embed_batch.loaded = loaded  # its variables are gone once nothing refers to it
    return Artifact(str(folder), "savedmodel", metadata, embed_batch)


def signature_outputs(artifact: Artifact, signature: str) -> set[str]:
    """Returns the names of the outputs of a signature; none where it is missing, or for another kind of artifact."""
    loaded = getattr(artifact.embed_batch, "loaded", None)
    return set(loaded.signatures[signature].structured_outputs) if loaded and signature in loaded.signatures else set()


def replace_metadata(folder: Path, metadata: Mapping) -> None:
    """Replaces `reid.json` in the folder of one version, whole or not at all."""
    write_text(_metadata_file(folder).resolve(), reid_json.as_text(metadata))


def _metadata_file(folder: Path) -> Path:
    return folder / "assets" / reid_json.FILE_NAME
