"""Run folder: where everything of a run lies, whose run it is, and the records in it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from keras_reid.errors import ReidError
from keras_reid.files import is_leftover, remove_leftovers, write_text
from keras_reid.training.settings import FREE, as_written_now

# Four checkpoints of weights, two moments and perhaps an average, 0.3 to 0.4 GB each (the newest two, the best, the one
# being written), and five copies of the weights.
_BYTES_NEEDED = 2_000_000_000
_LOCK = ".lock"  # there while a process trains in the folder
_STEP = re.compile(r"\bstep (\d+)")  # of a diagnosis


class RunFolder:
    """Flags, checkpoints, metrics, models, exports, scores, card and diagnosis of one run.

    Args:
        path: of the folder.
        writes: False for all workers but the chief: they read the folder, and what they would record is dropped.
    """

    def __init__(self, path: str | os.PathLike, *, writes: bool = True):
        self.path, self.writes = Path(path), writes
        self.flags = self.path / "run.flags"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.csv"
        self.times = self.path / "times.csv"
        self.curves = self.path / "curves.png"
        self.tensorboard = self.path / "tensorboard"
        self.last_model = self.path / "last.keras"
        self.best_model = self.path / "best.keras"
        self.export = self.path / "export"
        self.evaluation = self.path / "evaluation.json"
        self.diagnosis = self.path / "diagnosis.txt"
        self.report = self.path / "report.html"
        self._lock = FileLock(self.path / _LOCK)
        self.card, self.card_text = self.path / "run_card.json", self.path / "run_card.md"

    def check(
        self,
        flags: Mapping[str, str],
        *,
        resume: str,
        allow_flag_changes: bool,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        """Makes sure that the folder is free, or holds the run that the same flags began; writes nothing.

        Args:
            flags: name -> text, as `Settings.as_text` returns them.
            resume: as in `Run`.
            allow_flag_changes: as in `Run`.
            defaults: values of flags that an older version, which began the run, did not have.

        Raises:
            ReidError: the folder holds another run or other files, resume does not fit, or the disk is too full.
        """
        holds_run, name = self.flags.exists(), str(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise ReidError(f"run_dir={name} is a file, expected a folder.")
        inside = self.path.iterdir() if self.path.is_dir() else ()
        if not holds_run and not all(is_leftover(path) or path.name == _LOCK for path in inside):
            raise ReidError(f"{name!r} is not empty and holds no run. Set run_dir to a new or empty folder.")
        if resume == "required" and not holds_run:
            raise ReidError(f"resume=required, but {name!r} holds no run. Check run_dir.")
        if resume == "never" and holds_run:
            raise ReidError(f"resume=never, but {name!r} holds a run. Set run_dir to a new folder.")
        if holds_run and not allow_flag_changes:
            self._refuse_other_flags(flags, defaults or {})
        self._refuse_unwritable()

    def begin(self, flags: Mapping[str, str]) -> None:
        """Makes and locks the folder, and writes `run.flags`; ReidError where another process trains in it."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        remove_leftovers(self.path)
        lines = [f"--{name}={value}\n" for name, text in sorted(flags.items()) for value in text.split("\n")]
        write_text(self.flags, "".join(lines))

    def read_flags(self) -> dict[str, str]:
        """Returns the flags of the run that the folder holds, name -> text, as `Settings.as_text` returns them."""
        if not self.flags.exists():
            raise ReidError(f"{str(self.path)!r} holds no run: it has no run.flags.")
        lines = self.flags.read_text(encoding="utf-8", errors="replace").splitlines()
        held = {}
        for name, value in (line[2:].split("=", 1) for line in lines if line.startswith("--") and "=" in line):
            held[name] = f"{held[name]}\n{value}" if name in held else value
        if not {"dataset", "data_dir"} <= held.keys():
            raise ReidError(f"{str(self.flags)!r} is damaged: it names no dataset. Give a new run_dir.")
        return held

    def lock(self) -> None:
        """Keeps other processes out of the folder until `close`; ReidError where another one trains in it."""
        if not self.writes or self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ReidError(
                f"another process trains in {str(self.path)!r}: wait for it, stop it, or set another run_dir."
            ) from error
        except (OSError, NotImplementedError):  # a file system without locks, or one that cannot be written
            return

    def close(self) -> None:
        """Lets other processes in again."""
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is ours: whoever comes next makes a new one
            self._lock.release()

    def _refuse_other_flags(self, flags: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        held = {**defaults, **as_written_now(self.read_flags())}
        names = [name for name in (held.keys() | flags.keys()) - FREE if held.get(name) != flags.get(name)]
        changed = [f"{_setting(name, held)} there and {_setting(name, flags)} now" for name in sorted(names)]
        if changed:
            raise ReidError(
                f"{str(self.path)!r} holds another run: {'; '.join(changed)}. Set run_dir to a new folder, give the "
                "same flags, or go on all the same with allow_flag_changes."
            )

    def _refuse_unwritable(self) -> None:
        held = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        there = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        if not os.access(there, os.W_OK):
            raise ReidError(f"run_dir={self.path} cannot be written: no permission in {str(there)!r}.")
        free = shutil.disk_usage(there).free
        if held + free < _BYTES_NEEDED:
            raise ReidError(
                f"{free / 1e9:.1f} GB are free at {str(self.path)!r}, a run needs {_BYTES_NEEDED / 1e9:.1f} GB for its "
                "checkpoints and exports. Free some space or set run_dir to another disk."
            )

    def forget_after(self, step: int) -> None:
        """Drops events and diagnoses of later steps, which a run that goes on from this one makes again."""
        if not self.writes:
            return
        for path in self.tensorboard.glob("events.out.tfevents.*"):
            number = path.name.split(".")[3]
            if number.isdecimal() and len(number) == 8 and int(number) > step:
                path.unlink()
        lines = self.read_diagnosis()
        kept = [line for line in lines if int((_STEP.search(line) or ["", 0])[1]) <= step]
        if kept != lines:
            write_text(self.diagnosis, "".join(f"{line}\n" for line in kept))

    def record_evaluation(self, evaluation: Mapping) -> None:
        """Adds keys to `evaluation.json`."""
        if self.writes:
            write_text(self.evaluation, json.dumps({**self.read_evaluation(), **evaluation}, indent=2) + "\n")

    def read_evaluation(self) -> dict:
        """Returns `evaluation.json`, empty before anything was scored."""
        return read_json(self.evaluation, lambda evaluation: "epochs" not in evaluation or _is_whole(evaluation))

    def record_diagnosis(self, line: str) -> None:
        """Adds a line to `diagnosis.txt`."""
        if self.writes:
            write_text(self.diagnosis, "".join(f"{line}\n" for line in [*self.read_diagnosis(), line]))

    def read_diagnosis(self) -> list[str]:
        """Returns the lines of `diagnosis.txt`."""
        return self.diagnosis.read_text(errors="replace").splitlines() if self.diagnosis.exists() else []


def read_json(path: Path, is_whole: Callable[[dict], bool]) -> dict:
    """Returns the object in a JSON file, empty where there is none; ReidError where it is damaged."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not is_whole(content):
            raise ValueError("it lacks what a run writes")
    except ValueError as error:
        raise ReidError(f"{str(path)!r} is damaged ({error}). Delete it: it is made again.") from error
    return content


def _setting(name: str, flags: Mapping[str, str]) -> str:
    return f"{name}={flags[name]}".replace("\n", ", ") if name in flags else f"{name} not set"


def _is_whole(evaluation: Mapping) -> bool:
    """Whether the evaluation of a finished run has all that is read of it."""
    scores = evaluation.get("scores")
    whole = isinstance(evaluation.get("exports"), dict) and "dataset" in evaluation
    whole = whole and isinstance(scores, dict) and "live" in scores
    return whole and all("queries" in score for score in scores.values())
