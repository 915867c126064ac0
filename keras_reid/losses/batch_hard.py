"""Batch-hard and class-hard triplet loss: the hardest pairs give one term for each anchor, or for each identity."""

from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import LossTerms, Margin, MarginLoss, check_margin, gap_terms, mean_loss, register
from keras_reid.losses.mining import flat_batch, hardest_pairs, largest_in_rows


def batch_hard_triplet_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = 0.3, metric: str = "euclidean"
) -> tf.Tensor:
    """Batch-hard triplet loss: mean over anchors of [max_p D(a,p) - min_n D(a,n) + margin]+, or softplus of the gap.

    Args:
        person_ids: integer `[B]` or `[B, 1]`, in any order.
        embeddings: floating `[B, D]`; computed in float64.
        margin: a number of at least 0, in units of the distance, or "soft".
        metric: D, one of "euclidean", "squared_euclidean", "cosine".

    Returns:
        float32 `[]`, the mean over valid anchors, those with a positive and a negative in the batch; 0, with a zero
        gradient, when there is none (one identity, all different, B = 1, an empty batch). Equal embeddings give the
        margin, or ln 2, without a gradient. A loss beyond float32 is the largest that it has, 3.4e38.

    Raises:
        ReidError: an impossible margin or metric.
        ValueError: the ids are not integers, or not one for each embedding.

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 5.
    """
    return mean_loss(_batch_hard_terms(person_ids, embeddings, check_margin(margin), metric))


def class_hard_triplet_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: Margin = 0.3, metric: str = "euclidean"
) -> tf.Tensor:
    """Class-hard triplet loss: one term for each identity, from its farthest pair and its nearest negative.

    Mean over identities i of [max over a, p in i of D(a,p) - min over a in i, n not in i of D(a,n) + margin]+, or
    softplus of the gap. It is harder than batch hard, since the two pairs need not share an anchor.

    Returns:
        float32 `[]`, the mean over valid identities, those with two images and a negative in the batch; 0, with a zero
        gradient, when there is none. Equal embeddings give the margin, or ln 2, without a gradient.

    Arguments and errors are those of `batch_hard_triplet_loss`.
    Source: "Person ReID method based on metric learning with hard mining" (patent), claim 4.
    """
    return mean_loss(_class_hard_terms(person_ids, embeddings, check_margin(margin), metric))


def _batch_hard_terms(person_ids, embeddings, margin: Margin, metric: str) -> LossTerms:
    pairs = hardest_pairs(person_ids, embeddings, metric)
    return gap_terms(pairs.positive_distances - pairs.negative_distances, pairs.valid, margin)


def _class_hard_terms(person_ids, embeddings, margin: Margin, metric: str) -> LossTerms:
    person_ids, embeddings = flat_batch(person_ids, embeddings)
    pairs = hardest_pairs(person_ids, embeddings, metric)
    # The hardest pair of an identity is the hardest of its images' hardest pairs.
    same = person_ids[:, None] == person_ids[None, :]
    positive = _largest(pairs.positive_distances, same)
    negative = -_largest(-pairs.negative_distances, same)
    # An identity's term stands at its first image.
    first = ~tf.reduce_any(tf.linalg.band_part(same, -1, 0) & ~tf.eye(tf.size(person_ids), dtype=tf.bool), axis=1)
    return gap_terms(positive - negative, pairs.valid & first, margin)


def _largest(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns the largest of the values `[B]` that each row of the mask `[B, B]` admits; NaN counts as the largest."""
    order = tf.where(~tf.math.is_nan(values), values, float("inf"))
    return tf.gather(values, largest_in_rows(order[None, :], mask))


@register
class BatchHardTripletLoss(MarginLoss):
    """`batch_hard_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`."""

    terms = staticmethod(_batch_hard_terms)


@register
class ClassHardTripletLoss(MarginLoss):
    """`class_hard_triplet_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`."""

    terms = staticmethod(_class_hard_terms)
