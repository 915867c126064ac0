"""Decides what a batch of mined triplets costs: a pure function, and a Keras `Loss` as a thin shell round it."""

from typing import Union

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import BatchLoss, mean_over_valid
from keras_reid.losses.mining import HardestPairs, mine_hardest_pairs

Margin = Union[float, str]


def check_margin(margin: Margin) -> Margin:
    """Returns the margin, a float of at least 0 or "soft"; ReidError for anything else."""
    if margin == "soft":
        return margin
    try:
        number = float(margin)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise ReidError(f"margin={margin!r}, expected a number of at least 0, or 'soft' for the softplus.")
    return number


def _batch_hard_terms(pairs: HardestPairs, margin: Margin) -> tf.Tensor:
    """Returns the loss of each anchor, float32 `[B]`; 0 for one that is not valid."""
    gap = pairs.positive_distances - pairs.negative_distances
    # softplus, not log1p(exp(gap)): that overflows float32 from a gap of 88 on.
    terms = tf.nn.softplus(gap) if margin == "soft" else tf.nn.relu(gap + margin)
    return tf.where(pairs.valid, terms, 0.0)


def batch_hard_triplet_loss(person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = 0.3) -> tf.Tensor:
    """Batch-hard triplet loss: mean over anchors of [max_p D(a,p) - min_n D(a,n) + margin]+, or softplus of the gap.

    Args:
        person_ids: integer `[B]` or `[B, 1]`, in any order.
        embeddings: floating `[B, D]`; computed in float32.
        margin: a number of at least 0, in units of the distance, or "soft".

    Returns:
        float32 `[]`, the mean over valid anchors, those with a positive and a negative in the batch; 0, with a zero
        gradient, when there is none (one identity, all different, B = 1, an empty batch).

    Raises:
        ReidError: the margin is neither.
        ValueError: the ids are not integers.

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 5.
    """
    pairs = mine_hardest_pairs(person_ids, embeddings)
    terms = _batch_hard_terms(pairs, check_margin(margin))
    return mean_over_valid(terms, pairs.valid)


class BatchHardTripletLoss(BatchLoss):
    """`batch_hard_triplet_loss` for `model.compile`, under Keras 2 and Keras 3: labels `[B]` or `[B, 1]`, integer.

    Args:
        margin: a number of at least 0, or "soft".
        name: of the loss.
        **kwargs: of `tf.keras.losses.Loss`, such as `reduction`.
    """

    def __init__(self, margin: Margin = 0.3, name: str = "batch_hard_triplet_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = check_margin(margin)

    @property
    def hinge(self) -> float:
        """The distance by which a negative must be farther than a positive to cost nothing; 0 for the soft margin."""
        return 0.0 if self.margin == "soft" else self.margin

    def terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> tuple:
        pairs = mine_hardest_pairs(person_ids, embeddings)
        return _batch_hard_terms(pairs, self.margin), pairs.valid

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin}
