"""Describing of somebody else's network: what its file says is read, the rest is asked for, and all of it tried."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.description import NORMALIZATION, Description, files_of
from keras_reid.artifacts.foreign import ForeignNetwork, Port, port_named
from keras_reid.artifacts.formats.described import embedding_function_of, load
from keras_reid.artifacts.formats.table import module_of
from keras_reid.artifacts.metadata import FILE_NAME, as_text, metadata_of
from keras_reid.artifacts.places import FOREIGN_KINDS, described_already, description_beside, locate_network
from keras_reid.choices import CHANNELS, LAYOUTS, METRICS, NORMALIZATIONS
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, write_text

_LARGEST_SIDE = 4096  # of a picture of one person; noise of more would fill the memory
_SAME = 1e-3  # relative difference of one image's embeddings, alone and in a batch, that rounding explains


def describe_network(
    path: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    metric: str,
    normalize: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: tuple[int, int] | None = None,
    layout: str | None = None,
    channels: str = "rgb",
    input_name: str | None = None,
    output_name: str | None = None,
    normalize_embedding: bool = False,
) -> Artifact:
    """Makes an artifact of somebody else's ONNX, TFLite or SavedModel network: says beside it how it is used.

    Args:
        path: the file, or the folder of a SavedModel. It is not changed.
        output: the folder to write, with a copy of the network, which must not exist. By default a file is written
            beside the network, model.onnx.reid.json, and `open_artifact` finds it by the network's own path.
        metric: "euclidean" or "cosine": how its embeddings are compared.
        normalize: what it takes for a picture: "imagenet", 0..1 less ImageNet's mean and divided by its deviation;
            "half", -1..1; "zero_one", 0..1; "raw", 0..255. Or `mean` and `std` are given.
        mean: subtracted from red, green and blue, 0..255.
        std: what the rest is divided by.
        image_size: (height, width); by default what the file says.
        layout: "nchw" or "nhwc"; by default what the file says.
        channels: "rgb", or "bgr" for a network trained on pictures as OpenCV reads them.
        input_name: of the picture; needed where the file has several inputs.
        output_name: of the embedding; needed where the file has several outputs.
        normalize_embedding: scale embeddings to length 1.

    Returns:
        The artifact, opened. `metadata["read_from_file"]` names the fields of `metadata["description"]` that the file
        itself says.

    Raises:
        ReidError: the file cannot be run, or is one of ours; something is missing, or is not what the file says; or
            what it gives for two pictures of noise is no embedding.
    """
    kind, place = _foreign_place(Path(path))
    target = description_beside(place) if output is None else Path(output)
    if target.exists():
        name = str(target) if output is None else f"output={output}"
        raise ReidError(f"{name} exists already: give another name as output, or remove it.")
    check_choices(metric=(metric, METRICS), layout=(layout, (None, *LAYOUTS)), channels=(channels, CHANNELS))
    mean, std = normalization_of(normalize, mean, std)
    network = module_of(kind).read_foreign(place)
    source = port_named(network.inputs, "input_name", input_name)
    given = port_named(network.outputs, "output_name", output_name)
    read = [name for name, value in (("input", input_name), ("output", output_name)) if value is None]
    found_layout = _layout(source, layout)
    size, said = _image_size(source, found_layout, image_size)
    _check_dtype(source, mean, std)
    description = Description(
        file="saved_model" if kind == "savedmodel" and output is not None else place.name,
        kind=kind,
        image_size=list(size),
        layout=found_layout,
        channels=channels,
        mean=mean,
        std=std,
        input=source.name,
        output=given.name,
        normalize_embedding=normalize_embedding,
        batch_size=source.shape[0] if source.shape else None,
    )
    description, width = _tried(description, network, metric)
    read += [*(["layout"] if layout is None else []), *(["image_size"] if said else []), "batch_size"]
    about = {"image_size": list(size), "model": place.name, "embedding_size": width, "feature": given.name}
    about |= {"metric": metric, "description": dataclasses.asdict(description), "read_from_file": read}
    if output is None:
        fingerprint = description.fingerprint(place.parent)
        write_text(target, as_text(metadata_of(network_fingerprint=fingerprint, **about)))
        return load(target)
    with whole_or_not_at_all(target) as folder:
        folder.mkdir()
        _copy(place, folder / description.file)
        content = metadata_of(network_fingerprint=description.fingerprint(folder), **about)
        (folder / FILE_NAME).write_text(as_text(content), encoding="utf-8")
        load(folder)  # the copy opens as well
    return load(target)


def check_choices(**values: tuple) -> None:
    """Raises ReidError for a value that is none of those beside it."""
    for name, (value, known) in values.items():
        if value not in known:
            raise ReidError(f"{name}={value}, expected one of {', '.join(filter(None, known))}.")


def _foreign_place(path: Path) -> tuple[str, Path]:
    if path.is_file() and path.suffix not in (".onnx", ".tflite", ".keras"):
        raise ReidError(
            f"{str(path)!r} ends in {path.suffix or 'nothing'}: expected an .onnx or .tflite file, the folder of a "
            "SavedModel, or a re-ID checkpoint (.safetensors, .pth). Export the network to ONNX."
        )
    if (path / FILE_NAME).is_file() or path.name.endswith(f".{FILE_NAME}"):
        raise described_already(path)
    kind, place = locate_network(path)
    if kind not in FOREIGN_KINDS:
        raise ReidError(f"{str(place)!r} is a Keras file, which needs no description: give it to evaluate or compare.")
    return kind, place if place.name else place.resolve()


def normalization_of(
    normalize: str | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Returns mean and deviation of red, green and blue, 0..255; ReidError unless they are given in one way."""
    if (normalize is None) == (mean is None and std is None) or (mean is None) != (std is None):
        raise ReidError(
            f"expected normalize={', '.join(NORMALIZATIONS[:-1])} or {NORMALIZATIONS[-1]}, or both mean=R,G,B and "
            "std=R,G,B: no file says what its network takes for a picture, and a wrong one lowers the scores."
        )
    if normalize is not None:
        check_choices(normalize=(normalize, NORMALIZATIONS))
        return tuple(list(values) for values in NORMALIZATION[normalize])
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or not np.isfinite(values).all() or (name == "std" and not np.all(np.array(values) > 0)):
            positive = " above 0" if name == "std" else ""
            shown = ",".join(f"{value:g}" for value in values)
            raise ReidError(f"{name}={shown}, expected three numbers{positive}, of red, green and blue, 0 to 255.")
    return list(map(float, mean)), list(map(float, std))


def _layout(source: Port, wanted: str | None) -> str:
    """Returns where the file, or who describes it, says that the three channels stand."""
    shape = (None,) * 4 if source.shape is None else source.shape
    pictures = "pictures of three channels, [N, 3, H, W] or [N, H, W, 3]"
    if len(shape) != 4:
        raise ReidError(f"the input is {source}, expected {pictures}. Set input_name where there is another.")
    channels = {"nchw": shape[1], "nhwc": shape[3]}
    certain = [layout for layout, count in channels.items() if count == 3]
    possible = certain or [layout for layout, count in channels.items() if count is None]
    if not possible:
        raise ReidError(f"the input is {source}, expected {pictures}.")
    if wanted is not None and wanted not in possible:
        raise ReidError(f"layout={wanted}, but the input is {source}: leave it out, or set layout={possible[0]}.")
    if wanted is None and len(possible) > 1:
        raise ReidError(f"the input is {source}, which may be read in two ways: set layout=nchw or layout=nhwc.")
    return wanted or possible[0]


def _image_size(source: Port, layout: str, wanted: tuple[int, int] | None) -> tuple[tuple[int, int], bool]:
    """Returns (height, width), and whether the file says both."""
    shape = source.shape or (None,) * 4
    held = shape[2:] if layout == "nchw" else shape[1:3]
    if wanted is None and None in held:
        raise ReidError(f"the input is {source}, which leaves the size open: set input_size, such as 256x128.")
    size = tuple(held) if wanted is None else tuple(wanted)
    if not all(1 <= one <= _LARGEST_SIDE for one in size):
        raise ReidError(f"input_size={'x'.join(map(str, size))}, expected 1 to {_LARGEST_SIDE} pixels each.")
    if any(one is not None and one != other for one, other in zip(held, size)):
        asked, says = "x".join(map(str, size)), "x".join("?" if one is None else str(one) for one in held)
        raise ReidError(f"input_size={asked}, but the input is {source}, of height x width {says}: leave it out.")
    return size, None not in held


def _check_dtype(source: Port, mean: list[float], std: list[float]) -> None:
    is_raw = (mean, std) == NORMALIZATION["raw"]
    if source.dtype in ("float16", "float32") or source.takes_real_values or (source.dtype == "uint8" and is_raw):
        return
    if source.dtype == "uint8":
        raise ReidError(f"the input is {source}, whole numbers from 0 to 255: expected normalize=raw.")
    raise ReidError(f"the input is {source}: expected float32, float16 or uint8. Export the network with one of them.")


def _tried(description: Description, network: ForeignNetwork, metric: str) -> tuple[Description, int]:
    """Returns the description, one picture at a time where the network takes no batch, and the width of embeddings.

    Raises:
        ReidError: it cannot be run, or what it gives for pictures of noise is no embedding.
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, *description.image_size, 3), np.uint8)
    raw = embedding_function_of(dataclasses.replace(description, normalize_embedding=False), network)
    alone = np.concatenate([raw(image[None]) for image in noise])
    _check_embeddings(alone, description, directions=metric == "cosine" or description.normalize_embedding)
    try:
        together = raw(noise)
    except ReidError:
        if description.batch_size is not None:
            raise
        return dataclasses.replace(description, batch_size=1), alone.shape[1]  # the file says any number, and means 1
    if not np.allclose(together, alone, rtol=_SAME, atol=_SAME * np.abs(alone).max()):
        raise ReidError(
            f"{description.file!r} gives an image another embedding when others are in its batch: it was exported in "
            "training mode. Export it in inference mode (PyTorch: model.eval())."
        )
    return description, alone.shape[1]


def _check_embeddings(rows: np.ndarray, description: Description, *, directions: bool) -> None:
    """Raises ReidError when the outputs for two pictures of noise, `[2, D]`, are no embeddings."""
    what = f"the output {description.output!r} for pictures of noise"
    if not np.isfinite(rows).all():
        raise ReidError(f"{what} holds NaN or inf: expected finite numbers. Check normalize, and how it was exported.")
    if rows.shape[1] < 2:
        raise ReidError(f"{what} is one number each, expected an embedding. Set output_name where there is another.")
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise ReidError(
            f"{what} is {rows.shape[1]} numbers from 0 to 1 whose sum is 1, the probabilities of a classifier: "
            "expected an embedding. Set output_name to the layer before, or export the network without its classifier."
        )
    if np.allclose(rows[0], rows[1], rtol=1e-6, atol=1e-6 * np.abs(rows).max()):
        raise ReidError(f"{what} is the same for two of them: it does not depend on the picture. Check normalize.")
    if directions and not rows.any(axis=1).all():
        raise ReidError(f"{what} is all zeros, which has no direction to compare. Check normalize, or use euclidean.")


def _copy(place: Path, target: Path) -> None:
    if place.is_dir():
        shutil.copytree(place, target)
        return
    for path in files_of(place):  # an ONNX file names the one with its weights
        shutil.copyfile(path, target.parent / path.name)
