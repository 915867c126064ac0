"""Decides how images reach the network: identity batches for training, batches of equal size for embedding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_reid.data.augmentation import Augmentation, augment_images
from keras_reid.data.batches import steps_per_epoch
from keras_reid.data.cache import ImageCache, keeps_in_memory
from keras_reid.data.images import decode_image, raise_for_undecodable, read_image, undecodable_images
from keras_reid.data.sampling import draw_batches
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
    camera_ids: Sequence | None = None,
    dataset_ids: Sequence[int] | None = None,
    cache: str = "none",
    parts: Sequence[tuple[int, int]] | None = None,
    caches_beside: int = 1,
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
        camera_ids: `[N]`, for batches balanced by camera, see `camera_batches`; missing ones may be among them.
        dataset_ids: integer `[N]`, for batches balanced by dataset, see `dataset_batches`.
        cache: "memory" keeps each image, decoded and resized, from its first use on: N * height * width * 3 bytes.
            "auto" does so where half the free memory holds them. The batches are the same, bit by bit.
        parts: of each batch only these of its P identities, (first, last + 1) side by side, for the replicas that train
            on them: its images are those that the whole batch would have. None is all.
        caches_beside: how many processes on this machine keep images, this one among them.

    Returns:
        A dataset of (uint8 `[P * K, height, width, 3]` RGB, int32 `[P * K]` person ids); with parts an element for each
        of them, step after step.

    Raises:
        ReidError: P or K does not fit the training set, or ids are no integers of 32 bits, one for each image.
    """
    augmentation = augmentation or Augmentation()
    image_paths, person_ids = np.asarray(image_paths, dtype=str), _as_int32(person_ids)
    if len(image_paths) != len(person_ids):
        raise ReidError(f"{len(image_paths)} image_paths but {len(person_ids)} person_ids, expected one for each.")
    batch_arguments = {"identities_per_batch": identities_per_batch, "images_per_identity": images_per_identity}
    steps = steps_per_epoch(person_ids, **batch_arguments, dataset_ids=dataset_ids)
    by = {"camera_ids": camera_ids, "dataset_ids": dataset_ids}
    whole_batch = identities_per_batch * images_per_identity
    rows = np.array(parts or [(0, identities_per_batch)]) * images_per_identity
    begin, end = int(rows[0, 0]), int(rows[-1, 1])
    batch_size = end - begin

    def batches_of(epoch: int) -> np.ndarray:
        batches = draw_batches(person_ids, **batch_arguments, **by, seed=seed, epoch=int(epoch))
        return np.ascontiguousarray(batches[max(0, start_step - int(epoch) * steps) :, begin:end])

    def left_out_of(epoch: int) -> np.ndarray:
        return np.setdiff1d(np.arange(len(person_ids)), batches_of(epoch)).astype(np.int32)

    def read_epochs(which: np.ndarray) -> tf.data.Dataset:
        return read(_drawn(lambda epoch: batches_of(epoch).reshape(-1), which, [None]))

    def read(indices: tf.data.Dataset) -> tf.data.Dataset:
        images = _parallel(indices, lambda index: (read_image(tf.gather(paths, index), image_size), index))
        return images.batch(batch_size)

    def finish(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.ensure_shape(batch[0], [batch_size, *image_size, 3])
        indices = tf.ensure_shape(batch[1], [batch_size])
        # What happens to an image depends on the step in the run and its place in the batch, not on who reads it when.
        images = augment_images(images, augmentation, tf.stack([seed, step]), place=begin, of=whole_batch)
        return images, tf.gather(labels, indices)

    def cut(images: tf.Tensor, person_ids: tf.Tensor) -> tf.data.Dataset:
        sizes = np.unique(rows[:, 1] - rows[:, 0])
        size = int(sizes[0]) if len(sizes) == 1 else None

        def part(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own = images[row[0] : row[1]], person_ids[row[0] : row[1]]
            return tf.ensure_shape(own[0], [size, *image_size, 3]), tf.ensure_shape(own[1], [size])

        return tf.data.Dataset.from_tensor_slices(rows - begin).map(part)

    paths, labels = tf.constant(image_paths), tf.constant(person_ids)
    left = np.arange(start_step // steps, epochs)
    first, later = left[:1], left[1:]
    if len(later) and keeps_in_memory(cache, images=len(image_paths) * caches_beside, image_size=image_size):
        kept = ImageCache(len(image_paths), image_size)
        # The later epochs find every image: what the first did not draw is stored at its end, and comes in no batch.
        unseen = _parallel(read(_drawn(left_out_of, first, [None])), kept.store).filter(lambda *_: False)
        looked_up = _parallel(_drawn(batches_of, later, [None, batch_size]), kept.look_up)
        batches = _parallel(read_epochs(first), kept.store).concatenate(unseen).concatenate(looked_up)
    else:
        batches = read_epochs(left)
    finished = _parallel(batches.enumerate(start=start_step), finish)
    return (finished.flat_map(cut) if len(rows) > 1 else finished).prefetch(tf.data.AUTOTUNE)


def _parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _drawn(draw: Callable[[int], np.ndarray], epochs: np.ndarray, shape: list) -> tf.data.Dataset:
    """Returns a dataset of the rows of `draw(epoch)`, int32 of this shape, epoch after epoch, each drawn ahead."""

    def rows(epoch: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(draw, [epoch], tf.int32, stateful=False), shape)

    drawn = tf.data.Dataset.from_tensor_slices(epochs).map(rows).prefetch(1)
    return drawn.flat_map(tf.data.Dataset.from_tensor_slices)


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
