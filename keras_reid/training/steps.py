"""Steps of a run: from the newest checkpoint to the last epoch, each epoch scored when it is due; then what ships."""

from __future__ import annotations

import contextlib
import os
import time

import pandas as pd
from tqdm import tqdm

from keras_reid.artifacts import describe_embedder
from keras_reid.data.images import FILE_ERRORS, raise_for_undecodable
from keras_reid.evaluation import confidence_intervals, mean_color_artifact
from keras_reid.evaluation.reference import ReferenceModel
from keras_reid.evaluation.scoring import Score, score
from keras_reid.interrupts import Interrupted
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.models.backbone import set_last_stride
from keras_reid.serving import DEFAULT_FORMATS, ShippingOptions, ship
from keras_reid.training.checkpoints import Checkpoints, GoOnInEpoch
from keras_reid.training.cluster import Cluster
from keras_reid.training.diagnosis import CollapseDoctor
from keras_reid.training.epoch_end import EpochEnd
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.layer_rates import FreezeBackbone
from keras_reid.training.phases import Phase, phase_at, steps_left
from keras_reid.training.profiling import ProfileSteps
from keras_reid.training.progress import Progress
from keras_reid.training.run_data import RunData
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.run_network import (
    build_trainer,
    check_augmentation,
    prepare_tensorflow,
    statistics_batches,
    training_batches,
)
from keras_reid.training.settings import Settings
from keras_reid.training.tensorboard import EmbeddingHistograms, draw_fixed_queries

# To write DEFAULT_FORMATS of a ResNet-50, on 2 CPU cores; its size does not depend on that of the images.
_WRITING_SECONDS = 20


class Steps:
    """The part of a run that needs TensorFlow: `restore`, `train` and `ship`, called in this order by all workers.

    Attributes:
        team: the replicas that train.
        precision: name of the Keras policy.
    """

    def __init__(self, folder: RunFolder, settings: Settings, data: RunData, cluster: Cluster):
        self._folder, self._log, self._settings, self._data = folder, EpochLog(folder), settings, data
        self.team = prepare_tensorflow(settings, cluster)
        self.precision = keras.mixed_precision.global_policy().name
        check_augmentation(settings)  # here, before the folder becomes this run's
        self._doctor = CollapseDoctor(**settings.some("identities_per_batch", "images_per_identity"), run=folder)
        with self.team.scope():
            self._trainer = build_trainer(settings, data, last_model=folder.last_model)
            more = {"watchers": {"doctor": self._doctor}, "best_step": self._log.best_step, "team": self.team}
            self._checkpoints = Checkpoints(folder.checkpoints, self._trainer, **more)
        self._last_stride = settings.phases[0].last_stride  # of the embedder now
        self._reference = ReferenceModel(self.team.devices)
        self._scoring_seconds: float | None = None  # of the untrained network, where this process scored it

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step, 0 for a run that begins."""
        return self._checkpoints.restore_newest()

    def train(self, step: int) -> tuple[int, Score]:
        """Trains from a step to the end of the run, or until a signal comes; returns the newest epoch and its score.

        The score is that of validation identities, where the run holds some out.
        """
        settings, steps = self._settings, self._data.batches.steps_per_epoch
        self._checkpoints.prune()  # a killed process may have left one too many
        asked = step == 0 and settings.score_baselines
        if self.team.chiefs(asked and "baselines" not in self._folder.read_evaluation()):
            self._score_baselines()
        progress = Progress(
            first_step=step,
            total_steps=steps * settings.epochs,
            steps_per_epoch=steps,
            batch_size=settings.identities_per_batch * settings.images_per_identity,
            steps_left=lambda step: steps_left(settings.phases, step, steps),
            seconds_besides=self._seconds_besides(step),
            team=self.team,
        )
        try:
            with contextlib.closing(progress):
                histograms = EmbeddingHistograms(self._data.batches.images)
                more = {"histograms": histograms, "draw": draw_fixed_queries, "team": self.team}
                parts = self._folder, settings, self._checkpoints, progress
                end = EpochEnd(*parts, score=self._score_epoch, **more)
                self._fit(progress, end)
        except FILE_ERRORS as error:
            raise_for_undecodable(list(self._data.batches.images.image_path), error)
        except Interrupted:
            if progress.step:
                self._checkpoints.save(progress.step)
            total = steps * settings.epochs
            print(f"stopped after step {progress.step} of {total}: the same command goes on from there.")
            raise
        self._checkpoints.prune()  # the last score may have made another one the best
        return end.newest

    def _fit(self, progress: Progress, end: EpochEnd) -> None:
        """Makes the steps that are left, and scores the epochs that a stopped run left without a score."""
        settings, steps = self._settings, self._data.batches.steps_per_epoch
        callbacks = [self._doctor, progress, end]
        if settings.freeze_backbone_epochs:
            callbacks.insert(0, FreezeBackbone(settings.freeze_backbone_epochs * steps))
        if settings.profile_steps and self.team.is_chief:
            callbacks.append(ProfileSteps(self._folder.tensorboard, steps=settings.profile_steps))
        epoch, made = divmod(progress.step, steps)
        due = epoch and not made and epoch % settings.evaluate_every == 0 and "val_top1" not in self._log.last_row()
        if self.team.chiefs(bool(due)):
            self._score_made(epoch, end)
        while progress.step < steps * settings.epochs:
            epoch, made = divmod(progress.step, steps)
            if not made and self.team.chiefs(self._log.state(**settings.some("epochs", "early_stop")).over):
                break
            phase = phase_at(settings.phases, epoch)
            self._enter(phase)
            if len(settings.phases) > 1:
                tqdm.write(str(phase))
            # A run that stopped inside an epoch first makes the rest of it. No name holds the batches, and their cache.
            self._trainer.fit(
                self.team.distribute(
                    training_batches(settings, self._data, phase, start_step=progress.step, team=self.team)
                ),
                initial_epoch=epoch,
                epochs=epoch + 1 if made else phase.end,
                steps_per_epoch=steps - made,
                callbacks=[*callbacks, *([GoOnInEpoch(self._trainer)] if made else [])],
                verbose=0,
            )
        epoch = progress.step // steps
        if end.newest[0] != epoch:
            self._score_made(epoch, end)

    def _score_made(self, epoch: int, end: EpochEnd) -> None:
        """Scores an epoch, counted from 1, that has been made, at the size of its images."""
        self._enter(phase_at(self._settings.phases, epoch - 1))
        end.score(epoch, self._trainer.shipped_embedder())

    def _enter(self, phase: Phase) -> None:
        """Has the trainer, and what ships of it, take images of a phase's size and augmentation, at its last stride."""
        if (phase.image_size, phase.last_stride) != (self._trainer.image_size, self._last_stride):
            if phase.last_stride != self._last_stride:
                set_last_stride(self._trainer.embedder, phase.last_stride)
                self._last_stride = phase.last_stride
            self._trainer.train_at(phase.image_size)
        self._trainer.statistics_batches = statistics_batches(self._settings, self._data, phase)
        if self.team.replicas > 1:  # inside `fit` the reference model would be spread over the replicas
            self._reference.artifact_of(self._trainer.shipped_embedder(renewed=False))

    def ship(self, epoch: int, newest: Score) -> Score:
        """Ships the network of the last epoch, scores what was shipped, and marks the run as finished.

        Args:
            epoch: the last.
            newest: its score.

        Returns:
            The score on query and gallery of what ships.
        """
        embedder, reference = self._trainer.shipped_embedder(), newest  # by all workers at once
        if self._data.validation is not None:
            print("scoring query and gallery", flush=True)
            reference = self._score(embedder)
            self._folder.record_evaluation({"validation": newest.result.to_dict()})
        if not self.team.is_chief:
            return reference
        folder, settings, scores = self._folder, self._settings, reference.result.to_dict()
        metadata = describe_embedder(embedder, dataset=settings.dataset_name, scores=scores)
        save_keras(embedder, folder.last_model, metadata=metadata)
        what = {"formats": DEFAULT_FORMATS, "metadata": metadata, "catalog": self._data.catalog}
        options = ShippingOptions(batch_size=settings.batch_size)
        paths, parities = ship(embedder, folder.export, **what, reference=reference, options=options)
        intervals = {name: parity["intervals"] for name, parity in parities.items()}
        summary = {
            "dataset": settings.dataset_name,
            "epochs": epoch,
            "exports": {name: os.path.relpath(path, folder.path) for name, path in paths.items()},
            "scores": {"live": scores, **{name: parity["scores"] for name, parity in parities.items()}},
            "intervals": {"live": confidence_intervals(reference.result), **intervals},
        }
        folder.record_evaluation(summary)
        return reference

    def _score_epoch(self, embedder: keras.Model) -> Score:
        """Scores an embedder on what the run chooses by: validation identities, or else query and gallery."""
        return self._score(embedder, self._data.validation)

    def _score(self, embedder: keras.Model, catalog: pd.DataFrame | None = None) -> Score:
        """Scores an embedder as it ships, by all workers at once: each device embeds a part."""
        rules = self._settings.some("missing_cameras", "batch_size")
        catalog = self._data.catalog if catalog is None else catalog
        return score(self._reference.artifact_of(embedder), catalog, **rules, team=self.team)

    def _score_baselines(self) -> None:
        """Scores the network as it is before training, and the mean color of an image."""
        print("scoring the baselines: untrained network, mean color", flush=True)
        began = time.perf_counter()
        untrained = self._score(self._trainer.shipped_embedder())
        self._scoring_seconds = time.perf_counter() - began
        rules = self._settings.some("missing_cameras")
        mean_color = score(mean_color_artifact(), self._data.catalog, **rules)
        scores = {"untrained": untrained.result.to_dict(), "mean colour": mean_color.result.to_dict()}
        self._folder.record_evaluation({"baselines": scores})

    def _seconds_besides(self, step: int) -> float | None:
        """Returns what scoring and export will take from a step on, at the pace of the first scoring; None without."""
        if self._scoring_seconds is None:
            return None
        epochs, every = self._settings.epochs, self._settings.evaluate_every
        ahead = range(step // self._data.batches.steps_per_epoch + 1, epochs + 1)
        scorings = sum(epoch % every == 0 or epoch == epochs for epoch in ahead) + len(DEFAULT_FORMATS)
        if self._data.validation is not None:  # few images: only the last network is scored on query and gallery
            scorings = 1 + len(DEFAULT_FORMATS)
        return scorings * self._scoring_seconds + _WRITING_SECONDS
