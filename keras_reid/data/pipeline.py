"""Decides how images reach the network: identity batches for training, batches of equal size for embedding."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from keras_reid.data.batches import identity_batches, steps_per_epoch
from keras_reid.data.images import (
    Augmentation,
    augment_image,
    decode_image,
    raise_for_undecodable,
    resize_images,
    undecodable_images,
)
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Images of one size wait for each other until a batch is full; a chunk bounds how many wait when every size differs.
_CHUNK = 4096


def training_dataset(
    image_paths: Sequence[str],
    person_ids: Sequence[int],
    *,
    image_size: tuple[int, int],
    identities_per_batch: int,
    images_per_identity: int,
    epochs: int,
    seed: int,
    augmentation: Augmentation | None = None,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Returns the training batches of a run, from any step on: a pure function of its arguments.

    Args:
        image_paths: `[N]`, JPEG, PNG or BMP files.
        person_ids: integer `[N]`.
        image_size: (height, width) that images are resized to.
        identities_per_batch: P.
        images_per_identity: K.
        epochs: of the whole run.
        seed: of the batches and of the augmentation.
        augmentation: random changes; None for the default strengths.
        start_step: steps of the run that are left out at the beginning, to go on where a run stopped.

    Returns:
        A dataset of (uint8 `[P * K, height, width, 3]` RGB, int32 `[P * K]` person ids).

    Raises:
        ReidError: P or K does not fit the training set, or ids are no integers of 32 bits, one for each image.
    """
    augmentation = augmentation or Augmentation()
    image_paths, person_ids = np.asarray(image_paths, dtype=str), _as_int32(person_ids)
    if len(image_paths) != len(person_ids):
        raise ReidError(f"{len(image_paths)} image_paths but {len(person_ids)} person_ids, expected one for each.")
    batch_arguments = {"identities_per_batch": identities_per_batch, "images_per_identity": images_per_identity}
    steps = steps_per_epoch(person_ids, **batch_arguments)
    batch_size = identities_per_batch * images_per_identity

    def batches_of(epoch: np.ndarray) -> np.ndarray:
        batches = identity_batches(person_ids, **batch_arguments, seed=seed, epoch=int(epoch))
        return batches[max(0, start_step - int(epoch) * steps) :].reshape(-1)

    def epoch_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        indices = tf.ensure_shape(tf.numpy_function(batches_of, [epoch], tf.int32, stateful=False), [None])
        return tf.data.Dataset.from_tensor_slices(indices)

    def read(position: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = resize_images(decode_image(tf.io.read_file(tf.gather(paths, index))), image_size)
        image = tf.ensure_shape(tf.cast(tf.round(image), tf.uint8), [*image_size, 3])
        # An image's position in the run stands for its epoch, step and place in the batch.
        return augment_image(image, augmentation, tf.stack([seed, position])), tf.gather(labels, index)

    paths, labels = tf.constant(image_paths), tf.constant(person_ids)
    indices = tf.data.Dataset.range(start_step // steps, epochs).flat_map(epoch_indices)
    dataset = indices.enumerate(start=start_step * batch_size).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _as_int32(person_ids: Sequence[int]) -> np.ndarray:
    person_ids = np.asarray(person_ids)
    if not np.can_cast(person_ids.dtype, np.int64) or person_ids.dtype.kind not in "iu":
        raise ReidError(f"person_ids have dtype {person_ids.dtype}, expected integers: code them from 1.")
    if len(person_ids) and max(abs(int(person_ids.min())), int(person_ids.max())) > np.iinfo(np.int32).max:
        raise ReidError(f"person_ids up to {person_ids.max()} do not fit 32 bits: code them from 1.")
    return person_ids.astype(np.int32)


def image_batches(
    image_paths: Sequence[str], *, batch_size: int, skip_undecodable: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields decoded images in batches of one size each, so that nothing is resized before the network sees it.

    Args:
        image_paths: `[N]` files.
        batch_size: most images in a batch.
        skip_undecodable: images that cannot be read come in no batch, in place of an error.

    Yields:
        (int64 `[n]` positions in `image_paths`, uint8 `[n, H, W, 3]` RGB), each position once.

    Raises:
        ReidError: names the images that cannot be read.
    """
    if batch_size < 1:
        raise ReidError(f"--batch_size={batch_size}, expected at least 1.")
    image_paths = [os.fspath(path) for path in image_paths]
    for start in range(0, len(image_paths), _CHUNK):
        chunk = image_paths[start : start + _CHUNK]
        batches_of = _decodable_batches if skip_undecodable else _batches
        for positions, images in batches_of(chunk, batch_size):
            yield start + positions, images


def _batches(image_paths: list[str], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    try:
        yield from _equal_size_batches(image_paths, batch_size).as_numpy_iterator()
    except tf.errors.OpError as error:  # missing, forbidden, a folder, truncated: each has a class of its own
        raise_for_undecodable(image_paths, error)


def _decodable_batches(image_paths: list[str], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    came = np.zeros(len(image_paths), bool)
    for positions, images in _equal_size_batches(image_paths, batch_size, ignore_errors=True).as_numpy_iterator():
        came[positions] = True
        yield positions, images
    missed = np.flatnonzero(~came)
    # Read once more: a disk or a network that failed for a moment is no reason to lose an image.
    undecodable = set(undecodable_images([image_paths[position] for position in missed]))
    again = np.array([position for position in missed if image_paths[position] not in undecodable], int)
    for positions, images in image_batches([image_paths[position] for position in again], batch_size=batch_size):
        yield again[positions], images


def _equal_size_batches(image_paths: list[str], batch_size: int, *, ignore_errors: bool = False) -> tf.data.Dataset:
    def size_key(_, image):
        height, width = tf.unstack(tf.shape(image, tf.int64)[:2])
        return height * 2**32 + width

    files = tf.data.Dataset.from_tensor_slices(image_paths).enumerate()
    images = files.map(lambda n, path: (n, decode_image(tf.io.read_file(path))), num_parallel_calls=tf.data.AUTOTUNE)
    if ignore_errors:
        images = images.ignore_errors()
    grouped = images.group_by_window(size_key, lambda _, group: group.batch(batch_size), window_size=batch_size)
    return grouped.prefetch(tf.data.AUTOTUNE)
