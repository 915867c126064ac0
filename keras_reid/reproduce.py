"""python -m keras_reid.reproduce RUN_DIR: scores what a finished run shipped again, and compares with its record.

Each artifact that evaluation.json names is opened as its users open it and scored on the query and gallery images of
the run's dataset, which must be those of its run card. --data_dir tells where they lie now. It ends in 0 when no
score differs by more than --tolerance points, else in 1.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from keras_reid import command, options
from keras_reid.data.fingerprint import changed_splits, fingerprint
from keras_reid.data.training_sets import read_scored_sets
from keras_reid.errors import ReidError
from keras_reid.evaluation.tables import SCORE_ROWS
from keras_reid.files import write_text
from keras_reid.training.run_card import read_card
from keras_reid.training.run_folder import RunFolder


def reproduce(flags: command.Flags) -> None:
    # --- All that can be checked before TensorFlow is loaded.
    if len(flags.arguments) != 1:
        raise ReidError(f"expected one run folder, got {' '.join(flags.arguments) or 'none'}.")
    command.check_writable("json", flags.json)
    if not math.isfinite(flags.tolerance):
        raise ReidError(f"--tolerance={flags.tolerance}, expected a number of points.")
    run = RunFolder(flags.arguments[0])
    held = run.read_flags()
    artifacts = recorded(run)
    names, folders = held["dataset"].split("\n"), flags.data_dir or held["data_dir"].split("\n")
    if len(names) != len(folders):
        raise ReidError(f"the run has {len(names)} datasets: give --data_dir as often, in their order, or not at all.")
    sets = list(zip(names, folders))
    catalog = read_scored_sets(sets, camera_pattern=held.get("camera_pattern"))
    check_data(run, catalog, sets)

    # --- The same again.
    from keras_reid.artifacts import open_artifact
    from keras_reid.evaluation.scoring import score

    rules = {"missing_cameras": held.get("missing_cameras", "refuse"), "batch_size": flags.batch_size}
    opened = {name: open_artifact(path) for name, (path, _) in artifacts.items()}  # not after minutes of scoring
    again = {}
    for name, artifact in opened.items():
        print(f"scoring {artifact.name}", flush=True)
        again[name] = score(artifact, catalog, **rules).result.to_dict()
    rows = differences({name: scores for name, (_, scores) in artifacts.items()}, again)
    print(f"\n{as_table(rows)}")
    worst = max(rows, key=lambda row: abs(row["difference"]))
    reproduced = abs(worst["difference"]) <= flags.tolerance
    if flags.json:
        content = {"run_dir": flags.arguments[0], "tolerance": flags.tolerance, "reproduced": reproduced}
        write_text(flags.json, json.dumps({**content, "scores": rows}, indent=2) + "\n")
    largest = f"{abs(worst['difference']):.2f} points ({worst['score']} of {worst['artifact']})"
    if not reproduced:
        raise ReidError(
            f"not reproduced: scores differ from those recorded by up to {largest}, more than "
            f"--tolerance={flags.tolerance:g}. What was shipped, the data, or what computes has changed."
        )
    print(f"reproduced: scores differ from those recorded by at most {largest}, --tolerance={flags.tolerance:g}")


def recorded(run: RunFolder) -> dict[str, tuple[Path, dict]]:
    """Returns path and recorded scores of each artifact that the run shipped.

    Raises:
        ReidError: the run is not finished, its record is damaged, or an artifact is gone.
    """
    evaluation = run.read_evaluation()
    if "epochs" not in evaluation:
        raise ReidError(f"{str(run.path)!r} is not finished: it has shipped nothing. Go on with it by its command.")
    exports, scores = evaluation.get("exports"), evaluation["scores"]
    known = isinstance(exports, dict) and exports and isinstance(scores, dict)
    if not known or not all(isinstance(scores.get(name), dict) for name in exports):
        raise ReidError(f"{str(run.evaluation)!r} is damaged: it does not name what was shipped with its scores.")
    for name in exports:
        missing = [key for key in SCORE_ROWS.values() if not isinstance(scores[name].get(key), (int, float))]
        if missing:
            raise ReidError(f"{str(run.evaluation)!r} is damaged: {name} has no {missing[0]}.")
    paths = {name: run.path / str(place) for name, place in exports.items()}
    for path in paths.values():
        if not path.exists():
            raise ReidError(f"{str(path)!r}, which the run shipped, is gone. Restore it.")
    return {name: (path, scores[name]) for name, path in paths.items()}


def check_data(run: RunFolder, catalog: pd.DataFrame, sets: Sequence[tuple[str, str]]) -> None:
    """Raises ReidError where query and gallery are not those that the run was last scored on."""
    data = read_card(run).get("data")
    if not data:
        print("the run has no run card: whether the dataset is the same is not known")
        return
    changes = changed_splits(data[-1], fingerprint(catalog, sets), only=("query", "gallery"))
    if changes:
        raise ReidError(
            f"the dataset is not the one that the run was scored on: {'; '.join(changes)}. Set --data_dir to that one."
        )
    print("query and gallery are those that the run was scored on")


def differences(recorded_scores: Mapping[str, Mapping], again: Mapping[str, Mapping]) -> list[dict]:
    """Returns a row for each score of each artifact, in percent; the difference in points."""
    return [
        {
            "artifact": name,
            "score": row,
            "recorded": 100 * recorded_scores[name][key],
            "again": 100 * again[name][key],
            "difference": 100 * (again[name][key] - recorded_scores[name][key]),
        }
        for name in again
        for row, key in SCORE_ROWS.items()
    ]


def as_table(rows: Sequence[Mapping]) -> str:
    """Returns the rows of `differences` as they stand on the screen."""
    forms = {"recorded": "{:.2f}".format, "again": "{:.2f}".format, "difference": "{:+.2f}".format}
    return pd.DataFrame(rows).to_string(index=False, formatters=forms)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(reproduce, options.reproduce_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
