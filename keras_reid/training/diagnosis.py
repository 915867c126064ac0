"""Diagnosis of a run from its own numbers: collapse, labels that do not fit, nothing left to learn, NaN."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.training.run_folder import RunFolder

WINDOW = 100  # steps for which a loss must stand still: a healthy run passes ln 2 or the margin within fewer
SHORT_WINDOW = 20  # steps that are enough where the embeddings are one point
_NO_BETTER = 0.97  # of the loss of a single point
_ACTIVE = 0.9  # share of anchors; class hard's own loss stays above a point's in a run that learns, this share does not
_STANDSTILL = 0.97  # the second half of the window costs at least this share of the first
_SEPARATION = 0.99  # positive / negative distance that falls below this share of what it was is still improving
_NO_CLOSER = 0.985  # mean positive distance / mean negative distance; 1 for labels by chance
_ONE_POINT = 1e-3  # distance / norm, and distance / distance at the start
_SHRUNK = 0.1  # distance / distance at the start; healthy runs from scratch went down to a fifth
_STOPPED = "training stopped"
_OF_THE_STEP = ("learning_rate", "metric_loss_weight")  # Keras reports all else as means over the epoch so far
_CAUSES_OF_COLLAPSE = (
    "pre-trained weights not loaded (backbone_weights), learning_rate too high for hard mining or too low to move, "
    "{margin}identities_per_batch or images_per_identity too small (from scratch: or too large), or labels that do "
    "not belong to the images. From scratch head=bnneck helps: with optimizer=adam and identity_loss_weight=0, or with "
    "optimizer=sgd, identity_loss_weight=1 and some epochs of that alone (metric_loss_start); so does loss=circle"
)


class CollapseDoctor(keras.callbacks.Callback):
    """Watches the report of a `TripletTrainer`, and says in one line, once a run, what is wrong.

    It speaks when, over 100 steps (20 for the first two),

    - all embeddings lie on one point: pairs are no farther apart than a thousandth of their norm, or than a thousandth
      of their distance in the first steps;
    - pairs have shrunk to a tenth of that distance, and the loss is no better than that of one point (margin or ln 2);
    - positives are no closer than negatives: the labels do not fit, or nothing is learned;
    - the loss stands still, and is no better than that of one point;
    - no triplet is active: nothing is learned any more.

    It says nothing while the learning rate rises or positives still come closer in proportion to negatives, nor before
    the loss on distances has begun (`metric_loss_steps`), and judges that loss once it has its full weight. A loss or
    weights that are not finite stop the run; weights are checked after each step, because ReLU and pooling can hide a
    NaN from the loss.

    Args:
        identities_per_batch: P.
        images_per_identity: K.
        first_step: steps of the run made before this fit.
        run: the run's folder, where `diagnosis.txt` is written; None prints only.
    """

    def __init__(
        self, *, identities_per_batch: int, images_per_identity: int, first_step: int = 0, run: RunFolder | None = None
    ):
        super().__init__()
        self.step, self.finding, self._run = first_step, None, run
        self._person_ids = np.repeat(np.arange(identities_per_batch, dtype=np.int32), images_per_identity)
        self._history, self._first_distance = deque(maxlen=WINDOW), None
        self._means, self._steps_in_epoch = {}, 0
        self._goes_on = False

    def get_state(self) -> dict:
        """Returns what it remembers of the steps so far, for a checkpoint."""
        return {
            "step": self.step,
            "finding": self.finding,
            "history": list(self._history),
            "first_distance": self._first_distance,
            "means": self._means,
            "steps_in_epoch": self._steps_in_epoch,
        }

    def set_state(self, state: Mapping) -> None:
        """Goes on with what `get_state` returned, also inside an epoch."""
        self.step, self.finding, self._first_distance = state["step"], state.get("finding"), state["first_distance"]
        self._history = deque(state["history"], maxlen=WINDOW)
        self._means, self._steps_in_epoch = dict(state["means"]), state["steps_in_epoch"]
        self._goes_on = True

    def on_train_begin(self, logs=None):
        self._strategy = self.model.distribute_strategy
        self._weights_are_finite = tf.function(self._look_at_weights)
        self._cost_of_a_point = _cost_of_a_point(self.model.loss, self._person_ids)

    def on_epoch_begin(self, epoch, logs=None):
        if not self._goes_on:
            self._means, self._steps_in_epoch = {}, 0
        self._goes_on, self._batches = False, 0

    def on_epoch_end(self, epoch, logs=None):
        self._means, self._steps_in_epoch = {}, 0  # a checkpoint made now goes on with a new epoch

    def on_train_batch_end(self, batch, logs=None):
        # With `steps_per_execution` one call stands for several steps.
        steps, self._batches = batch + 1 - self._batches, batch + 1
        self.step += steps
        if not math.isfinite(logs["loss"]):
            self._stop(f"the loss is {logs['loss']}", self.step - steps)
        if not self._weights_are_finite():
            self._stop("weights are not finite", self.step - steps)
        self._history.extend([self._since_last(logs, steps)] * steps)
        if not logs.get("metric_loss_weight", 1.0):
            self._history.clear()
        history = list(self._history)
        if len(history) >= SHORT_WINDOW and self.finding is None:
            self._examine_distances(_mean_of(history[-SHORT_WINDOW:]))
        if len(history) == WINDOW and self.finding is None:
            self._examine_loss(_mean_of(history[: WINDOW // 2]), _mean_of(history[WINDOW // 2 :]), _mean_of(history))

    def _look_at_weights(self) -> tf.Tensor:
        variables = [variable for variable in self.model.learned_variables if variable.dtype.is_floating]
        # This worker's own copies: TensorFlow would otherwise add up over all workers what each replica has of its own.
        copies = [self._strategy.experimental_local_results(variable)[0] for variable in variables]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(copy)) for copy in copies])

    def _since_last(self, logs: Mapping[str, float], steps: int) -> dict[str, float]:
        """Returns the mean over the newest steps."""
        before, now = self._steps_in_epoch, self._steps_in_epoch + steps
        means_before, self._means = self._means, {name: float(value) for name, value in logs.items()}
        self._steps_in_epoch = now
        return {
            name: mean if name in _OF_THE_STEP else (mean * now - means_before.get(name, 0.0) * before) / steps
            for name, mean in self._means.items()
        }

    def _examine_distances(self, recent: dict[str, float]) -> None:
        distance = max(recent["positive_distance"], recent["negative_distance"])
        self._first_distance = distance if self._first_distance is None else self._first_distance
        smallest = _ONE_POINT_OF[getattr(self.model.loss, "metric", "euclidean")](recent["embedding_norm"])
        if distance <= max(smallest, _ONE_POINT * self._first_distance):
            self._say(
                f"all embeddings lie on one point: pairs are {distance:.2g} apart at a norm of "
                f"{recent['embedding_norm']:.2g}, so nobody can be told from anybody"
            )
        elif distance <= _SHRUNK * self._first_distance and self._is_no_better(recent):
            self._say(
                f"collapse: pairs are {distance:.2g} apart, {self._first_distance:.2g} at the start, and the loss, "
                f"{_loss_in(recent):.3g}, {self._than_a_point()}"
            )

    def _examine_loss(self, first: dict[str, float], second: dict[str, float], whole: dict[str, float]) -> None:
        if second["learning_rate"] > first["learning_rate"] * (1 + 1e-6):
            return  # warming up
        if whole.get("metric_loss_weight", 1.0) < 1 - 1e-6:
            return
        positive, negative = whole["positive_distance"], whole["negative_distance"]
        stands_still = _loss_in(second) >= _STANDSTILL * _loss_in(first) and not _separate(first, second)
        if positive >= _NO_CLOSER * negative > 0:
            self._say(
                f"images of one person have been no closer than images of two ({positive:.3g} and {negative:.3g}) for "
                f"{WINDOW} steps: nothing is learned"
            )
        elif stands_still and self._is_no_better(first) and self._is_no_better(second):
            self._say(
                f"collapse: the loss has stood at {_loss_in(whole):.3g} for {WINDOW} steps, and {self._than_a_point()}"
            )
        elif abs(_loss_in(whole)) <= 1e-6 and whole["active_triplets"] <= 1e-6:
            self._say(
                f"no triplet has been active for {WINDOW} steps: the loss is 0 and nothing is learned any more",
                causes="the training set is learned, margin, identities_per_batch or images_per_identity too "
                "small for hard pairs, or no batch that holds two images of a person",
            )

    def _is_no_better(self, report: dict[str, float]) -> bool:
        """Whether batches cost as much as one point, and almost every anchor is nearer to another identity."""
        point = self._cost_of_a_point
        return bool(point) and _loss_in(report) >= _NO_BETTER * point and report["active_triplets"] >= _ACTIVE

    def _than_a_point(self) -> str:
        margin = getattr(self.model.loss, "margin", None)
        words = {None: "", "soft": " (ln 2)"}.get(margin, f" (the margin is {margin})")
        return f"is no better than the {self._cost_of_a_point:.3g} that all embeddings on one point would cost{words}"

    def _say(self, finding: str, *, causes: str | None = None) -> None:
        if causes is None:
            hinge = isinstance(getattr(self.model.loss, "margin", None), float)
            causes = _CAUSES_OF_COLLAPSE.format(margin="a hinge from scratch (try margin=soft), " if hinge else "")
        self.finding = f"step {self.step}: {finding}. Likely causes: {causes}."
        tqdm.write(f"diagnosis at {self.finding}")
        if self._run is not None:
            self._run.record_diagnosis(self.finding)

    def _stop(self, what: str, last_good_step: int) -> None:
        message = (
            f"{what} at step {self.step}, {_STOPPED}. It went wrong between step {last_good_step}, the last good one, "
            f"and step {self.step}; the last checkpoint is kept. Lower learning_rate, use "
            "mixed_precision=float32 to see whether the precision is to blame, or look for a NaN in the images."
        )
        if self._run is not None:
            self._run.record_diagnosis(message)
        raise ReidError(message)


_ONE_POINT_OF = {
    "euclidean": lambda norm: _ONE_POINT * norm,
    "squared_euclidean": lambda norm: (_ONE_POINT * norm) ** 2,
    "cosine": lambda norm: _ONE_POINT**2 / 2,
}


def _cost_of_a_point(loss, person_ids: np.ndarray) -> float | None:
    """Returns the loss of a batch of equal embeddings; None for a loss that is no `Loss`."""
    if not isinstance(loss, keras.losses.Loss):
        return None
    return float(tf.reduce_mean(loss.call(tf.constant(person_ids), tf.ones([len(person_ids), 8]))))


def _loss_in(report: dict[str, float]) -> float:
    """Returns the loss on pairs, without the terms that are added to it."""
    return report.get("metric_loss", report["loss"])


def _separate(first: dict[str, float], second: dict[str, float]) -> bool:
    """Whether positives have come closer in proportion to negatives."""
    before = first["positive_distance"] * second["negative_distance"]
    return second["positive_distance"] * first["negative_distance"] < _SEPARATION * before


def _mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
