"""Decides which pairs of a batch the loss looks at: for each anchor the hardest positive and the hardest negative."""

from typing import NamedTuple

from keras_reid.keras2 import tf
from keras_reid.losses.distances import euclidean_distances, squared_distances_for_selection


class HardestPairs(NamedTuple):
    """The mined distances of a batch of B anchors.

    Attributes:
        positive_distances: float32 `[B]`, to the farthest other image of the same identity.
        negative_distances: float32 `[B]`, to the nearest image of another identity.
        valid: bool `[B]`, whether the anchor has both; where it has not, the distances are 0 without a gradient.
    """

    positive_distances: tf.Tensor
    negative_distances: tf.Tensor
    valid: tf.Tensor


def flat_person_ids(person_ids: tf.Tensor) -> tf.Tensor:
    """Returns integer `[B]` or `[B, 1]` ids as `[B]`; ValueError when they are not integers."""
    person_ids = tf.convert_to_tensor(person_ids)
    if not person_ids.dtype.is_integer:
        raise ValueError(f"person_ids have dtype {person_ids.dtype.name}, expected integers: cast them, or code them.")
    return tf.reshape(person_ids, [-1])


class Pairs(NamedTuple):
    """Who is what to whom in a batch of B images.

    Attributes:
        positive: bool `[B, B]`, another image of the anchor's identity.
        negative: bool `[B, B]`, an image of another identity.
        valid: bool `[B]`, whether the anchor has both.
    """

    positive: tf.Tensor
    negative: tf.Tensor
    valid: tf.Tensor


def pair_up(person_ids: tf.Tensor) -> Pairs:
    """Returns the pairs of a batch of integer `[B]` or `[B, 1]` ids; ValueError when they are not integers."""
    person_ids = flat_person_ids(person_ids)
    same = person_ids[:, None] == person_ids[None, :]
    positive, negative = same & ~tf.eye(tf.size(person_ids), dtype=tf.bool), ~same
    return Pairs(positive, negative, tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1))


def mine_hardest_pairs(person_ids: tf.Tensor, embeddings: tf.Tensor) -> HardestPairs:
    """Finds each anchor's hardest positive and hardest negative in the batch.

    Args:
        person_ids: integer `[B]` or `[B, 1]`.
        embeddings: floating `[B, D]`; computed in float32 whatever its dtype.

    Returns:
        The exact distances of the chosen pairs, with gradients; ties go to the first image of the batch.

    Raises:
        ValueError: the ids are not integers (in bfloat16 every id above 256 would merge with its neighbours).

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 5.
    """
    pairs, embeddings = pair_up(person_ids), tf.cast(embeddings, tf.float32)
    squared = squared_distances_for_selection(embeddings)

    def chosen_distances(scores: tf.Tensor) -> tf.Tensor:
        # The extra column is never chosen: argmax refuses rows without any, which is what an empty batch has.
        scores = tf.pad(scores, [[0, 0], [0, 1]], constant_values=-float("inf"))
        chosen = tf.argmax(scores, axis=1, output_type=tf.int32)
        distances = euclidean_distances(embeddings, tf.gather(embeddings, chosen))
        return tf.where(pairs.valid, distances, 0.0)

    infinity = tf.constant(float("inf"), tf.float32)
    return HardestPairs(
        positive_distances=chosen_distances(tf.where(pairs.positive, squared, -infinity)),
        negative_distances=chosen_distances(tf.where(pairs.negative, -squared, -infinity)),
        valid=pairs.valid,
    )
