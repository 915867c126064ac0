"""python -m keras_reid.export --run_dir=DIR --formats=savedmodel,tflite: ships a run and scores what it shipped.

The network of the run's last.keras is written as a SavedModel (its next version) and as a TFLite file; each is then
opened as its users open it and scored beside the live model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_reid import options
from keras_reid.data import read_market1501
from keras_reid.errors import ReidError
from keras_reid.files import write_text
from keras_reid.training.run_folder import RunFolder


def export(flags: options.Flags) -> None:
    options.required(flags, "run_dir")
    run = RunFolder(flags.run_dir)
    if not run.last_model.exists():
        raise ReidError(f"no trained run at {flags.run_dir!r}: expected a folder that holds last.keras.")
    held = run.read_flags()
    catalog = read_market1501(flags.data_dir or held["data_dir"])

    from keras_reid.artifacts import CALIBRATED, artifact_of, describe_embedder
    from keras_reid.evaluation import evaluate_artifact, scores_table
    from keras_reid.models import load_keras, read_metadata
    from keras_reid.serving import check_formats, ship

    formats = [name for name in flags.formats.split(",") if name]
    check_formats(formats)  # not after minutes of scoring
    embedder = load_keras(run.last_model)
    live = evaluate_artifact(artifact_of(embedder), catalog, batch_size=flags.batch_size).to_dict()
    metadata = describe_embedder(embedder, dataset=flags.dataset or held["dataset"], scores=live)
    # What was calibrated holds for the same network in another format.
    metadata.update({key: value for key, value in (read_metadata(run.last_model) or {}).items() if key in CALIBRATED})
    directory = Path(flags.export_dir or run.export)
    options_ = {"formats": formats, "metadata": metadata, "catalog": catalog, "batch_size": flags.batch_size}
    paths, scores = ship(embedder, directory, **options_)
    write_text(directory / "scores.json", json.dumps({"live": live, **scores}, indent=2) + "\n")
    print(scores_table({"live": live, **scores}))
    print(f"exported: {', '.join(map(str, paths.values()))}; the scores are in {directory / 'scores.json'}")


def main(argv: Sequence[str] | None = None) -> int:
    return options.run_command(export, options.export_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
