"""`reid.json`, the metadata inside every artifact: what the model is, and how its embeddings are compared."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras_reid
from keras_reid.artifacts.network import fingerprint_of
from keras_reid.data.readers.sources import license_notes
from keras_reid.errors import ReidError
from keras_reid.models.structure import check_embedder

FORMAT_VERSION = 1
FILE_NAME = "reid.json"
# What `evaluate --calibrate_fpr` writes: the threshold, its rate of errors, where and how that was measured; and of how
# many enrolled identities a stranger may be taken for any, None for a threshold of pairs of two images.
CALIBRATED = ("threshold", "false_positive_rate", "threshold_dataset", "threshold_views", "threshold_identities")
_PACKAGES = ("tensorflow", "keras-cv", "tf_keras", "numpy")


def describe_embedder(embedder, *, dataset: str = "", scores: Mapping | None = None, metric: str = "euclidean") -> dict:
    """Returns the content of `reid.json` for an embedder.

    Args:
        embedder: a Keras model from images `[B, H, W, 3]` of one size to embeddings `[B, D]`.
        dataset: the name of its training set.
        scores: of the reference model, by name.
        metric: "euclidean" or "cosine": how its embeddings are compared.

    Raises:
        ReidError: it is another kind of model.
    """
    check_embedder(embedder)
    return metadata_of(
        model=embedder.name,
        network_fingerprint=fingerprint_of(embedder),
        image_size=list(embedder.input_shape[1:3]),
        embedding_size=embedder.output_shape[-1],
        feature=embedder.layers[-1].name,
        metric=metric,
        dataset=dataset,
        scores=dict(scores or {}),
    )


def metadata_of(*, dataset: str = "", scores: Mapping | None = None, **about) -> dict:
    """Returns the content of `reid.json` for any network: what is said about it, and no threshold yet."""
    return {
        "format_version": FORMAT_VERSION,
        **about,
        "dataset": dataset,
        "scores": scores or {},
        "threshold": None,
        "false_positive_rate": None,
        "threshold_dataset": None,
        "licence_notes": license_notes(dataset),
        "packages": {"keras_reid": keras_reid.__version__, **installed_versions(_PACKAGES)},
    }


def as_text(metadata: Mapping) -> str:
    """Returns the text of a `reid.json`, a line for each key: the SavedModel's `compare` reads the threshold's line."""
    return json.dumps(metadata, indent=2)


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the version of each package that is installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def parse(text: str | bytes, path: Path) -> dict:
    """Returns the content of a `reid.json`; ReidError when it is damaged or of a later format."""
    try:
        return checked(json.loads(text), path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReidError(f"the {FILE_NAME} of {str(path)!r} is damaged ({error}). Export the model again.") from error


def checked(metadata: dict, path: Path) -> dict:
    """Returns the content of a `reid.json` unchanged; ReidError for another format version, or without its width."""
    version = metadata.get("format_version") if isinstance(metadata, dict) else "unknown"
    if version != FORMAT_VERSION:
        raise ReidError(
            f"{str(path)!r} has {FILE_NAME} format {version}, this version reads {FORMAT_VERSION}: update keras_reid."
        )
    if "embedding_size" not in metadata:
        raise ReidError(f"the {FILE_NAME} of {str(path)!r} is damaged (no embedding_size). Export the model again.")
    return metadata
