"""Decides what travels inside every artifact as `reid.json`: what the model is, and how its output is compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras_reid
from keras_reid.data.readers.sources import license_notes
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, write_text

FORMAT_VERSION = 1
METRICS = ("euclidean", "cosine")
FILE_NAME = "reid.json"
# What `evaluate --calibrate_fpr` writes: the threshold, its rate of errors, where and how that was measured.
CALIBRATED = ("threshold", "false_positive_rate", "threshold_dataset", "threshold_views")
_PACKAGES = ("tensorflow", "keras-cv", "tf_keras", "numpy")


def describe_embedder(embedder, *, dataset: str = "", scores: Mapping | None = None, metric: str = "euclidean") -> dict:
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
        "feature": embedder.layers[-1].name,
        "metric": metric,
        "dataset": dataset,
        "scores": dict(scores or {}),
        "threshold": None,
        "false_positive_rate": None,
        "threshold_dataset": None,
        "licence_notes": license_notes(dataset),
        "packages": {"keras_reid": keras_reid.__version__, **installed_versions(_PACKAGES)},
    }


def as_text(metadata: Mapping) -> str:
    """Returns the text of a `reid.json`: a key a line, which the SavedModel's `compare` reads the threshold from."""
    return json.dumps(metadata, indent=2)


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns package -> version, of those that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def update_metadata(path: str | os.PathLike, changes: Mapping) -> dict:
    """Changes keys of the `reid.json` inside an artifact; the network and its embeddings stay as they are.

    Args:
        path: as for `open_artifact`. Of a run folder its `last.keras` is changed, of a folder of versions the one
            that `open_artifact` opens; what was exported of a run earlier keeps the `reid.json` it has.
        changes: JSON-serializable values by key, such as threshold, false_positive_rate and threshold_dataset. A
            `.keras` file that has no `reid.json` gets one.

    Returns:
        The new content.

    Raises:
        ReidError: `open_artifact` refuses the artifact, or the changes are not of this format.
        OSError: it cannot be written; then it is as it was.
    """
    from keras_reid.artifacts.artifact import open_artifact  # which needs this module

    # Opened in full, so that what nobody can open is refused and not half repaired.
    artifact = open_artifact(path)
    metadata = checked({**artifact.metadata, **changes}, Path(artifact.name))
    place = Path(artifact.name)
    if artifact.kind == "keras":
        from keras_reid.models.keras_file import replace_metadata  # takes TensorFlow, which describing does not

        replace_metadata(place, metadata)
    elif artifact.kind == "savedmodel":
        write_text((place / "assets" / FILE_NAME).resolve(), as_text(metadata))
    elif artifact.kind == "onnx":
        _replace_in_onnx(place, metadata)
    else:
        _replace_in_zip(place, metadata)
    return metadata


def _replace_in_onnx(path: Path, metadata: Mapping) -> None:
    try:
        import onnx
    except ImportError as error:
        raise ReidError(f"changing {str(path)!r} needs onnx ({error}): pip install onnx.") from error
    model = onnx.load(str(path))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, FILE_NAME: as_text(metadata)})
    with whole_or_not_at_all(path.resolve()) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _replace_in_zip(path: Path, metadata: Mapping) -> None:
    with zipfile.ZipFile(path) as file:
        others, model_bytes = set(file.namelist()) - {FILE_NAME}, file.getinfo(FILE_NAME).header_offset
    if others:
        raise ReidError(f"{str(path)!r} holds {sorted(others)} beside {FILE_NAME}: not changed. Export it again.")
    # Through a link to the file itself: a rename would put a file in the link's place.
    with whole_or_not_at_all(path.resolve()) as temporary:
        with open(path, "rb") as old:
            temporary.write_bytes(old.read(model_bytes))
        add_to_zip(temporary, metadata)


def add_to_zip(path: Path, metadata: Mapping) -> None:
    """Appends `reid.json` to a file as zip content: TFLite readers look at the front of a file, zip readers at its end.

    So does TensorFlow Lite's own metadata library for associated files. The zip's comment is the SHA-256 of what was
    there before, since the interpreter does not check what it reads: a damaged file may crash the process.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path, "a") as file:
        file.comment = digest.encode()
        file.writestr(FILE_NAME, as_text(metadata))


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
    """Returns the content of a `reid.json` as it is; ReidError when it is of another format version, or incomplete."""
    version = metadata.get("format_version") if isinstance(metadata, dict) else "unknown"
    if version != FORMAT_VERSION:
        raise ReidError(
            f"{str(path)!r} has {FILE_NAME} format {version}, this version reads {FORMAT_VERSION}: update keras_reid."
        )
    if "embedding_size" not in metadata:
        raise ReidError(f"the {FILE_NAME} of {str(path)!r} is damaged (no embedding_size). Export the model again.")
    return metadata
