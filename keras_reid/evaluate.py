"""python -m keras_reid.evaluate --artifact=PATH --dataset=NAME --data_dir=DIR: scores what was shipped.

PATH is a run folder, a .keras file, a SavedModel folder or a .tflite file. The table shows mAP by the rectangle rule
(most code bases) and by the trapezoid rule (the official Market-1501 script), CMC and mINP, in percent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from keras_reid import options
from keras_reid.data import describe, read_market1501
from keras_reid.files import write_text


def evaluate(flags: options.Flags) -> None:
    options.required(flags, "artifact", "data_dir")
    options.check_writable("json", flags.json)  # not after minutes of scoring
    catalog = read_market1501(flags.data_dir)
    print(describe(catalog), flush=True)

    from keras_reid.artifacts import open_artifact  # TensorFlow takes seconds: after all that is cheap to check
    from keras_reid.evaluation import evaluate_artifact, scores_table

    artifact = open_artifact(flags.artifact)
    result = evaluate_artifact(artifact, catalog, ignore=flags.ignore, batch_size=flags.batch_size)
    print(f"\n{artifact.name} on {flags.dataset}\n{scores_table({artifact.kind: result.to_dict()})}")
    if len(result.skipped_queries):
        print(f"{len(result.skipped_queries)} of {result.queries} queries have no match in the gallery: left out.")
    if flags.json:
        scores = {"artifact": artifact.name, "dataset": flags.dataset, "data_dir": flags.data_dir, **result.to_dict()}
        write_text(flags.json, json.dumps(scores, indent=2) + "\n")
        print(f"written to {flags.json}")


def main(argv: Sequence[str] | None = None) -> int:
    return options.run_command(evaluate, options.evaluate_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
