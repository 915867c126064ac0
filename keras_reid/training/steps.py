"""Steps of a run: from the newest checkpoint to the last epoch, each epoch scored when it is due; then what ships."""

from __future__ import annotations

import os

from keras_reid.artifacts import describe_embedder
from keras_reid.data.images import FILE_ERRORS, raise_for_undecodable
from keras_reid.evaluation import confidence_intervals, mean_color_artifact
from keras_reid.evaluation.reference import ReferenceModel
from keras_reid.evaluation.score import Score, score
from keras_reid.interrupts import Interrupted
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.serving import DEFAULT_FORMATS, ShippingOptions, ship
from keras_reid.training.checkpoints import Checkpoints, GoOnInEpoch
from keras_reid.training.cluster import Cluster
from keras_reid.training.diagnosis import CollapseDoctor
from keras_reid.training.epoch_end import EpochEnd
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.layer_rates import FreezeBackbone
from keras_reid.training.profiling import ProfileSteps
from keras_reid.training.progress import Progress
from keras_reid.training.run_data import RunData
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.run_network import build_trainer, check_augmentation, prepare_tensorflow, training_batches
from keras_reid.training.settings import Settings
from keras_reid.training.tensorboard import EmbeddingHistograms


class Steps:
    """The part of a run that needs TensorFlow: `restore`, `make`, `ship`, in this order.

    Args:
        folder: of the run.
        settings: of the run.
        data: of the run.
        cluster: the workers, each of which makes the same calls.

    Attributes:
        team: the replicas that train.
        precision: name of the policy.
    """

    def __init__(self, folder: RunFolder, settings: Settings, data: RunData, cluster: Cluster):
        self._folder, self._log, self._settings, self._data = folder, EpochLog(folder), settings, data
        self.team = prepare_tensorflow(settings, cluster)
        self.precision = keras.mixed_precision.global_policy().name
        check_augmentation(settings)  # refused here, not when the folder is a run's
        self._doctor = CollapseDoctor(**settings.some("identities_per_batch", "images_per_identity"), run=folder)
        with self.team.scope():
            self._trainer = build_trainer(settings, data)
            self._checkpoints = Checkpoints(
                folder.checkpoints,
                self._trainer,
                watchers={"doctor": self._doctor},
                best_step=self._log.best_step,
                team=self.team,
            )
        self._reference = ReferenceModel(self.team.devices)
        self._first_step, self._newest_score = 0, (0, None)

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step, 0 for a run that begins."""
        self._first_step = self._checkpoints.restore_newest()
        return self._first_step

    def make(self) -> None:
        """Trains from the restored step to the last one, and scores the last epoch; stops on a signal."""
        settings, steps = self._settings, self._data.batches.steps_per_epoch
        total = steps * settings.epochs
        self._checkpoints.prune()  # what a kill kept from being removed
        if self.team.replicas > 1:  # inside `fit` the reference model would be spread over the replicas
            self._reference.artifact_of(self._trainer.shipped_embedder())
        asked = self._first_step == 0 and settings.score_baselines
        if self.team.chiefs(asked and "baselines" not in self._folder.read_evaluation()):
            self._score_baselines()
        batch_size = settings.identities_per_batch * settings.images_per_identity
        sizes = {"total_steps": total, "steps_per_epoch": steps, "batch_size": batch_size}
        progress = Progress(first_step=self._first_step, **sizes, team=self.team)
        try:
            histograms = EmbeddingHistograms(self._data.batches.images, image_size=settings.image_size)
            more = {"score": self._score_epoch, "histograms": histograms, "team": self.team}
            end = EpochEnd(self._folder, settings, self._checkpoints, progress, **more)
            end.set_model(self._trainer)
            callbacks = self._callbacks(progress, end)
            epoch, made = divmod(progress.step, steps)
            due = epoch and not made and epoch % settings.evaluate_every == 0 and "val_top1" not in self._log.last_row()
            if self.team.chiefs(bool(due)):  # it stopped between the epoch and its scores
                end.score(epoch, self._trainer.shipped_embedder())
            while progress.step < total:
                epoch, made = divmod(progress.step, steps)
                if not made and self.team.chiefs(self._is_over()):
                    break
                batches = training_batches(settings, self._data, start_step=progress.step, team=self.team)
                # A run that stopped inside an epoch first makes the rest of it.
                self._trainer.fit(
                    self.team.distribute(batches),
                    initial_epoch=epoch,
                    epochs=epoch + 1 if made else settings.epochs,
                    steps_per_epoch=steps - made,
                    callbacks=[*callbacks, *([GoOnInEpoch(self._trainer)] if made else [])],
                    verbose=0,
                )
            epoch = progress.step // steps
            if self._newest_score[0] != epoch:
                end.score(epoch, self._trainer.shipped_embedder())
        except FILE_ERRORS as error:
            raise_for_undecodable(list(self._data.batches.images.image_path), error)
        except Interrupted:
            progress.close()
            if progress.step:
                self._checkpoints.save(progress.step)
            print(f"stopped after step {progress.step} of {total}: the same command goes on from there.")
            raise
        finally:
            progress.close()
        self._checkpoints.prune()  # the last score may have told which is the best

    def ship(self) -> None:
        """Ships the network of the last epoch, scores what was shipped, and marks the run as finished."""
        embedder = self._trainer.shipped_embedder()  # by all workers at once
        if not self.team.is_chief:
            return
        folder, settings, (epoch, reference) = self._folder, self._settings, self._newest_score
        scores = reference.result.to_dict()
        metadata = describe_embedder(embedder, dataset=settings.dataset_name, scores=scores)
        save_keras(embedder, folder.last_model, metadata=metadata)
        what = {"formats": DEFAULT_FORMATS, "metadata": metadata, "catalog": self._data.catalog}
        options = ShippingOptions(batch_size=settings.batch_size)
        paths, parities = ship(embedder, folder.export, **what, reference=reference, options=options)
        summary = {
            "dataset": settings.dataset_name,
            "epochs": epoch,
            "exports": {name: os.path.relpath(path, folder.path) for name, path in paths.items()},
            "scores": {"live": scores, **{name: parity["scores"] for name, parity in parities.items()}},
            "intervals": {
                "live": confidence_intervals(reference.result),
                **{name: parity["intervals"] for name, parity in parities.items()},
            },
        }
        folder.record_evaluation(summary)

    def _callbacks(self, progress: Progress, end: EpochEnd) -> list[keras.callbacks.Callback]:
        settings, callbacks = self._settings, [self._doctor, progress, end]
        if settings.freeze_backbone_epochs:
            callbacks.insert(0, FreezeBackbone(settings.freeze_backbone_epochs * self._data.batches.steps_per_epoch))
        if settings.profile_steps and self.team.is_chief:
            callbacks.append(ProfileSteps(self._folder.tensorboard, steps=settings.profile_steps))
        return callbacks

    def _is_over(self) -> bool:
        settings = self._settings
        return self._log.state(epochs=settings.epochs, early_stop=settings.early_stop).over

    def _score_epoch(self, epoch: int, embedder: keras.Model) -> Score:
        self._newest_score = (epoch, self._score(embedder))
        return self._newest_score[1]

    def _score(self, embedder: keras.Model) -> Score:
        """Scores an embedder as it ships, by all workers at once: each device embeds a part."""
        rules = self._settings.some("missing_cameras", "batch_size")
        return score(self._reference.artifact_of(embedder), self._data.catalog, **rules, team=self.team)

    def _score_baselines(self) -> None:
        """Scores the network as it is before training, and the mean color of an image."""
        print("scoring the baselines: untrained network, mean color", flush=True)
        untrained = self._score(self._trainer.shipped_embedder())
        rules = {"missing_cameras": self._settings.missing_cameras}
        mean_color = score(mean_color_artifact(), self._data.catalog, **rules)
        scores = {"untrained": untrained.result.to_dict(), "mean colour": mean_color.result.to_dict()}
        self._folder.record_evaluation({"baselines": scores})
