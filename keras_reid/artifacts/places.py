"""Places of artifacts: the format that a path stands for, and whether its files are whole; takes no TensorFlow."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

from keras_reid.artifacts.description import Description
from keras_reid.artifacts.metadata import FILE_NAME, parse
from keras_reid.errors import ReidError

FOREIGN_KINDS = ("onnx", "tflite", "savedmodel")  # that others write too
_KERAS_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}


def locate(path: str | os.PathLike) -> tuple[str, Path]:
    """Returns the kind of artifact that a path stands for, and its file or, for a SavedModel, its folder.

    A network that is described is found by its file: what describes it is the place.

    Raises:
        ReidError: there is none.
    """
    path = Path(path)
    if (path / FILE_NAME).is_file():  # a folder, whatever its name ends in
        return "described", path
    if path.name.endswith(f".{FILE_NAME}") and path.is_file():
        return "described", path
    kind, place = locate_network(path)
    beside = description_beside(place)
    return (kind, place) if kind not in FOREIGN_KINDS or not beside.is_file() else ("described", beside)


def locate_network(path: str | os.PathLike) -> tuple[str, Path]:
    """The same of a network's own file or folder, whether or not it is described."""
    path = Path(path)
    if path.exists() and path.suffix in (".keras", ".tflite", ".onnx"):
        return path.suffix[1:], path
    if (path / "last.keras").exists():
        return "keras", path / "last.keras"
    versions = [child for child in path.glob("*") if child.name.isdecimal()] if path.is_dir() else []
    folder = max(versions, key=lambda child: int(child.name)) if versions else path
    if (folder / "saved_model.pb").exists():
        return "savedmodel", folder
    raise ReidError(
        f"no artifact at {str(path)!r}: expected a run folder that has trained an epoch (last.keras), a .keras file, "
        "a SavedModel folder (saved_model.pb), a .tflite or an .onnx file, or what describe wrote of somebody else's."
    )


def description_beside(network: Path) -> Path:
    """Returns where a network is described that stays where it is: model.onnx.reid.json beside model.onnx."""
    network = network if network.name else network.resolve()
    return network.with_name(f"{network.name}.{FILE_NAME}")


def check_whole(path: str | os.PathLike) -> None:
    """Raises ReidError where there is no artifact, or its files show that it is damaged: before TensorFlow is loaded.

    What only a format's own reader finds is found when the artifact is opened.
    """
    kind, place = locate(path)
    if kind == "keras":
        _check_keras(place)
    elif kind == "tflite":
        read_tflite_metadata(place)
    elif kind == "savedmodel":
        read_savedmodel_metadata(place)
    elif kind == "described":
        read_described_metadata(place)
    elif not place.stat().st_size:
        raise ReidError(f"{str(place)!r} is empty: expected an ONNX model. Export it again.")


def read_tflite_metadata(path: Path) -> dict:
    """Returns `reid.json` from a `.tflite` file; ReidError when it has none, or the model before it is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            metadata, digest = parse(file.read(FILE_NAME), path), file.comment.decode()
            model_bytes = file.getinfo(FILE_NAME).header_offset
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise not_described(path) from error
    with open(path, "rb") as file:
        if hashlib.sha256(file.read(model_bytes)).hexdigest() != digest:
            raise ReidError(f"{str(path)!r} is damaged: its content is not what was exported. Export it again.")
    return metadata


def read_savedmodel_metadata(folder: Path) -> dict:
    """Returns `reid.json` of a SavedModel's version; ReidError where it, or a file of the weights, is missing."""
    metadata_file, weights = folder / "assets" / FILE_NAME, folder / "variables" / "variables.index"
    if not metadata_file.is_file():
        raise not_described(folder)
    if not weights.is_file():
        raise ReidError(f"{str(folder)!r} is damaged: it has no {weights.name}. Export it again.")
    return parse(metadata_file.read_bytes(), folder)


def description_file(place: Path) -> Path:
    """Returns the file that describes a network, of its folder or of itself."""
    return place / FILE_NAME if place.is_dir() else place


def read_described_metadata(place: Path) -> dict:
    """Returns what `describe` wrote; ReidError where it, or the network beside it, is not as it was.

    Args:
        place: as `locate` returns it: a folder with a copy of the network, or the file beside the network.
    """
    file = description_file(place)
    metadata = parse(file.read_bytes(), place)
    again = "Describe it again." if place.is_dir() else "Remove it, and describe the network again."
    try:
        description = Description.of(metadata)
        found = description.fingerprint(file.parent)
    except (KeyError, TypeError) as error:
        what = f"the {FILE_NAME} of {str(place)!r} describes no network"
        raise ReidError(f"{what} ({error}). {again}") from error
    except FileNotFoundError as error:
        raise ReidError(f"{str(place)!r} is damaged: it has no {description.file}. {again}") from error
    if found != metadata.get("network_fingerprint"):
        raise ReidError(f"{str(place)!r} is damaged: its network or its description is not what it was. {again}")
    return metadata


def not_described(path: Path) -> ReidError:
    """Returns the error for somebody else's file."""
    return ReidError(
        f"{str(path)!r} holds no {FILE_NAME}: it was not exported by keras_reid, or is cut. If it is somebody else's "
        "network, say once what it takes for a picture, such as normalize=imagenet metric=cosine input_size=256x128, "
        f"or describe it: python -m keras_reid.describe --artifact={path} ..."
    )


def described_already(path: Path) -> ReidError:
    """Returns the error for a file that needs no description."""
    return ReidError(f"{str(path)!r} holds a {FILE_NAME}: it is an artifact as it is. Give it to evaluate or compare.")


def _check_keras(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as file:
            missing, broken = sorted(_KERAS_MEMBERS - set(file.namelist())), file.testzip()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ReidError(f"{str(path)!r} is no .keras file (a zip archive), or is cut short ({error}).") from error
    if missing or broken:
        what = f"it has no {missing[0]}" if missing else f"{broken} is not as it was written"
        raise ReidError(f"{str(path)!r} is no .keras file, or is damaged: {what}.")
