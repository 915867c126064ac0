"""Batch losses: a loss over the pairs of a batch as a Keras `Loss`, with integer labels, in float64, as one mean."""

from __future__ import annotations

import re
from typing import NamedTuple, Union

from keras_reid.choices import MINING_SCOPES
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.distances import check_metric
from keras_reid.losses.mining import flat_batch
from keras_reid.losses.precision import in_float32
from keras_reid.losses.replicas import all_rows, own_rows, replica_context, sum_over_replicas

# A saved model that was compiled with one of our losses opens wherever keras_reid.losses is imported.
register = tf.keras.utils.register_keras_serializable("keras_reid")
Margin = Union[float, str]


def check_margin(margin: Margin, *, soft: bool = True) -> Margin:
    """Returns the margin, a float of at least 0 or, where the loss has a soft one, "soft"; ReidError otherwise."""
    if soft and isinstance(margin, str) and margin == "soft":
        return margin
    try:
        number = float(margin)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number < float("inf"):
        otherwise = ", or 'soft' for the softplus" if soft else "; this loss has no soft margin"
        raise ReidError(f"margin={margin!r}, expected a number of at least 0{otherwise}.")
    return number


def hinge_or_softplus(gap: tf.Tensor, margin: Margin) -> tf.Tensor:
    """Returns [gap + margin]+, or softplus of the gap: elementwise, a NaN stays one."""
    # softplus, not log1p(exp(gap)): that overflows from a gap of 709 on.
    return tf.nn.softplus(gap) if margin == "soft" else tf.nn.relu(gap + margin)


class LossTerms(NamedTuple):
    """The loss terms of a batch of B images: the loss is their sum divided by their number."""

    sums: tf.Tensor  # float64 [B], of the terms of each image (of its anchor, pairs or triplets); 0 without any
    counts: tf.Tensor  # float64 [B], the number of those terms


def gap_terms(gap: tf.Tensor, valid: tf.Tensor, margin: Margin) -> LossTerms:
    """Returns one term for each image, of its gap, float64 `[B]`; none where bool `[B]` says that it is not valid."""
    return LossTerms(tf.where(valid, hinge_or_softplus(gap, margin), 0.0), tf.cast(valid, gap.dtype))


def mean_loss(terms: LossTerms) -> tf.Tensor:
    """Returns the mean of the loss terms, float32 `[]`; 0 when there is none."""
    return in_float32(tf.reduce_sum(terms.sums) / tf.maximum(tf.reduce_sum(terms.counts), 1.0))


class BatchLoss(tf.keras.losses.Loss):
    """A loss whose terms depend on the whole batch; a subclass gives `loss_terms`.

    With Keras's default reduction the loss is the mean over all terms (of valid anchors, say), on any number of
    replicas: `call` returns `[B]` sums scaled by replicas * B / count. That factor stays in under reduction "none" or
    "sum".

    Args:
        mining_scope: under tf.distribute, "global" mines among the embeddings of all replicas, and n replicas with
            B / n images each give the loss and the gradient of one replica with B; "replica" mines in each alone.
        name: by default that of the function, such as "circle_loss".
        **kwargs: of `tf.keras.losses.Loss`, such as `reduction`.
    """

    # Keras 3 casts to this what `call` gets and returns; its sum over a batch may be beyond float32.
    dtype = "float64"

    def __init__(self, *, mining_scope: str = "global", name: str | None = None, **kwargs):
        super().__init__(name=name or re.sub(r"\B(?=[A-Z])", "_", type(self).__name__).lower(), **kwargs)
        if mining_scope not in MINING_SCOPES:
            raise ReidError(f"mining_scope={mining_scope!r}, expected one of {', '.join(MINING_SCOPES)}.")
        self.mining_scope = mining_scope

    def loss_terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> LossTerms:
        """Returns the terms of a batch: integer ids `[B]`, float64 embeddings `[B, D]`."""
        raise NotImplementedError

    def __call__(self, y_true, y_pred, sample_weight=None):
        if _only_shapes_are_asked():
            y_true = tf.cast(y_true, tf.int64)
        # Keras 3 casts labels to float32 before `call` sees them: that would merge ids above 2^24, but not positions.
        y_true, y_pred = flat_batch(y_true, y_pred)
        loss = in_float32(super().__call__(self._first_positions(y_true), y_pred, sample_weight))
        # Keras 3 leaves an empty batch as it is.
        return tf.reduce_sum(loss) if loss.shape == [0] and self.reduction not in (None, "none") else loss

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns float64 `[B]`, scaled; see the class. Labels are integers `[B]` or `[B, 1]`."""
        person_ids, embeddings = flat_batch(_as_integers(y_true), y_pred)
        size, context = tf.size(person_ids), replica_context()
        everywhere = context is not None and self.mining_scope == "global"
        if everywhere:
            person_ids, embeddings = all_rows(person_ids, context), all_rows(embeddings, context)
        sums, counts = self.loss_terms(person_ids, embeddings)
        count, replicas = tf.reduce_sum(counts), context.num_replicas_in_sync if context else 1
        if everywhere:
            sums = own_rows(sums, size, context)
        elif context is not None:
            count = sum_over_replicas(count, context)
        return sums * (replicas * tf.cast(size, sums.dtype) / tf.maximum(count, 1.0))

    def get_config(self) -> dict:
        return {**super().get_config(), "mining_scope": self.mining_scope}

    def _first_positions(self, person_ids: tf.Tensor) -> tf.Tensor:
        """Returns the position of the first image of each image's identity, int32 `[B]`: it serves as the id."""
        context = replica_context()
        alone = context is None or self.mining_scope == "replica"
        everyone = person_ids if alone else all_rows(person_ids, context)
        same = tf.cast(person_ids, everyone.dtype)[:, None] == everyone[None, :]
        return tf.reduce_min(tf.where(same, tf.range(tf.size(everyone))[None, :], tf.size(everyone)), axis=1)


class MarginLoss(BatchLoss):
    """A `BatchLoss` on distances with a margin; a subclass gives `terms`.

    Args:
        margin: a number of at least 0, in units of the distance, or "soft".
        metric: "euclidean", "squared_euclidean" or "cosine".
        **kwargs: of `BatchLoss`: mining_scope, name, reduction.
    """

    has_soft_margin = True

    def __init__(self, margin: Margin = 0.3, *, metric: str = "euclidean", **kwargs):
        super().__init__(**kwargs)
        self.margin, self.metric = check_margin(margin, soft=self.has_soft_margin), check_metric(metric)

    @staticmethod
    def terms(person_ids: tf.Tensor, embeddings: tf.Tensor, margin: Margin, metric: str) -> LossTerms:
        """Returns the terms of a batch for a margin and a metric."""
        raise NotImplementedError

    def loss_terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> LossTerms:
        return self.terms(person_ids, embeddings, self.margin, self.metric)

    @property
    def hinge(self) -> float:
        """The distance by which a negative must be farther than a positive for a term of 0; 0 for the soft margin."""
        return 0.0 if self.margin == "soft" else self.margin

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin, "metric": self.metric}


def _only_shapes_are_asked() -> bool:
    """Whether Keras 3 traces the loss across replicas just to learn its shape, with labels that it has averaged.

    Averaged labels are floats. Nothing trains there: a training step runs in the context of one replica.
    """
    across = tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()
    return across and not tf.executing_eagerly()


def _as_integers(person_ids: tf.Tensor) -> tf.Tensor:
    """Returns integer positions: undoes Keras 3's cast of them to floats."""
    person_ids = tf.convert_to_tensor(person_ids)
    return person_ids if person_ids.dtype.is_integer else tf.cast(tf.round(person_ids), tf.int32)
