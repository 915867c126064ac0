"""Decides what counts as shipped: written, opened again as its users open it, scored, and as good as the live model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from keras_reid.artifacts import artifact_of
from keras_reid.errors import ReidError
from keras_reid.evaluation import RetrievalEvaluation
from keras_reid.files import remove, temporary_name
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.serving.calibration import calibration_images
from keras_reid.serving.formats import FORMATS, MAX_MAP_DROP, check_formats, tflite_kind
from keras_reid.serving.gallery import Gallery
from keras_reid.serving.onnx import export_onnx, import_tf2onnx
from keras_reid.serving.parity import parity_of, parity_table, record_parity, shortfall
from keras_reid.serving.savedmodel import export_savedmodel, next_version
from keras_reid.serving.tflite import CALIBRATED_KINDS, export_tflite


def ship(
    embedder: keras.Model,
    directory: str | os.PathLike,
    *,
    formats: Sequence[str],
    metadata: Mapping,
    catalog: pd.DataFrame,
    live: RetrievalEvaluation | None = None,
    min_cosine: float | None = None,
    max_map_drop: float = MAX_MAP_DROP,
    calibration_count: int = 200,
    gallery: Gallery | None = None,
    neighbours: int = 10,
    batch_size: int = 64,
    missing_cameras: str = "refuse",
) -> tuple[dict[str, Path], dict[str, dict]]:
    """Exports an embedder in several formats, scores each artifact by itself and compares it with the live model.

    All of them take their places when the last one has passed, or none does. The report is printed, and added to
    `parity.json` in the folder.

    Args:
        embedder: float32.
        directory: the export folder.
        formats: of `FORMATS`.
        metadata: the content of `reid.json`.
        catalog: with the splits "query" and "gallery"; for int8 and int16 also "train".
        live: the evaluation of the embedder on this catalog, where it has been made already.
        min_cosine: least cosine to the live model; None for 0.999, and 0.98 where weights are int8.
        max_map_drop: most points of mAP that a format may lose.
        calibration_count: training images behind int8 and int16.
        gallery: what the SavedModel's `search` searches.
        neighbours: k, how many `search` finds.
        batch_size: images at once.
        missing_cameras: as in `evaluate_retrieval`.

    Returns:
        The path of each format, and its parity with the live model, whose "scores" are as `RetrievalResult.to_dict()`
        gives them.

    Raises:
        ReidError: an unknown format, one that cannot be made, or one that falls short of the live model.
    """
    formats, directory = list(dict.fromkeys(formats)), Path(directory)
    check_formats(formats)
    if "onnx" in formats:
        import_tf2onnx()  # not after minutes of scoring
    rules, calibration = {"batch_size": batch_size, "missing_cameras": missing_cameras}, None
    if any(tflite_kind(name) in CALIBRATED_KINDS for name in formats if name.startswith("tflite")):
        calibration = calibration_images(catalog, embedder.input_shape[1:3], count=calibration_count)
    if live is None:
        live = RetrievalEvaluation(catalog, artifact=artifact_of(embedder, dict(metadata)), **rules)
        live.evaluate()

    def write(name: str, place: Path) -> Path:
        if name == "savedmodel":
            version = next_version(directory / FORMATS[name])
            options = {"gallery": gallery, "neighbours": neighbours, "version": version}
            return export_savedmodel(embedder, place, metadata, **options)
        if name == "keras":
            return save_keras(embedder, place, metadata=dict(metadata))
        if name == "onnx":
            return export_onnx(embedder, place, metadata)
        return export_tflite(embedder, place, metadata, kind=tflite_kind(name), calibration_images=calibration)

    with _staged(directory) as staging:
        staged, parities, limits = {}, {}, {"min_cosine": min_cosine, "max_map_drop": max_map_drop}
        for name in formats:
            print(f"exporting {name}", flush=True)
            staged[name] = write(name, staging / FORMATS[name])
            evaluation = RetrievalEvaluation(catalog, artifact=staged[name], **rules)
            evaluation.evaluate()
            parity = {"format": name, **parity_of(live, evaluation), "megabytes": _bytes(staged[name]) / 1e6}
            parities[name] = parity | {"shortfall": shortfall(name, parity, **limits)}
        images = next(iter(parities.values()))["images"]
        print(f"\nexported, beside the live model, on {images:,} images\n{parity_table(live, parities)}", flush=True)
        short = "; ".join(f"{name}: {parity['shortfall']}" for name, parity in parities.items() if parity["shortfall"])
        if short:
            raise ReidError(f"not exported, nothing was written: {short}.")
        paths = {name: directory / path.relative_to(staging) for name, path in staged.items()}
        for name, path in paths.items():
            path.parent.mkdir(exist_ok=True)
            os.replace(staged[name], path)
    record_parity(directory, {str(path.relative_to(directory)): parities[name] for name, path in paths.items()})
    return paths, parities


@contextlib.contextmanager
def _staged(directory: Path) -> Iterator[Path]:
    """Yields a folder inside `directory` that is gone afterwards, and so is a `directory` that was made for nothing."""
    made = next((folder for folder in [*reversed(directory.parents), directory] if not folder.exists()), None)
    directory.mkdir(parents=True, exist_ok=True)
    staging = temporary_name(directory / "export")
    staging.mkdir()
    try:
        yield staging
    finally:
        remove(staging)
        if made is not None and not any(directory.iterdir()):
            remove(made)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
