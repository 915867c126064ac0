"""Decides what travels inside every artifact as `reid.json`: what the model is, and how its output is compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras_reid
from keras_reid.data.catalog import LICENCE_NOTES
from keras_reid.errors import ReidError

FORMAT_VERSION = 1
FILE_NAME = "reid.json"
_PACKAGES = ("tensorflow", "keras-cv", "tf_keras", "numpy")


def describe_embedder(
    embedder, *, dataset: str = "", scores: Mapping | None = None, metric: str = "euclidean"
) -> dict:
    """Returns the content of `reid.json` for an embedder.

    Args:
        embedder: a Keras model from images `[B, H, W, 3]` to embeddings `[B, D]`.
        dataset: what it was trained on.
        scores: of the live float32 model, by name.
        metric: "euclidean" or "cosine": how its embeddings are compared.
    """
    return {
        "format_version": FORMAT_VERSION,
        "model": embedder.name,
        "image_size": list(embedder.input_shape[1:3]),
        "embedding_size": embedder.output_shape[-1],
        "feature": embedder.output_names[0],
        "metric": metric,
        "dataset": dataset,
        "scores": dict(scores or {}),
        "threshold": None,
        "false_positive_rate": None,
        "licence_notes": LICENCE_NOTES.get(dataset, ""),
        "packages": {"keras_reid": keras_reid.__version__, **_installed_versions()},
    }


def _installed_versions() -> dict:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def add_to_zip(path: Path, metadata: Mapping) -> None:
    """Appends `reid.json` to a file as zip content: TFLite readers look at the front of a file, zip readers at its end.

    So does TensorFlow Lite's own metadata library for associated files. The zip's comment is the SHA-256 of what was
    there before, since the interpreter does not check what it reads: a damaged file may crash the process.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path, "a") as file:
        file.comment = digest.encode()
        file.writestr(FILE_NAME, json.dumps(metadata, indent=2))


def read_from_zip(path: Path) -> dict:
    """Returns `reid.json` from a `.tflite` file; ReidError when it has none, or the model before it is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            metadata, digest = parse(file.read(FILE_NAME), path), file.comment.decode()
            model_bytes = file.getinfo(FILE_NAME).header_offset
    except (zipfile.BadZipFile, KeyError) as error:
        raise ReidError(f"{str(path)!r} holds no {FILE_NAME}: it was not exported by keras_reid, or is cut.") from error
    with open(path, "rb") as file:
        if hashlib.sha256(file.read(model_bytes)).hexdigest() != digest:
            raise ReidError(f"{str(path)!r} is damaged: its content is not what was exported. Export it again.")
    return metadata


def parse(text: str | bytes, path: Path) -> dict:
    """Returns the content of a `reid.json`; ReidError when it is damaged or of a later format."""
    try:
        return checked(json.loads(text), path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReidError(f"the {FILE_NAME} of {str(path)!r} is damaged ({error}). Export the model again.") from error


def checked(metadata: dict, path: Path) -> dict:
    """Returns the content of a `reid.json` as it is; ReidError when it is of another format version, or no object."""
    version = metadata.get("format_version") if isinstance(metadata, dict) else "unknown"
    if version != FORMAT_VERSION:
        raise ReidError(
            f"{str(path)!r} has {FILE_NAME} format {version}, this version reads {FORMAT_VERSION}: update keras_reid."
        )
    return metadata
