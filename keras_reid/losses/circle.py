"""Circle loss: every pair of the batch counts, with a larger weight the farther its similarity is from its target."""

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.batch_loss import BatchLoss, LossTerms, gap_terms, mean_loss, register
from keras_reid.losses.distances import unit_vectors
from keras_reid.losses.lifted import log_sum_exp
from keras_reid.losses.mining import flat_batch, pair_up


def circle_loss(person_ids: tf.Tensor, embeddings: tf.Tensor, *, margin: float = 0.25, scale: float = 32) -> tf.Tensor:
    """Circle loss on cosine similarities s, pairwise labels within the batch.

    Mean over anchors of softplus(logsumexp_n scale * [s_n + m]+ * (s_n - m) + logsumexp_p -scale * [1 + m - s_p]+ *
    (s_p - 1 + m)), without a gradient through the weights [.]+. Unlike batch hard it learns from random weights within
    a few hundred steps: no pair is left out, and collapsing to a point is never the shortest way to a lower loss.

    Args:
        person_ids: integer `[B]` or `[B, 1]`, in any order.
        embeddings: floating `[B, D]`; scaled to length 1 and computed in float64.
        margin: m, a relaxation from 0 to 1.
        scale: gamma of the paper, above 0. The paper takes 128 for re-identification.

    Returns:
        float32 `[]`, the mean over anchors with a positive and a negative in the batch; 0 when there is none.

    Raises:
        ReidError: margin or scale out of range.
        ValueError: the ids are not integers.

    Source: Sun et al. 2020 (arXiv 2002.10857), equations 4, 5 and 8.
    """
    return mean_loss(_circle_terms(person_ids, embeddings, *_checked(margin, scale)))


def _circle_terms(person_ids, embeddings, margin: float, scale: float) -> LossTerms:
    person_ids, embeddings = flat_batch(person_ids, embeddings)
    pairs, unit = pair_up(person_ids), unit_vectors(embeddings)
    similarities = tf.matmul(unit, unit, transpose_b=True)
    positive_weights = tf.nn.relu(1 + margin - tf.stop_gradient(similarities))
    negative_weights = tf.nn.relu(margin + tf.stop_gradient(similarities))
    positive_logits = -scale * positive_weights * (similarities - 1 + margin)
    negative_logits = scale * negative_weights * (similarities - margin)
    gap = log_sum_exp(positive_logits, pairs.positive) + log_sum_exp(negative_logits, pairs.negative)
    return gap_terms(gap, pairs.valid, "soft")


def _checked(margin, scale) -> tuple:
    try:
        numbers = float(margin), float(scale)
    except (TypeError, ValueError):
        numbers = -1.0, -1.0
    if not (0 <= numbers[0] <= 1 and 0 < numbers[1] < float("inf")):
        raise ReidError(
            f"margin={margin!r}, scale={scale!r} of circle loss: expected a margin from 0 to 1, such as 0.25, and a "
            "scale above 0."
        )
    return numbers


@register
class CircleLoss(BatchLoss):
    """`circle_loss` for `model.compile`, under Keras 2 and Keras 3: labels `[B]` or `[B, 1]`, integer.

    Args:
        margin: from 0 to 1.
        scale: gamma, above 0.
        **kwargs: of `BatchLoss`.
    """

    def __init__(self, margin: float = 0.25, scale: float = 32, **kwargs):
        super().__init__(**kwargs)
        self.margin, self.scale = _checked(margin, scale)

    def loss_terms(self, person_ids: tf.Tensor, embeddings: tf.Tensor) -> LossTerms:
        return _circle_terms(person_ids, embeddings, self.margin, self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}
