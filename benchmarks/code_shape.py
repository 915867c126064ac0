"""Shape of the code: lines, files, the longest of each, wide signatures, and how often a rule or a model is made twice.

    python benchmarks/code_shape.py [ROOT] [--epoch]

ROOT is a checkout, this one by default; two checkouts are compared by running it on each. --epoch also trains two
epochs of a rendered set with that checkout and counts how often the shipped embedder is made in the scored one.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

_MOST_PARAMETERS = 8
# Where code asks whether a run is over: by the epochs it has shipped, or by the evaluations without a better score.
_FINISHED = re.compile(
    r"\bstopped_after\(|\bis_finished\(|\bfinished\b.* == |_finished\(|evaluation\[\"epochs\"\] ==|\bis_over\("
)
_EPOCH = """
import sys
from keras_reid import train
from keras_reid.training import trainer
make, made, root = trainer.TripletTrainer.shipped_embedder, [], sys.argv[1]
def counted(self):
    made.append(int(self.optimizer.iterations.numpy()))
    return make(self)
trainer.TripletTrainer.shipped_embedder = counted
code = train.main(["train", "--dataset=synthetic", f"--data_dir={root}/data", f"--run_dir={root}/run", "--epochs=2",
    "--synthetic_identities=12", "--identities_per_batch=3", "--images_per_identity=2", "--image_height=32",
    "--image_width=16", "--backbone_weights=none", "--evaluate_every=1", "--mixed_precision=float32",
    "--loss=circle", "--margin=0.25", "--normalize_embedding", "--noscore_baselines"])
assert code == 0, code
last = max(made)
print("shipped embedders made:", {step: made.count(step) for step in sorted(set(made))}, file=sys.stderr)
print("first epoch", made.count(min(step for step in made if step)))
"""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def parameters(function: ast.FunctionDef) -> int:
    """Returns how many parameters a caller sees: all but self and cls."""
    arguments = function.args
    names = [one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def shape(root: Path) -> dict[str, str]:
    """Returns what is counted in the package of a checkout, as text by name."""
    texts = {file.relative_to(root): file.read_text() for file in sorted((root / "keras_reid").rglob("*.py"))}
    lines = {file: text.count("\n") for file, text in texts.items()}
    found = [(node, file) for file, text in texts.items() for node in functions(ast.parse(text))]
    length = {(node.name, file): node.end_lineno - node.lineno + 1 for node, file in found}
    wide = [f"{node.name} {parameters(node)} ({file})" for node, file in found if parameters(node) > _MOST_PARAMETERS]
    (name, place), longest = max(length.items(), key=lambda item: item[1])
    file, most = max(lines.items(), key=lambda item: item[1])
    asked = [
        f"{file}:{number}"
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if _FINISHED.search(line) and "def " not in line
    ]
    tests = sum(file.read_text().count("\n") for file in (root / "tests").rglob("*.py"))
    return {
        "source lines": f"{sum(lines.values()):,}",
        "source files": str(len(lines)),
        "test lines": f"{tests:,}",
        "README lines": str((root / "README.md").read_text().count("\n")),
        "longest file": f"{file}, {most} lines",
        "longest function": f"{name} ({place}), {longest} lines",
        "median function": f"{median(length.values())} lines",
        f"functions of more than {_MOST_PARAMETERS} parameters": f"{len(wide)}: {'; '.join(wide)}",
        "modules that begin with Decides": str(sum(text.startswith('"""Decides') for text in texts.values())),
        'places that ask "is the run over"': f"{len(asked)}: {', '.join(asked)}",
    }


def embedders_made(root: Path) -> str:
    """Trains two small epochs with a checkout and returns how often its trainer made the embedder that ships."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _EPOCH, folder], cwd=root, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--epoch", action="store_true")
    arguments = parser.parse_args()
    rows = shape(arguments.root.resolve())
    if arguments.epoch:
        rows["shipped embedders made in a scored epoch"] = embedders_made(arguments.root.resolve())
    for name, value in rows.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
