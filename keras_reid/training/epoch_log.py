"""Epoch log of a run: a row for each epoch in `metrics.csv`, its times in `times.csv`; and whether the run is over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from keras_reid.errors import ReidError
from keras_reid.files import write_text
from keras_reid.training.run_folder import RunFolder

BEST_BY = "val_mean_average_precision"
# Columns of `times.csv`; all other numbers of an epoch are the same in each run of the same settings.
TIMES = ("steps", "seconds", "seconds_between", "seconds_per_step", "images_per_second", "waiting_share")


class RunState(NamedTuple):
    """How far a run has come."""

    epochs: int  # made so far
    stopped_early: bool  # it ends after the newest for want of a better score
    over: bool  # no epoch is left to train
    finished: bool  # it is over, and its newest epoch was shipped and scored


class EpochLog:
    """The numbers of each epoch of the run in a folder; only the chief among several workers writes them."""

    def __init__(self, run: RunFolder):
        self._run = run

    def record(self, numbers: Mapping[str, float]) -> None:
        """Writes an epoch's row in place of its old one and of later ones; numbers of `TIMES` go to `times.csv`."""
        if not self._run.writes:
            return
        _replace_row(self._run.metrics, {name: value for name, value in numbers.items() if name not in TIMES})
        times = {name: value for name, value in numbers.items() if name in ("epoch", "step", *TIMES)}
        if len(times) > 2:
            _replace_row(self._run.times, times)

    def forget_after(self, step: int) -> None:
        """Drops the rows of epochs that ended after this step."""
        for path in (self._run.metrics, self._run.times) if self._run.writes else ():
            rows = _read_rows(path)
            if len(rows) and rows.step.iloc[-1] > step:
                write_text(path, rows[rows.step <= step].to_csv(index=False))

    def metrics(self) -> pd.DataFrame:
        """Returns `metrics.csv`: a row an epoch, empty before the first."""
        return _read_rows(self._run.metrics)

    def times(self) -> pd.DataFrame:
        """Returns `times.csv`, likewise."""
        return _read_rows(self._run.times)

    def last_row(self) -> dict:
        """Returns the newest row of `metrics.csv`, name -> number; numbers that are missing are left out."""
        metrics = self.metrics()
        return metrics.iloc[-1].dropna().to_dict() if len(metrics) else {}

    def best_row(self) -> dict:
        """Returns the row of `metrics.csv` with the highest mAP, the first of equals; empty before any score."""
        metrics = self.metrics()
        if BEST_BY not in metrics or metrics[BEST_BY].isna().all():
            return {}
        return metrics.loc[metrics[BEST_BY].idxmax()].dropna().to_dict()

    def best_step(self) -> int | None:
        """Returns the steps made when the network was best."""
        row = self.best_row()
        return int(row["step"]) if row else None

    def state(self, *, epochs: int, early_stop: int) -> RunState:
        """Returns how far a run with these settings has come."""
        shipped = self._run.read_evaluation().get("epochs", 0)
        made = int(self.last_row().get("epoch", shipped))
        stopped = self._stopped_after(early_stop)
        over = made == epochs or stopped is not None
        return RunState(made, made == stopped, over, finished=over and 0 < made == shipped)

    def _stopped_after(self, evaluations: int) -> int | None:
        """Returns the epoch of the n-th evaluation in a row without a better mAP; None before that."""
        best, since = float("-inf"), 0
        metrics = self.metrics()
        if not evaluations or BEST_BY not in metrics:
            return None
        for epoch, score in zip(metrics.epoch, metrics[BEST_BY]):
            if score == score:  # not an epoch without a score
                best, since = max(best, score), 0 if score > best else since + 1
            if since == evaluations:
                return int(epoch)
        return None


def _replace_row(path: Path, row: Mapping[str, float]) -> None:
    rows, newest = _read_rows(path), pd.DataFrame([row])
    rows = rows[rows.epoch < row["epoch"]]
    rows = pd.concat([rows, newest], ignore_index=True) if len(rows) else newest
    whole = {name: int for name in ("epoch", "step", "steps") if name in rows}
    write_text(path, rows.astype(whole).to_csv(index=False))


def _read_rows(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=["epoch", "step"])
    try:
        # The file is read and written again each epoch: no digit may drift.
        rows = pd.read_csv(path, float_precision="round_trip")
        if rows.empty:  # all epochs were forgotten; its columns have no types
            return pd.DataFrame(columns=["epoch", "step"])
        for column in ("epoch", "step"):
            if column not in rows or not pd.api.types.is_integer_dtype(rows[column]):
                raise ValueError(f"no column {column} of whole numbers")
        if not all(map(pd.api.types.is_numeric_dtype, rows.dtypes)):
            raise ValueError("text among its numbers")
    except ValueError as error:  # also pandas' parser errors
        raise ReidError(f"{str(path)!r} is damaged ({error}). Delete it to go on without it.") from error
    return rows
