"""Pairs of a batch, and hard mining: the hardest positive and the hardest negative of each anchor."""

from typing import NamedTuple

from keras_reid.keras2 import tf
from keras_reid.losses.distances import all_distances, exact_distances, squared_distances_for_selection
from keras_reid.losses.precision import in_float32, in_float64


class HardestPairs(NamedTuple):
    """The mined distances of a batch of B anchors.

    Attributes:
        positive_distances: float32 `[B]`, to the farthest other image of the same identity.
        negative_distances: float32 `[B]`, to the nearest image of another identity.
        valid: bool `[B]`, whether the anchor has both; otherwise the distances are 0, without a gradient.
    """

    positive_distances: tf.Tensor
    negative_distances: tf.Tensor
    valid: tf.Tensor


class Pairs(NamedTuple):
    """The positive and the negative pairs of a batch of B images: row i is the anchor."""

    positive: tf.Tensor  # bool [B, B], whether column j is another image of the anchor's identity
    negative: tf.Tensor  # bool [B, B], whether column j is an image of another identity
    valid: tf.Tensor  # bool [B], whether the anchor has both


def flat_person_ids(person_ids: tf.Tensor) -> tf.Tensor:
    """Returns integer `[B]` or `[B, 1]` ids as `[B]`; ValueError when they are not integers, or of another shape."""
    person_ids = tf.convert_to_tensor(person_ids)
    if not person_ids.dtype.is_integer:
        raise ValueError(
            f"person_ids have dtype {person_ids.dtype.name}, expected integers: cast them, or code them. "
            "Keras 3 makes floats of the labels of a plain function, or of a loss imported before keras: pass a class "
            "of keras_reid.losses, imported after keras."
        )
    if person_ids.shape.rank not in (None, 1) and person_ids.shape[1:] != [1]:
        raise ValueError(f"person_ids have shape {person_ids.shape}, expected [B] or [B, 1]: one id for each image.")
    return tf.reshape(person_ids, [-1])


def flat_batch(person_ids: tf.Tensor, embeddings: tf.Tensor) -> tuple:
    """Returns ids `[B]` and float64 embeddings `[B, D]`; ValueError when they are not one id for each embedding."""
    person_ids, embeddings = flat_person_ids(person_ids), tf.convert_to_tensor(embeddings)
    if not embeddings.dtype.is_floating:
        raise ValueError(f"embeddings have dtype {embeddings.dtype.name}, expected floating point: cast them.")
    if embeddings.shape.rank not in (None, 2) or not person_ids.shape.is_compatible_with(embeddings.shape[:1]):
        raise ValueError(
            f"person_ids have shape {person_ids.shape} and embeddings {embeddings.shape}, expected [B] and [B, D]: one "
            "id for each embedding."
        )
    # A graph traced for any shape does not know the rank, which loops and softmax need.
    embeddings = tf.ensure_shape(embeddings, [None, None]) if embeddings.shape.rank is None else embeddings
    # A graph may know the size of one of the two alone, or of neither.
    person_ids = tf.ensure_shape(person_ids, embeddings.shape[:1])
    message = "person_ids and embeddings differ in number, expected one id for each embedding."
    fits = tf.debugging.assert_equal(tf.size(person_ids), tf.shape(embeddings)[0], message)
    # Before anything that would fail by them in words of its own; None where it runs eagerly.
    with tf.control_dependencies([] if fits is None else [fits]):
        return tf.identity(person_ids), in_float64(tf.identity(embeddings))


def pair_up(person_ids: tf.Tensor) -> Pairs:
    """Returns the pairs of a batch of integer ids `[B]`."""
    same = person_ids[:, None] == person_ids[None, :]
    positive, negative = same & ~tf.eye(tf.size(person_ids), dtype=tf.bool), ~same
    return Pairs(positive, negative, tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1))


def all_pairs(person_ids: tf.Tensor, embeddings: tf.Tensor, metric: str) -> tuple:
    """Returns the pairs of a batch, and the distances of all of them, float64 `[B, B]`, with gradients."""
    person_ids, embeddings = flat_batch(person_ids, embeddings)
    return pair_up(person_ids), all_distances(embeddings, metric)


def mine_hardest_pairs(person_ids: tf.Tensor, embeddings: tf.Tensor, *, metric: str = "euclidean") -> HardestPairs:
    """Finds each anchor's hardest positive and hardest negative in the batch; arguments of `batch_hard_triplet_loss`.

    Returns:
        The exact distances of the chosen pairs, with gradients; ties go to the first image of the batch.

    Raises:
        ValueError: the ids are not integers (in bfloat16 every id above 256 would merge with its neighbors), or not
            one for each embedding.

    Source: Hermans et al. 2017 (arXiv 1703.07737), equation 5.
    """
    positive_distances, negative_distances, valid = hardest_pairs(person_ids, embeddings, metric)
    return HardestPairs(in_float32(positive_distances), in_float32(negative_distances), valid)


def hardest_pairs(person_ids: tf.Tensor, embeddings: tf.Tensor, metric: str) -> HardestPairs:
    """Returns `mine_hardest_pairs` with float64 distances, which hold the square of every float32."""
    person_ids, embeddings = flat_batch(person_ids, embeddings)
    pairs = pair_up(person_ids)
    scores = squared_distances_for_selection(embeddings, metric=metric)

    def distances_to(chosen: tf.Tensor) -> tf.Tensor:
        distances = exact_distances(embeddings, tf.gather(embeddings, chosen), metric)
        return tf.where(pairs.valid, distances, 0.0)

    return HardestPairs(
        positive_distances=distances_to(largest_in_rows(scores, pairs.positive)),
        negative_distances=distances_to(largest_in_rows(-scores, pairs.negative)),
        valid=pairs.valid,
    )


def largest_in_rows(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns the column of the first largest value that the mask admits in each row, int32 `[B]`; any without one."""
    values = tf.where(mask, values, -float("inf"))
    # The extra column is never chosen: it is there because argmax refuses the rows without columns of an empty batch.
    values = tf.pad(values, [[0, 0], [0, 1]], constant_values=-float("inf"))
    return tf.argmax(values, axis=1, output_type=tf.int32)
