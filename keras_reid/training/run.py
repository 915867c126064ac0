"""Training run: data, network, steps, scores and exports, all in one folder; it goes on where it stopped.

    from keras_reid.training import Run, Settings

    settings = Settings(dataset="synthetic", data_dir="data/people", run_dir="runs/first", backbone_weights="none")
    scores = Run(settings).train()["scores"]

TensorFlow is loaded once all has been checked that needs none.
"""

from __future__ import annotations

import contextlib

from keras_reid.data.fingerprint import fingerprint
from keras_reid.data.readers.sources import license_notes
from keras_reid.errors import ReidError
from keras_reid.interrupts import Interrupted
from keras_reid.training.cluster import Cluster, read_cluster
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_card import begin_card, read_card, update_card
from keras_reid.training.run_data import RunData, read_run_data
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.settings import Settings


class Run:
    """One training run, from its data to the scored exports.

    Args:
        settings: what it trains on, what it learns by, and where it lies; `data_dir` and `run_dir` must be set.
        resume: "auto" goes on with a run in the folder, "required" refuses a folder without one, "never" a folder with
            a run.
        allow_flag_changes: go on with a run although the settings differ from those it began with.

    Raises:
        ReidError: `data_dir` or `run_dir` is not set.
    """

    def __init__(self, settings: Settings, *, resume: str = "auto", allow_flag_changes: bool = False):
        for name, folders in (("data_dir", settings.data_dir), ("run_dir", [settings.run_dir])):
            if not folders or not all(folders):
                raise ReidError(f"{name} is not set, expected a folder.")
        self.settings = settings
        self._resume, self._allow_flag_changes = resume, allow_flag_changes

    def train(self) -> dict:
        """Trains what is left of the run, ships the network, scores what was shipped, and prints the table.

        Several workers, each its own process, call it at once; TF_CONFIG names them.

        Returns:
            The content of `evaluation.json`: `scores` of the reference model (`live`) and of each export, `baselines`,
            `intervals`, paths of the `exports` in the run folder.

        Raises:
            ReidError: the folder holds another run, data or settings are refused, or what ships falls short.
            Interrupted: by a signal, where a command lets signals in; the same call goes on.
        """
        cluster = read_cluster(self.settings.strategy)
        with cluster.one_voice(), cluster.missing_named():
            with contextlib.closing(RunFolder(self.settings.run_dir, writes=cluster.is_chief)) as folder:
                self._train(folder, cluster)
                return folder.read_evaluation()

    def _train(self, folder: RunFolder, cluster: Cluster) -> None:
        settings, text = self.settings, self.settings.as_text()
        # --- All that can be checked before TensorFlow is loaded.
        if folder.flags.exists():
            folder.lock()
        options = {"resume": self._resume, "allow_flag_changes": self._allow_flag_changes}
        folder.check(text, defaults=Settings().as_text(), **options)
        data = read_run_data(settings, cluster)
        if EpochLog(folder).state(**settings.some("epochs", "early_stop")).finished:
            card = read_card(folder)
            if not card and cluster.is_chief:
                _begin_card(folder, settings, data, 0, precision=settings.mixed_precision)
            if not card.get("finished"):  # the process was killed after the scores, or somebody deleted the card
                _keep_record(folder)
            if cluster.is_chief and not folder.report.exists():
                _draw_page(folder, settings, data)
            _report(folder, settings)
            return

        # --- The network, and where its run stopped.
        from keras_reid.training.steps import Steps

        steps = Steps(folder, settings, data, cluster)
        step = steps.restore()
        self._check_step(folder, data, step)

        # --- From here on the folder is this run's.
        folder.begin(text)
        folder.forget_after(step)
        EpochLog(folder).forget_after(step)
        if cluster.is_chief:
            _begin_card(folder, settings, data, step, precision=steps.precision)
        try:
            newest = steps.train(step)
            if cluster.is_chief:
                with contextlib.suppress(OSError):
                    folder.report.unlink()  # of the run when it had fewer epochs
            scored = steps.ship(*newest)
        except (Interrupted, ReidError):
            with contextlib.suppress(OSError, ReidError):  # a full disk, for example, stops this as well
                _keep_record(folder)
            raise
        _keep_record(folder)
        if cluster.is_chief:
            _draw_page(folder, settings, data, scored)
            _report(folder, settings)
        steps.team.wait()

    def _check_step(self, folder: RunFolder, data: RunData, step: int) -> None:
        """Raises ReidError where the run cannot go on from a step; prints the step where it can."""
        settings, steps_per_epoch = self.settings, data.batches.steps_per_epoch
        total = steps_per_epoch * settings.epochs
        if step == 0 and (folder.last_model.exists() or self._resume == "required"):
            raise ReidError(f"{settings.run_dir!r} has no checkpoint to go on from: restore it, or set a new run_dir.")
        if step > total:
            made = step // steps_per_epoch
            raise ReidError(f"epochs={settings.epochs}, but the run has made {made} epochs: give at least as many.")
        before = read_card(folder).get("steps_per_epoch", steps_per_epoch)
        if step and before != steps_per_epoch and not self._allow_flag_changes:
            raise ReidError(
                f"an epoch of this run was {before} steps and is {steps_per_epoch} now: data_dir holds other training "
                "images. Restore them, set a new run_dir, or go on all the same with allow_flag_changes."
            )
        if step:
            print(f"going on after step {step} of {total}", flush=True)


def _begin_card(folder: RunFolder, settings: Settings, data: RunData, step: int, *, precision: str) -> None:
    """Writes what the run card can say before training, and prints how the data have changed since the run stopped."""
    from keras_reid.training.environment import environment

    started_from = {"none": "from scratch", "imagenet": "from ImageNet weights (keras-cv's)"}
    facts = {
        "dataset": settings.dataset_name,
        "command": settings.as_command(),
        "flags": settings.as_text(absolute_paths=False),
        "seed": settings.seed,
        "steps_per_epoch": data.batches.steps_per_epoch,
        "started_from": started_from.get(settings.backbone_weights, f"from {settings.backbone_weights}"),
        "licence_notes": license_notes(settings.dataset_name),
    }
    place, images = {**environment(), "precision": precision}, fingerprint(data.catalog, settings.datasets)
    change = begin_card(folder, facts, step=step, data=images, environment=place)
    if change:
        print(change, flush=True)


def _keep_record(folder: RunFolder) -> None:
    """Brings the curves and the run card up to date."""
    from keras_reid.training.curves import draw_curves

    if folder.writes:
        draw_curves(folder)
        update_card(folder)


def _draw_page(folder: RunFolder, settings: Settings, data: RunData, scored=None) -> None:
    """Writes `report.html`; `scored` is the `Score` of `last.keras`, where this process made it."""
    from keras_reid.training.run_page import write_run_page

    write_run_page(folder, settings, data.catalog, scored)


def _report(folder: RunFolder, settings: Settings) -> None:
    """Prints the table of a finished run, and where everything lies."""
    from keras_reid.evaluation import scores_table

    evaluation, why = folder.read_evaluation(), ""
    if EpochLog(folder).state(**settings.some("epochs", "early_stop")).stopped_early:
        why = f", stopped early: no better mAP in {settings.early_stop} evaluations (early_stop)"
    print(f"\n{evaluation['dataset']}, after epoch {evaluation['epochs']}{why}")
    print(scores_table({**evaluation.get("baselines", {}), **evaluation["scores"]}))
    for line in folder.read_diagnosis():
        print(f"diagnosis at {line}")
    files = (folder.report, folder.card_text, folder.curves, folder.evaluation, folder.metrics)
    there = [file.name for file in (*files, folder.last_model, folder.best_model) if file.exists()]
    names = there + list(evaluation["exports"].values())
    print(f"this run is finished; all of it lies in {folder.path}: {', '.join(names)}")
