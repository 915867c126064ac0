"""python -m keras_reid.export --run_dir=DIR --formats=savedmodel,tflite,...: ships a run and scores what it shipped.

The network of the run's last.keras is written in each format (of the SavedModel the next version), opened as its users
open it, scored, and compared with the reference model: parity.json in the export folder holds the report. When a format
falls short (--min_cosine, --max_map_drop) nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_reid import command, options
from keras_reid.artifacts.formats.table import check_formats
from keras_reid.data.training_sets import read_scored_sets, scored_name
from keras_reid.errors import ReidError
from keras_reid.training.run_folder import RunFolder


def export(flags: command.Flags) -> None:
    # --- All that can be checked before TensorFlow is loaded.
    command.required(flags, "run_dir")
    run = RunFolder(flags.run_dir)
    if not run.last_model.exists():
        raise ReidError(f"no trained run at {flags.run_dir!r}: expected a folder that holds last.keras.")
    check(flags)
    held = run.read_flags() if run.flags.exists() else {}  # what describe wrote of a checkpoint has none
    sets = data_sets(flags, held)
    catalog = read_scored_sets(sets, camera_pattern=flags.camera_pattern or held.get("camera_pattern"))
    missing_cameras = flags.missing_cameras or held.get("missing_cameras", "refuse")

    from keras_reid.artifacts import artifact_of, describe_embedder, threshold_lines, write_threshold
    from keras_reid.evaluation.scoring import score
    from keras_reid.models import load_keras, read_metadata
    from keras_reid.serving import Search, ShippingOptions, read_gallery, scored_images, ship, some_people

    # --- The reference model, and what reid.json says of it.
    whole = catalog
    if flags.parity_images:
        catalog = some_people(catalog, flags.parity_images)
    embedder = load_keras(run.last_model)
    names = [name for name, _ in sets]
    known, scored_on = read_metadata(run.last_model) or {}, scored_name(catalog, names)
    metric = known.get("metric", "euclidean")
    artifact, search = artifact_of(embedder, describe_embedder(embedder, metric=metric)), None
    if flags.gallery:
        width, network = embedder.output_shape[-1], artifact.network_fingerprint
        gallery = read_gallery(flags.gallery, metric=metric, embedding_size=width, network_fingerprint=network)
        search = Search(gallery, flags.neighbors)
    reference = score(artifact, catalog, missing_cameras=missing_cameras, batch_size=flags.batch_size)
    # reid.json says how good the network is on all images of the set that it was trained on.
    trained_on = held.get("dataset", known.get("dataset", "")).split("\n")
    scores = reference.result.to_dict() if names == trained_on and not flags.parity_images else known.get("scores")
    trained_on = "+".join(dict.fromkeys(trained_on))
    metadata = describe_embedder(embedder, dataset=trained_on, scores=scores, metric=metric)
    calibration = threshold_of(flags, reference, known, scored_on)
    metadata |= calibration | {key: known[key] for key in ("checkpoint",) if key in known}

    # --- What ships.
    directory = Path(flags.export_dir or run.export)
    options_ = ShippingOptions(
        **command.given(flags, "min_cosine", "max_map_drop", "batch_size"),
        calibration_count=flags.calibration_images,
        of_images=scored_images(whole) if flags.parity_images else None,
    )
    what = {"formats": flags.formats, "metadata": metadata, "catalog": catalog, "search": search}
    paths, _ = ship(embedder, directory, **what, reference=reference, options=options_)
    if flags.calibrate_fpr is not None and flags.export_dir:
        print(f"the threshold is in what was exported; {flags.run_dir} itself keeps what it has")
    elif flags.calibrate_fpr is not None:  # what else the run holds of this network
        print(f"threshold written into {run.last_model}")
        for line in threshold_lines(write_threshold(flags.run_dir, calibration)):
            print(line)
    print(f"exported: {', '.join(map(str, paths.values()))}; the report is in {directory / 'parity.json'}")


def data_sets(flags: command.Flags, held: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns name and folder of what is scored on: as the flags say, else the sets of the run."""
    if not held:
        if not (flags.dataset and flags.data_dir):
            raise ReidError(f"{flags.run_dir!r} has no run.flags, which name a dataset: give --dataset and --data_dir.")
        return [(flags.dataset, flags.data_dir)]
    names, folders = held["dataset"].split("\n"), held["data_dir"].split("\n")
    if not (flags.dataset or flags.data_dir):
        return list(zip(names, folders))
    if len(names) > 1 and not (flags.dataset and flags.data_dir):
        raise ReidError(
            f"the run was trained on {len(names)} datasets: give both --dataset and --data_dir, or neither."
        )
    return [(flags.dataset or names[0], flags.data_dir or folders[0])]


def threshold_of(flags: command.Flags, reference, known: dict, scored_on: str) -> dict:
    """Returns what reid.json will hold of a threshold: a new one, or that of the same network in another format."""
    from keras_reid.artifacts import CALIBRATED

    if flags.calibrate_fpr is not None:
        found = reference.verify().calibration(flags.calibrate_fpr, dataset=scored_on)
        rate = found["false_positive_rate"]
        print(f"threshold {found['threshold']:.6g}: {rate:.3g} of the impostor pairs lie up to it")
        return found
    views = known.get("threshold_views") or "none"
    if known.get("threshold") is not None and views != "none":
        print(
            f"the threshold of {flags.run_dir} is left out: it was calibrated with --test_time_augmentation={views}, "
            "and what ships embeds an image as it is. --calibrate_fpr calibrates one for it"
        )
        return {}
    return {key: value for key, value in known.items() if key in CALIBRATED}


def check(flags: command.Flags) -> None:
    """Raises ReidError for formats that are unknown, flags that exclude each other, and a folder not to be written."""
    check_formats(flags.formats)
    if flags.gallery and "savedmodel" not in flags.formats:
        raise ReidError("--gallery is what the SavedModel's search searches: add savedmodel to --formats.")
    command.check_rate("calibrate_fpr", flags.calibrate_fpr)
    if flags.calibrate_fpr is not None and flags.parity_images:
        raise ReidError("--calibrate_fpr counts the pairs of all images: leave out --parity_images.")
    command.check_folder("export_dir", flags.export_dir or str(RunFolder(flags.run_dir).export))


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(export, options.export_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
