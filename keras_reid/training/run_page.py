"""Page of a run, `report.html`, and what pages of its artifacts take from the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_reid.artifacts import open_artifact
from keras_reid.data.fingerprint import changed_splits, fingerprint
from keras_reid.errors import ReidError, first_line
from keras_reid.evaluation import Report, Score, score
from keras_reid.evaluation.report import per_query
from keras_reid.reports.page import Record, write_page
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_card import read_card
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.settings import Settings


def write_run_page(folder: RunFolder, settings: Settings, catalog: pd.DataFrame, scored: Score | None = None) -> None:
    """Writes the page of a finished run. What keeps it from being written is told, and does the run no harm.

    Args:
        folder: of the run.
        settings: of the run.
        catalog: that it was scored on.
        scored: of its `last.keras`; None: that is scored now.
    """
    print(f"drawing {folder.report.name}", flush=True)
    try:
        artifact = open_artifact(folder.last_model)
        scored = scored or score(artifact, catalog, **settings.some("missing_cameras", "batch_size"))
        what = {"title": settings.dataset_name, "source": str(folder.path), "seed": settings.seed}
        what |= {"artifact": artifact, "threshold": artifact.threshold, "record": read_record(folder)}
        write_page(folder.report, scored.embedded, _report(scored), **what)
    except Exception as error:  # all else of the run is written: no page is worth an end in failure
        print(f"{folder.report.name} was not written ({first_line(error)}): the same command tries again", flush=True)


def _report(scored: Score) -> Report:
    try:
        verification = scored.verify()
    except ReidError:  # there are no two identities to compare
        verification = None
    names = per_query(scored.embedded.query, scored.result)
    return Report(scored.result, names, scored.rules, verification=verification)


def read_record(folder: RunFolder) -> Record:
    """Returns what a run folder knows of its run."""
    return Record(folder.read_evaluation().get("baselines", {}), EpochLog(folder).metrics(), read_card(folder))


def record_of_artifact(path: str, catalog: pd.DataFrame, sets: Sequence[tuple[str, str]]) -> Record:
    """Returns what is known of the run that an artifact lies in; empty where it lies in none, or its files are damaged.

    Args:
        path: of a run folder, or of an artifact below one.
        catalog: that the artifact is scored on; the run's baselines are left out where that is another one.
        sets: name and folder of the datasets in the catalog.
    """
    place = Path(path).absolute()
    folder = next((one for one in (place, *place.parents[:3]) if (one / "run.flags").exists()), None)
    if folder is None:
        return Record()
    try:
        record = read_record(RunFolder(folder))
        data = record.card.get("data")
        same = data and not changed_splits(data[-1], fingerprint(catalog, sets), only=("query", "gallery"))
    except (ReidError, OSError):
        return Record()
    return record if same else Record(metrics=record.metrics, card=record.card)
