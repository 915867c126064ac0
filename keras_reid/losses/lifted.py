"""Lifted and softmax-weighted triplet loss: all pairs of an anchor count, the hard ones most."""

from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import LossTerms, Margin, MarginLoss, check_margin, gap_terms, mean_loss, register
from keras_reid.losses.mining import all_pairs

# The logit where there is no pair: far below the square of any float32; -inf would make NaN gradients of rows without
# any pair.
ABSENT = -1e300


def lifted_triplet_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = 0.3, metric: str = "euclidean"
) -> tf.Tensor:
    """Lifted, generalized: mean over anchors of [log sum_{p != a} exp D(a,p) + log sum_n exp(margin - D(a,n))]+.

    With a soft margin the term is the softplus of the two sums without a margin.

    Returns:
        float32 `[]`, the mean over valid anchors, those with a positive and a negative in the batch; 0, with a zero
        gradient, when there is none. Equal embeddings give log(positives) + log(negatives) + margin, no gradient.

    Arguments and errors are those of `batch_hard_triplet_loss`; distances are those of `pairwise_distances`.
    Source: Hermans et al. 2017 (arXiv 1703.07737), section 2, after Song et al. 2016 (arXiv 1511.06452), whose own
    lifted loss sums over positive pairs instead of anchors.
    """
    return mean_loss(_lifted_terms(person_ids, embeddings, check_margin(margin), metric))


def weighted_triplet_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = "soft", metric: str = "euclidean"
) -> tf.Tensor:
    """Softmax-weighted triplet loss: softplus of sum_p w_p D(a,p) - sum_n w_n D(a,n), or [. + margin]+ of it.

    w_p is the softmax of D over the anchor's positives, w_n that of -D over its negatives: batch hard made smooth. The
    gradient flows through the weights, as in the authors' code. The soft margin is the paper's.

    Returns:
        float32 `[]`, the mean over valid anchors, as of `batch_hard_triplet_loss`.

    Arguments and errors are those of `batch_hard_triplet_loss`; distances are those of `pairwise_distances`.
    Source: Ye et al. 2020 (AGW, arXiv 2001.04193), section 4, "weighted regularization triplet".
    """
    return mean_loss(_weighted_terms(person_ids, embeddings, check_margin(margin), metric))


def _lifted_terms(person_ids, embeddings, margin: Margin, metric: str) -> LossTerms:
    pairs, distances = all_pairs(person_ids, embeddings, metric)
    gap = log_sum_exp(distances, pairs.positive) + log_sum_exp(-distances, pairs.negative)
    return gap_terms(gap, pairs.valid, margin)


def _weighted_terms(person_ids, embeddings, margin: Margin, metric: str) -> LossTerms:
    pairs, distances = all_pairs(person_ids, embeddings, metric)
    positive_weights = tf.nn.softmax(tf.where(pairs.positive, distances, ABSENT), axis=1)
    negative_weights = tf.nn.softmax(tf.where(pairs.negative, -distances, ABSENT), axis=1)
    gap = tf.reduce_sum((positive_weights - negative_weights) * distances, axis=1)
    return gap_terms(gap, pairs.valid, margin)


def log_sum_exp(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns log sum exp over what the mask admits in each row of `[B, B]`, `[B]`; -1e300 where it admits nothing."""
    return tf.reduce_logsumexp(tf.where(mask, logits, ABSENT), axis=1)


@register
class LiftedTripletLoss(MarginLoss):
    """`lifted_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`."""

    terms = staticmethod(_lifted_terms)


@register
class WeightedTripletLoss(MarginLoss):
    """`weighted_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`."""

    terms = staticmethod(_weighted_terms)

    def __init__(self, margin: Margin = "soft", **kwargs):
        super().__init__(margin, **kwargs)
