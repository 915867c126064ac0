"""Which recipe learns most? Short runs, scored on people held out of training, each compared with the first.

    python benchmarks/recipes.py --recipes=recipes.txt --work_dir=runs/recipes -- --flagfile=own.flags \\
        --dataset=market1501 --data_dir=.../Market-1501-v15.09.15 --image_height=96 --image_width=48 --epochs=6

A line of the file is a name, a colon, and the flags of `keras_reid.train` that the recipe adds; the first is what the
others are compared with, `base:` for instance. Flags behind `--` are for all. Nothing is exported, and query and
gallery are not looked at. The same command goes on where it was stopped, also inside a run; finished runs stay.

The table tells images passed, and the same counted in pixels of 128x64; mAP with its 95 % interval; top-1; and the
difference of mAP to the first recipe on the same queries, with its interval and p-value.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

CHOOSE_BY = "--validation_identities=100"  # flags behind it may say otherwise


def train(name: str, flags: list[str], work_dir: Path) -> Path:
    """Trains one recipe in a process of its own; returns the file with its scores."""
    scores = work_dir / name / "validation.json"
    if not scores.exists():
        command = [sys.executable, __file__, f"--one={scores}", "--", CHOOSE_BY, *flags]
        command += [f"--run_dir={work_dir / name}", "--noscore_baselines", "--evaluate_every=1000000"]
        command += ["--save_every_steps=100"]
        print(shlex.join(["python", "benchmarks/recipes.py", *command[2:]]), flush=True)
        log = work_dir / f"{name}.log"
        with open(log, "a") as output:
            exit_code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
        if exit_code:
            sys.exit(f"{log}: {log.read_text().splitlines()[-1]}")
    return scores


def train_one(flags, scores: Path) -> None:
    """Makes the steps of a run, and keeps the scores of each validation query."""
    from keras_reid.command import given
    from keras_reid.evaluation import confidence_intervals
    from keras_reid.evaluation.report import per_query
    from keras_reid.files import write_text
    from keras_reid.train import read_settings
    from keras_reid.training.cluster import read_cluster
    from keras_reid.training.epoch_log import EpochLog
    from keras_reid.training.run_data import read_run_data
    from keras_reid.training.run_folder import RunFolder
    from keras_reid.training.settings import Settings
    from keras_reid.training.steps import Steps

    settings = read_settings(flags)
    cluster, text = read_cluster(settings.strategy), settings.as_text()
    folder = RunFolder(settings.run_dir)
    folder.check(text, defaults=Settings().as_text(), **given(flags, "resume", "allow_flag_changes"))
    data = read_run_data(settings, cluster)
    steps = Steps(folder, settings, data, cluster)
    step = steps.restore()
    folder.begin(text)
    folder.forget_after(step)
    EpochLog(folder).forget_after(step)
    score = steps.train(step)[1]
    batch, of_epoch = settings.identities_per_batch * settings.images_per_identity, data.batches.steps_per_epoch
    sizes = [(batch * of_epoch * (phase.end - phase.first), phase.image_size) for phase in settings.phases]
    found = {
        "images": sum(images for images, _ in sizes),
        "images_of_128x64": sum(images * height * width / (128 * 64) for images, (height, width) in sizes),
        "minutes": float(EpochLog(folder).times().seconds.sum() / 60),
        "mean_average_precision": score.result.mean_average_precision,
        "top1": float(score.result.cmc[0]),
        "interval": confidence_intervals(score.result)["mean_average_precision"],
        "diagnosis": folder.read_diagnosis(),
        "per_query": per_query(score.embedded.query, score.result),
    }
    write_text(scores, json.dumps(found))


def row_of(name: str, found: dict, first: dict) -> str:
    from keras_reid.evaluation import paired_differences

    low, high = (100 * end for end in found["interval"])
    text = f"{name:24} {found['images']:9,} {found['images_of_128x64']:9,.0f} {found['minutes']:7.0f}"
    text += f"  {found['mean_average_precision']:7.2%} ({low:5.2f} to {high:5.2f}) {found['top1']:7.2%}"
    if found is not first:
        difference = paired_differences(found["per_query"], first["per_query"])["mean_average_precision"]
        low, high = (100 * end for end in difference.interval)
        text += f"  {100 * difference.difference:+6.2f} ({low:+6.2f} to {high:+6.2f}), p {difference.p_value:.3f}"
    return text + ("  collapse" if found["diagnosis"] else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=Path, help="a file, NAME: FLAGS a line")
    parser.add_argument("--work_dir", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("flags", nargs="*", help="of keras_reid.train, behind --")
    options = parser.parse_args()
    if options.one:
        from keras_reid import command
        from keras_reid.options import train_flags

        return command.run_command(lambda flags: train_one(flags, options.one), train_flags(), ["", *options.flags])
    options.work_dir.mkdir(parents=True, exist_ok=True)
    lines = [line.split(":", 1) for line in options.recipes.read_text().splitlines() if line.strip()]
    head = f"{'recipe':24} {'images':>9} {'as 128x64':>9} {'minutes':>7}  {'mAP':>7} {'(95 %)':16} {'top-1':>7}"
    rows, first = [f"{head}  mAP to the first's"], None
    for name, flags in lines:
        path = train(name.strip(), [*options.flags, *shlex.split(flags)], options.work_dir)
        found = json.loads(path.read_text())
        first = first or found
        rows.append(row_of(name.strip(), found, first))
        (options.work_dir / "table.txt").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
