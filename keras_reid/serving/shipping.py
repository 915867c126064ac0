"""Shipping of an embedder: written in each format, opened as its users open it, scored, and compared, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from keras_reid.artifacts import open_artifact
from keras_reid.artifacts.formats.onnx import import_tf2onnx
from keras_reid.artifacts.formats.savedmodel import next_version
from keras_reid.artifacts.formats.search import Gallery
from keras_reid.artifacts.formats.table import FORMATS, MAX_MAP_DROP, check_formats
from keras_reid.errors import ReidError
from keras_reid.evaluation import Score
from keras_reid.evaluation.scoring import score
from keras_reid.files import remove, remove_leftovers_of, temporary_name
from keras_reid.keras2 import keras
from keras_reid.serving.calibration import calibration_images
from keras_reid.serving.parity import REPORT, parity_of, parity_table, record_parity, shortfall

_ABANDONED = 24 * 3600  # seconds after which what a killed export left is nobody's work any more


class Search(NamedTuple):
    """What the SavedModel's signature `search` searches, and how many neighbors it finds for an image."""

    gallery: Gallery
    neighbors: int = 10


@dataclasses.dataclass(frozen=True)
class ShippingOptions:
    """How what ships is judged.

    Attributes:
        min_cosine: least cosine similarity to the reference model; None for 0.999, and 0.98 where weights are int8.
        max_map_drop: most points of mAP that a format may lose.
        calibration_count: training images behind int8 and int16.
        of_images: how many query and gallery images the whole dataset has, where the catalog is a part of it.
        batch_size: images at once.
    """

    min_cosine: float | None = None
    max_map_drop: float = MAX_MAP_DROP
    calibration_count: int = 200
    of_images: int | None = None
    batch_size: int = 64


def ship(
    embedder: keras.Model,
    directory: str | os.PathLike,
    *,
    formats: Sequence[str],
    metadata: Mapping,
    catalog: pd.DataFrame,
    reference: Score,
    search: Search | None = None,
    options: ShippingOptions = ShippingOptions(),
) -> tuple[dict[str, Path], dict[str, dict]]:
    """Exports an embedder in several formats, scores each artifact and compares it with the reference model.

    All of them take their places when the last one has passed, or none does. The report is printed, and added to
    `parity.json` in the folder.

    Args:
        embedder: float32.
        directory: the export folder.
        formats: of `FORMATS`.
        metadata: the content of `reid.json`.
        catalog: holds the splits "query" and "gallery"; for int8 and int16 also "train".
        reference: the score of the embedder on this catalog, whose rules hold for each format.
        search: what the SavedModel's `search` searches; None for no such signature.
        options: how what ships is judged.

    Returns:
        The path of each format, and its parity with the reference model, whose "scores" are as
        `RetrievalResult.to_dict()` gives them.

    Raises:
        ReidError: an unknown format, one that cannot be made, or one that falls short of the reference model.
    """
    formats, directory = list(dict.fromkeys(formats)), Path(directory)
    check_formats(formats)
    _check_places(formats, directory)
    if "onnx" in formats:
        import_tf2onnx()  # not after minutes of scoring
    calibration = None
    if any(FORMATS[name].needs_calibration for name in formats):
        calibration = calibration_images(catalog, embedder.input_shape[1:3], count=options.calibration_count)

    parities, limits = {}, {"min_cosine": options.min_cosine, "max_map_drop": options.max_map_drop}
    with _staged(formats, directory) as staged:
        for name, path in staged.items():
            print(f"exporting {name}", flush=True)
            own = search._asdict() if search and name == "savedmodel" else {}
            own |= {"calibration_images": calibration} if FORMATS[name].needs_calibration else {}
            FORMATS[name].write(embedder, path, metadata, **own)
            shipped = score(open_artifact(path), catalog, batch_size=options.batch_size, **reference.rules)
            parity = {"format": name, **parity_of(reference, shipped), "megabytes": _bytes(path) / 1e6}
            parity["of_images"] = options.of_images
            parities[name] = parity | {"shortfall": shortfall(name, parity, **limits)}
        images = next(iter(parities.values()))["images"]
        of = f" of {options.of_images:,}" if options.of_images else ""
        print(f"\nexported, compared with the reference model on {images:,}{of} images")
        print(parity_table(reference, parities), flush=True)
        short = "; ".join(f"{name}: {parity['shortfall']}" for name, parity in parities.items() if parity["shortfall"])
        if short:
            raise ReidError(f"not exported, nothing was written: {short}.")
        with _placed(staged, directory) as paths:
            record_parity(directory, {str(path.relative_to(directory)): parities[name] for name, path in paths.items()})
    return paths, parities


def _check_places(formats: Sequence[str], directory: Path) -> None:
    """Raises ReidError where something stands in the place of what will be written: before minutes of scoring."""
    for place in [FORMATS[name].place for name in formats] + [REPORT]:
        path, is_folder = directory / place, place == FORMATS["savedmodel"].place
        if path.exists() and path.is_dir() != is_folder:
            found, wanted = ("a file", "a folder of versions") if is_folder else ("a folder", "a file")
            raise ReidError(f"{str(path)!r} is {found}, expected {wanted}: move it.")


@contextlib.contextmanager
def _staged(formats: Sequence[str], directory: Path) -> Iterator[dict[str, Path]]:
    """Yields a path next to the place of each format; afterwards removes what was not moved, and its empty folders."""
    folders = [directory, *(directory / FORMATS[name].place for name in formats if name == "savedmodel")]
    made = [folder for folder in [*reversed(directory.parents), *folders] if not folder.exists()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    # TensorFlow Serving sees no version in a name that is no number.
    places = {name: directory / FORMATS[name].place / ("version" if name == "savedmodel" else "") for name in formats}
    for path in places.values():
        remove_leftovers_of(path, older_than=_ABANDONED)
    staged = {name: temporary_name(path) for name, path in places.items()}
    try:
        yield staged
    finally:
        for path in staged.values():
            remove(path)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # somebody's files are in it
                folder.rmdir()


@contextlib.contextmanager
def _placed(staged: Mapping[str, Path], directory: Path) -> Iterator[dict[str, Path]]:
    """Moves each format to its place and yields the places; takes all of it back when that, or the block, fails."""
    paths, before = {}, {}
    try:
        for name, path in staged.items():
            place = directory / FORMATS[name].place
            if name == "savedmodel":
                paths[name] = _as_next_version(path, place)
                continue
            if place.exists():
                before[name] = temporary_name(place)
                os.replace(place, before[name])
            paths[name] = place
            os.replace(path, place)
        yield paths
    except BaseException:
        for path in paths.values():
            remove(path)
        for name, path in before.items():
            os.replace(path, directory / FORMATS[name].place)
        raise
    for path in before.values():
        remove(path)


def _as_next_version(path: Path, place: Path) -> Path:
    while True:
        version = place / str(next_version(place))
        try:
            os.rename(path, version)
            return version
        except OSError:
            if not version.exists():
                raise
            # Another export was faster: the version after its own.


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
