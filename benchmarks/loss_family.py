"""Does every loss learn? The quickstart's run with each of them: mAP before and after, and what the doctor said.

    python benchmarks/loss_family.py --work_dir=runs/losses                  # about 3 minutes a loss on 2 CPU cores
    python benchmarks/loss_family.py --work_dir=runs/losses --losses=lifted,circle

From scratch on the synthetic set of `quickstart.flags`, behind a BNNeck: BatchNormalization without shift on the
embedding, so that a batch cannot shrink to a point. Losses that weigh distances exponentially, and class hard, get the
embedding as it is (of length 11 or so), the others one of length 1. Finished runs are not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

UNIT, FREE = "--normalize_embedding", "--nonormalize_embedding"
RECIPES = {
    "batch_hard": ["--margin=soft", UNIT],
    "class_hard": ["--margin=soft", FREE],
    "lifted": ["--margin=0.3", FREE],
    "batch_all": ["--margin=0.3", UNIT],
    "semi_hard": ["--margin=0.3", UNIT],
    "contrastive": ["--margin=1", UNIT],
    "circle": ["--margin=0.25", UNIT],
    "weighted": ["--margin=soft", FREE],
}


def train(loss: str, work_dir: Path) -> Path:
    run_dir = work_dir / loss
    flags = [f"--loss={loss}", "--head=bnneck", *RECIPES[loss]]
    places = [f"--data_dir={work_dir / 'synthetic'}", f"--run_dir={run_dir}"]
    command = [sys.executable, "-m", "keras_reid.train", "--flagfile=quickstart.flags", *places, *flags]
    print(" ".join(["python", *command[1:]]), flush=True)
    with open(work_dir / f"{loss}.log", "w") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
    return run_dir


def row_of(loss: str, run_dir: Path) -> str:
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    scores = {"untrained": evaluation["baselines"]["untrained"], **evaluation["scores"]}
    before, after, shipped = (scores[name]["mean_average_precision"] for name in ("untrained", "live", "tflite"))
    diagnosis = run_dir / "diagnosis.txt"
    said = diagnosis.read_text().splitlines()[0][:60] if diagnosis.exists() else "-"
    top1 = scores["live"]["top1"]
    return f"{loss:12} {before:10.2%} {after:8.2%} {shipped:8.2%} {top1:8.2%}   {said}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work_dir", type=Path, required=True)
    parser.add_argument("--losses", default=",".join(RECIPES))
    options = parser.parse_args()
    options.work_dir.mkdir(parents=True, exist_ok=True)
    rows = [row_of(loss, train(loss, options.work_dir)) for loss in options.losses.split(",")]
    table = "\n".join(["loss           mAP before    after   tflite    top-1   doctor", *rows])
    (options.work_dir / "table.txt").write_text(table + "\n")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
