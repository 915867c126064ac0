"""Batch-all and semi-hard triplet loss, in O(B^2) memory for O(B^3) triplets."""

from __future__ import annotations

from typing import Callable

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import (
    LossTerms,
    Margin,
    MarginLoss,
    check_margin,
    hinge_or_softplus,
    mean_loss,
    register,
)
from keras_reid.losses.mining import Pairs, all_pairs, largest_in_rows

MEANS = ("nonzero", "all")
_TIE = 1e-12  # distances that differ by a smaller share are equal: they differ by the rounding of float64


def batch_all_triplet_loss(
    person_ids: tf.Tensor,
    embeddings: tf.Tensor,
    *,
    margin: Margin = 0.3,
    mean_over: str = "nonzero",
    metric: str = "euclidean",
) -> tf.Tensor:
    """Batch-all triplet loss: mean over triplets (a, p, n) of [D(a,p) - D(a,n) + margin]+, or softplus of the gap.

    Args:
        mean_over: "nonzero" takes the mean over triplets whose term is not 0: otherwise the many easy ones wash out the
            few that teach. "all" takes it over all triplets.

    Returns:
        float32 `[]`; 0, with a zero gradient, when the batch has no triplet. Equal embeddings give the margin, or ln 2,
        without a gradient.

    Other arguments and errors are those of `batch_hard_triplet_loss`; distances are those of `pairwise_distances`.
    Source: Hermans et al. 2017 (arXiv 1703.07737), section 2: "batch all", and "batch all != 0" of section 4.
    """
    margin, mean_over = check_margin(margin), _check_mean(mean_over)
    return mean_loss(_batch_all_terms(person_ids, embeddings, margin, mean_over, metric))


def semi_hard_triplet_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = 0.3, metric: str = "euclidean"
) -> tf.Tensor:
    """Semi-hard triplet loss: each positive pair (a, p) against the nearest negative that is farther than p.

    Mean over the pairs of [D(a,p) - D(a,n) + margin]+, or softplus of the gap; where no negative is farther than p, n
    is the farthest of all. FaceNet takes squared distances of unit vectors: `metric="squared_euclidean"`, margin 0.2.

    Returns:
        float32 `[]`, the mean over ordered positive pairs whose anchor has a negative; 0, with a zero gradient, when
        there is none. Equal embeddings give the margin, or ln 2, without a gradient.

    Arguments and errors are those of `batch_hard_triplet_loss`; distances are those of `pairwise_distances`.
    Source: Schroff et al. 2015 (FaceNet, arXiv 1503.03832), section 3.2.
    """
    return mean_loss(_semi_hard_terms(person_ids, embeddings, check_margin(margin), metric))


def _check_mean(mean_over: str) -> str:
    if mean_over not in MEANS:
        raise ReidError(f"mean_over={mean_over!r}, expected one of {', '.join(MEANS)}.")
    return mean_over


def _batch_all_terms(person_ids, embeddings, margin: Margin, mean_over: str, metric: str) -> LossTerms:
    def every_negative(pairs, gap):
        return pairs.negative

    # softplus is 0 only where it underflows: under the soft margin both means are over all triplets.
    counts_all = mean_over == "all" or margin == "soft"
    return _terms_of_triplets(person_ids, embeddings, margin, metric, every_negative, counts_all)


def _semi_hard_terms(person_ids, embeddings, margin: Margin, metric: str) -> LossTerms:
    def nearest_beyond(pairs, gap):
        beyond = pairs.negative & (gap < 0)
        nearest, farthest = largest_in_rows(gap, beyond), largest_in_rows(-gap, pairs.negative)
        chosen = tf.where(tf.reduce_any(beyond, axis=1), nearest, farthest)
        return tf.one_hot(chosen, tf.shape(gap)[1], on_value=True, off_value=False)

    return _terms_of_triplets(person_ids, embeddings, margin, metric, nearest_beyond, counts_all=True)


def _terms_of_triplets(
    person_ids, embeddings, margin, metric, choose_negatives: Callable, counts_all: bool
) -> LossTerms:
    pairs, distances = all_pairs(person_ids, embeddings, metric)

    @tf.custom_gradient
    def terms_of(distances):
        sums, counts, slopes = _sum_by_positives(distances, pairs, margin, choose_negatives, counts_all)
        return (sums, counts), lambda by_sum, by_count: slopes * by_sum[:, None]

    return LossTerms(*terms_of(distances))


def _sum_by_positives(distances, pairs: Pairs, margin, choose_negatives: Callable, counts_all: bool) -> tuple:
    """Returns each anchor's sum of terms and their number, `[B]`, and the sums' slopes by the distances, `[B, B]`.

    One positive of each anchor at a time: K - 1 rounds of O(B^2) memory, K the number of images of an identity. All
    B^3 triplets at once would take 8 GB for each tensor at B = 1,024. `choose_negatives` gets the pairs and this
    round's gaps D(a,p) - D(a,n), and returns bool `[B, B]`. Without `counts_all` triplets whose term is 0 do not count.
    """
    # Column j: each anchor's positives in the order of the batch, then all other images.
    order = tf.argsort(tf.cast(pairs.positive, tf.int32), axis=1, direction="DESCENDING", stable=True)
    order = tf.pad(order, [[0, 0], [0, 1]])  # XLA refuses a column j of an empty batch, though no round takes it
    positives = tf.math.count_nonzero(pairs.positive, axis=1, dtype=tf.int32)
    rounds = tf.reduce_max(tf.where(pairs.valid, positives, 0))

    def add_round(j, sums, counts, slopes):
        positive = order[:, j]
        positive_distances = tf.gather(distances, positive[:, None], batch_dims=1)
        gap = positive_distances - distances
        gap = tf.where(tf.abs(gap) <= _TIE * positive_distances, tf.zeros_like(gap), gap)  # a NaN stays one
        chosen = choose_negatives(pairs, gap) & (pairs.valid & (j < positives))[:, None]
        terms_now = tf.where(chosen, hinge_or_softplus(gap, margin), 0.0)
        slopes_now = tf.where(chosen, _slope_of(gap, margin), 0.0)
        counted = chosen if counts_all else chosen & ~tf.equal(terms_now, 0)
        # The size is taken in here: a loop does not know how large a number from outside is, and a size of 1 must fit.
        here = tf.one_hot(positive, tf.shape(distances)[1], dtype=distances.dtype)
        by_positive = here * tf.reduce_sum(slopes_now, axis=1, keepdims=True)
        return (
            j + 1,
            sums + tf.reduce_sum(terms_now, axis=1),
            counts + tf.reduce_sum(tf.cast(counted, distances.dtype), axis=1),
            slopes + by_positive - slopes_now,
        )

    none = tf.zeros(tf.shape(distances)[:1], distances.dtype)
    nothing = (0, none, none, tf.zeros_like(distances))
    _, sums, counts, slopes = tf.while_loop(lambda j, *_: j < tf.maximum(0, rounds), add_round, nothing)
    return sums, counts, slopes


def _slope_of(gap: tf.Tensor, margin: Margin) -> tf.Tensor:
    """Returns the derivative of `hinge_or_softplus` with respect to the gap: elementwise, 0 at the hinge itself."""
    return tf.sigmoid(gap) if margin == "soft" else tf.cast(gap + margin > 0, gap.dtype)


@register
class BatchAllTripletLoss(MarginLoss):
    """`batch_all_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; other arguments of `MarginLoss`."""

    def __init__(self, margin: Margin = 0.3, *, mean_over: str = "nonzero", **kwargs):
        super().__init__(margin, **kwargs)
        self.mean_over = _check_mean(mean_over)

    def loss_terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> LossTerms:
        return _batch_all_terms(person_ids, embeddings, self.margin, self.mean_over, self.metric)

    def get_config(self) -> dict:
        return {**super().get_config(), "mean_over": self.mean_over}


@register
class SemiHardTripletLoss(MarginLoss):
    """`semi_hard_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`."""

    terms = staticmethod(_semi_hard_terms)
