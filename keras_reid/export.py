"""python -m keras_reid.export --run_dir=DIR --formats=savedmodel,tflite,...: ships a run and scores what it shipped.

The network of the run's last.keras is written in each format (of the SavedModel the next version), opened as its users
open it, scored, and compared with the live model: parity.json in the export folder holds the report. When a format
falls short (--min_cosine, --max_map_drop) nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from keras_reid import options
from keras_reid.data import read_market1501
from keras_reid.errors import ReidError
from keras_reid.serving.formats import check_formats
from keras_reid.training.run_folder import RunFolder


def export(flags: options.Flags) -> None:
    # --- All that can be checked before TensorFlow is loaded.
    options.required(flags, "run_dir")
    run = RunFolder(flags.run_dir)
    if not run.last_model.exists():
        raise ReidError(f"no trained run at {flags.run_dir!r}: expected a folder that holds last.keras.")
    formats = [name for name in flags.formats.split(",") if name]
    check(flags, formats)
    held = run.read_flags()
    catalog = read_market1501(flags.data_dir or held["data_dir"])

    from keras_reid.artifacts import artifact_of, describe_embedder
    from keras_reid.evaluation import RetrievalEvaluation
    from keras_reid.models import load_keras, read_metadata
    from keras_reid.serving import read_gallery, scored_images, ship, some_people

    # --- The live model, and what reid.json says of it.
    whole = catalog
    if flags.parity_images:
        catalog = some_people(catalog, flags.parity_images)
    embedder = load_keras(run.last_model)
    known, scored_on = read_metadata(run.last_model) or {}, flags.dataset or held["dataset"]
    metric = known.get("metric", "euclidean")
    gallery = None
    if flags.gallery:
        gallery = read_gallery(flags.gallery, metric=metric, embedding_size=embedder.output_shape[-1])
    artifact = artifact_of(embedder, describe_embedder(embedder, metric=metric))
    live = RetrievalEvaluation(catalog, artifact=artifact, batch_size=flags.batch_size)
    live.evaluate()
    # reid.json says how good the network is on all images of the set that it was trained on.
    own = scored_on == held["dataset"] and not flags.parity_images
    scores = live.result.to_dict() if own else known.get("scores")
    metadata = describe_embedder(embedder, dataset=held["dataset"], scores=scores, metric=metric)
    metadata |= threshold_of(flags, live, known, scored_on)

    # --- What ships.
    directory = Path(flags.export_dir or run.export)
    given = options.given(flags, "min_cosine", "max_map_drop", "neighbours", "batch_size")
    paths, _ = ship(
        embedder,
        directory,
        formats=formats,
        metadata=metadata,
        catalog=catalog,
        live=live,
        gallery=gallery,
        calibration_count=flags.calibration_images,
        of_images=scored_images(whole) if flags.parity_images else None,
        **given,
    )
    print(f"exported: {', '.join(map(str, paths.values()))}; the report is in {directory / 'parity.json'}")


def threshold_of(flags: options.Flags, live, known: dict, scored_on: str) -> dict:
    """Returns what reid.json will hold of a threshold: a new one, or that of the same network in another format."""
    from keras_reid.artifacts import CALIBRATED

    if flags.calibrate_fpr is not None:
        found = live.embedded.verify().calibration(flags.calibrate_fpr, dataset=scored_on)
        rate = found["false_positive_rate"]
        print(f"threshold {found['threshold']:.6g}: {rate:.3g} of the pairs of two people lie up to it")
        return found
    views = known.get("threshold_views") or "none"
    if known.get("threshold") is not None and views != "none":
        print(
            f"the threshold of {flags.run_dir} is left out: it was calibrated with --views={views}, and what ships "
            "embeds an image as it is. --calibrate_fpr calibrates one for it"
        )
        return {}
    return {key: value for key, value in known.items() if key in CALIBRATED}


def check(flags: options.Flags, formats: Sequence[str]) -> None:
    """Raises ReidError for formats that are unknown, flags that exclude each other, and a folder not to be written."""
    check_formats(formats)
    if flags.gallery and "savedmodel" not in formats:
        raise ReidError("--gallery is what the SavedModel's search searches: add savedmodel to --formats.")
    if flags.calibrate_fpr is not None and not 0 < flags.calibrate_fpr < 1:
        raise ReidError(f"--calibrate_fpr={flags.calibrate_fpr}, expected a rate between 0 and 1, such as 1e-3.")
    if flags.calibrate_fpr is not None and flags.parity_images:
        raise ReidError("--calibrate_fpr counts the pairs of all images: leave out --parity_images.")
    options.check_folder("export_dir", flags.export_dir or str(RunFolder(flags.run_dir).export))


def main(argv: Sequence[str] | None = None) -> int:
    return options.run_command(export, options.export_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
