"""End of an epoch: all that a run then does, in order: log, checkpoint, model, score, best model, curves."""

from __future__ import annotations

import time
from collections.abc import Callable

from tqdm import tqdm

from keras_reid.evaluation.scoring import Score
from keras_reid.keras2 import keras
from keras_reid.models import save_keras
from keras_reid.training.checkpoints import Checkpoints
from keras_reid.training.curves import draw_curves
from keras_reid.training.epoch_log import BEST_BY, TIMES, EpochLog
from keras_reid.training.progress import Progress
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.settings import Settings
from keras_reid.training.strategy import Team, outside_scope
from keras_reid.training.tensorboard import EmbeddingHistograms, write_events

_DRAWING_TAKES = 0.05  # largest share of the time: where epochs are short, several share a picture
_REPORT = (
    "epoch {epoch}: loss {loss:.4f}, {active_triplets:.1%} of triplets active, hardest positive "
    "{hardest_positive_distance:.3f}, hardest negative {hardest_negative_distance:.3f}, norm {embedding_norm:.3f}, "
    "learning rate {learning_rate:.2e}, {images_per_second:.0f} images/s, waiting {waiting_share:.0%}"
)


class EpochEnd(keras.callbacks.Callback):
    """What a run does after each epoch; and inside one, the checkpoint of every n-th step.

    Args:
        run: the run's folder.
        settings: evaluate_every, early_stop, epochs, save_every_steps.
        checkpoints: of the trainer.
        progress: counts the steps; precedes this in the list of callbacks.
        score: returns the score of the embedder that would ship; all workers call it at once.
        histograms: of the embeddings of some training images; None leaves them out.
        draw: returns a picture of a score for TensorBoard, the content of a PNG file; None leaves it out.
        team: the replicas that train: all stop early with the chief.

    Attributes:
        newest: the epoch that was scored last, counted from 1, and its score.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: Settings,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        score: Callable[[keras.Model], Score],
        histograms: EmbeddingHistograms | None = None,
        draw: Callable[[Score], bytes] | None = None,
        team: Team | None = None,
    ):
        super().__init__()
        self._run, self._log, self._settings = run, EpochLog(run), settings
        self._checkpoints, self._progress, self._score = checkpoints, progress, score
        self._histograms, self._draw, self._team = histograms, draw, team or Team()
        self._next_picture = 0.0
        self.newest: tuple[int, Score | None] = (0, None)

    def on_train_batch_end(self, batch, logs=None):
        every = self._settings.save_every_steps
        inside_epoch = batch + 1 < self.params["steps"]  # the last step's is written with its epoch
        if every and inside_epoch and self._progress.step % every == 0:
            self._checkpoints.save(self._progress.step)

    def on_epoch_end(self, epoch, logs=None):
        epoch, step, settings = epoch + 1, self._progress.step, self._settings
        numbers = {name: float(value) for name, value in logs.items()}
        numbers = {"epoch": epoch, "step": step, **numbers, **self._progress.epoch_times()}
        is_due = epoch % settings.evaluate_every == 0
        embedder = self.model.shipped_embedder(renewed=is_due)  # by all workers at once
        # Log and events come before the checkpoint: a run that goes on from it lacks none of them.
        self._log.record(numbers)
        if self._run.writes:
            self._write_events(embedder, numbers)
        self._checkpoints.save(step)
        if self._run.writes:  # after the checkpoint: where there is a model, the run can go on
            outside_scope(save_keras, embedder, self._run.last_model)
        tqdm.write(_REPORT.format(**numbers))
        self._progress.let_go()  # scoring may take minutes: a run that stops here does it when it goes on
        if is_due:
            self.score(epoch, embedder)
        self._draw_curves()
        self._progress.let_go()
        # From the log alone: a run that goes on stops at the same epoch.
        if settings.early_stop and self._team.chiefs(self._log.state(**settings.some("epochs", "early_stop")).over):
            self.model.stop_training = True

    def score(self, epoch: int, embedder: keras.Model) -> None:
        """Scores the newest epoch, adds the scores to its row and to TensorBoard, and keeps the model that is best.

        Args:
            epoch: counted from 1.
            embedder: as it ships after that epoch.
        """
        self.newest = epoch, self._score(embedder)
        scores, row = self.newest[1].logs(), self._log.last_row() if self._run.writes else {}
        if row.get("epoch") != epoch:
            return
        if scores[BEST_BY] > self._log.best_row().get(BEST_BY, float("-inf")):
            outside_scope(save_keras, embedder, self._run.best_model)
        tags = {f"scores/{name[len('val_') :]}": value for name, value in scores.items()}
        pictures = {"ranked_lists": self._draw(self.newest[1])} if self._draw else {}
        write_events(self._run.tensorboard, int(row["step"]), "scores", tags, pictures=pictures)
        # Last: a run that goes on scores its newest epoch where the row has no scores.
        self._log.record({name: float(value) for name, value in {**row, **scores}.items()})
        whom = " of validation identities" if self._settings.validation_identities else ""
        tqdm.write(f"epoch {epoch}: mAP {scores[BEST_BY]:.2%}, top-1 {scores['val_top1']:.2%}{whom}")

    def _write_events(self, embedder: keras.Model, numbers: dict[str, float]) -> None:
        metric = getattr(self.model.loss, "metric", "euclidean")
        histograms = self._histograms.of(embedder, metric=metric) if self._histograms else {}
        scalars = {_tag(name): value for name, value in numbers.items() if name not in ("epoch", "step")}
        write_events(self._run.tensorboard, numbers["step"], "epoch", scalars, histograms)

    def _draw_curves(self) -> None:
        began = time.perf_counter()
        if self._run.writes and began >= self._next_picture:
            draw_curves(self._run)
            ended = time.perf_counter()
            self._next_picture = ended + (ended - began) / _DRAWING_TAKES


def _tag(name: str) -> str:
    """Returns TensorBoard's name of a number, with its group before the slash."""
    group = "speed" if name in TIMES else "distances" if name.endswith("_distance") else "training"
    return f"{group}/{name}"
