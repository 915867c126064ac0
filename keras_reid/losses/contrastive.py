"""Contrastive loss: genuine pairs are pulled together, impostor pairs pushed apart up to the margin."""

from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import LossTerms, MarginLoss, check_margin, mean_loss, register
from keras_reid.losses.mining import all_pairs


def contrastive_loss(
    person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: float = 1.0, metric: str = "euclidean"
) -> tf.Tensor:
    """Contrastive (siamese) loss: mean over all pairs of D^2 (genuine), [margin - D]+^2 (impostor).

    As tensorflow-addons' `ContrastiveLoss` on all pairs of the batch; the paper has half of it.

    Args:
        margin: a number of at least 0, in units of the distance.

    Returns:
        float32 `[]`; 0, with a zero gradient, when there is no pair. Every pair counts: a batch of one identity is
        pulled together, one of all different identities pushed apart. Equal embeddings give margin^2 for each impostor
        pair, without a gradient.

    Other arguments and errors are those of `batch_hard_triplet_loss`; distances are those of `pairwise_distances`.
    Source: Hadsell et al. 2006, equation 4; for re-identification Varior et al. 2016 (arXiv 1607.08378).
    """
    return mean_loss(_contrastive_terms(person_ids, embeddings, check_margin(margin, soft=False), metric))


def _contrastive_terms(person_ids, embeddings, margin: float, metric: str) -> LossTerms:
    pairs, distances = all_pairs(person_ids, embeddings, metric)
    positive_terms = tf.where(pairs.positive, tf.square(distances), 0.0)
    negative_terms = tf.where(pairs.negative, tf.square(tf.nn.relu(margin - distances)), 0.0)
    counts = tf.cast(pairs.positive | pairs.negative, distances.dtype)
    return LossTerms(tf.reduce_sum(positive_terms + negative_terms, axis=1), tf.reduce_sum(counts, axis=1))


@register
class ContrastiveLoss(MarginLoss):
    """`contrastive_loss` for `model.compile`, under Keras 2 and Keras 3; arguments of `MarginLoss`, no soft margin."""

    has_soft_margin = False
    terms = staticmethod(_contrastive_terms)

    def __init__(self, margin: float = 1.0, **kwargs):
        super().__init__(margin, **kwargs)
