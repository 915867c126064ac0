"""Input pipeline: training batches as a tf.data dataset, and batches of equal image size for embedding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_reid.data.augmentation import Augmentation, augment_images
from keras_reid.data.cache import ImageCache, keeps_in_memory
from keras_reid.data.decoding import decode_image
from keras_reid.data.images import raise_for_undecodable, read_image, undecodable_images
from keras_reid.data.sampling import IdentityBatches
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Images of one size wait for each other until a batch is full; a chunk bounds how many wait when every size differs.
_CHUNK = 4096


def training_dataset(
    batches: IdentityBatches,
    *,
    image_size: tuple[int, int],
    epochs: int,
    augmentation: Augmentation | None = None,
    start_step: int = 0,
    cache: str = "none",
    parts: Sequence[tuple[int, int]] | None = None,
    processes_on_host: int = 1,
) -> tf.data.Dataset:
    """Returns the training batches of a run, decoded, from any step on: a pure function of its arguments.

    Args:
        batches: which images meet at each step.
        image_size: (height, width) that images are resized to.
        epochs: of the whole run.
        augmentation: random changes; None for the default strengths.
        start_step: steps of the run that are left out at the beginning, to go on where a run stopped.
        cache: "memory" keeps each image, decoded and resized, from its first use on: N * height * width * 3 bytes.
            "auto" does so where half the free memory holds them. The batches are the same, bit by bit.
        parts: only these of the P identities of each batch, as neighboring ranges (first, last + 1), one for each
            replica that trains on them: each image is changed as it would be in the whole batch. None is all.
        processes_on_host: how many processes of this machine keep images in memory, this one included.

    Returns:
        A dataset of (uint8 `[P * K, height, width, 3]` RGB, int32 `[P * K]` person ids); with `parts` one element for
        each part, step after step.

    Raises:
        ReidError: the cache is unknown.
    """
    augmentation = augmentation or Augmentation()
    P, K, steps = batches.identities_per_batch, batches.images_per_identity, batches.steps_per_epoch
    rows = np.array(parts or [(0, P)]) * K
    begin, end = int(rows[0, 0]), int(rows[-1, 1])
    batch_size, images = end - begin, len(batches.images)

    def batches_of(epoch: int) -> np.ndarray:
        return np.ascontiguousarray(batches.of_epoch(int(epoch))[max(0, start_step - int(epoch) * steps) :, begin:end])

    def left_out_of(epoch: int) -> np.ndarray:
        return np.setdiff1d(np.arange(images), batches_of(epoch)).astype(np.int32)

    def read_epochs(which: np.ndarray) -> tf.data.Dataset:
        return read(_drawn(lambda epoch: batches_of(epoch).reshape(-1), which, [None]))

    def read(indices: tf.data.Dataset) -> tf.data.Dataset:
        pairs = _parallel(indices, lambda index: (read_image(tf.gather(paths, index), image_size), index))
        return pairs.batch(batch_size)

    def finish(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.ensure_shape(batch[0], [batch_size, *image_size, 3])
        indices = tf.ensure_shape(batch[1], [batch_size])
        # The changes of an image depend on the step of the run and its place in the batch, not on threads.
        pixels = augment_images(pixels, augmentation, tf.stack([batches.seed, step]), place=begin, of=P * K)
        return pixels, tf.gather(person_ids, indices)

    paths, person_ids = tf.constant(np.asarray(batches.images.image_path, str)), tf.constant(batches.person_ids)
    left = np.arange(start_step // steps, epochs)
    first, later = left[:1], left[1:]
    if len(later) and keeps_in_memory(cache, images=images * processes_on_host, image_size=image_size):
        kept = ImageCache(images, image_size)
        # The later epochs find every image: what the first did not draw is stored at its end, and comes in no batch.
        unseen = _parallel(read(_drawn(left_out_of, first, [None])), kept.store).filter(lambda *_: False)
        looked_up = _parallel(_drawn(batches_of, later, [None, batch_size]), kept.look_up)
        stream = _parallel(read_epochs(first), kept.store).concatenate(unseen).concatenate(looked_up)
    else:
        stream = read_epochs(left)
    finished = _parallel(stream.enumerate(start=start_step), finish)
    return (_cut(finished, rows - begin, image_size) if len(rows) > 1 else finished).prefetch(tf.data.AUTOTUNE)


def _cut(dataset: tf.data.Dataset, rows: np.ndarray, image_size: tuple[int, int]) -> tf.data.Dataset:
    """Cuts each batch into parts, the images from `rows[n, 0]` to `rows[n, 1]`."""
    sizes = np.unique(rows[:, 1] - rows[:, 0])
    size = int(sizes[0]) if len(sizes) == 1 else None

    def parts_of(images: tf.Tensor, person_ids: tf.Tensor) -> tf.data.Dataset:
        def part(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own = images[row[0] : row[1]], person_ids[row[0] : row[1]]
            return tf.ensure_shape(own[0], [size, *image_size, 3]), tf.ensure_shape(own[1], [size])

        return tf.data.Dataset.from_tensor_slices(rows).map(part)

    return dataset.flat_map(parts_of)


def _parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _drawn(draw: Callable[[int], np.ndarray], epochs: np.ndarray, shape: list) -> tf.data.Dataset:
    """Returns a dataset of the rows of `draw(epoch)`, int32 of this shape, epoch after epoch, each drawn ahead."""

    def rows(epoch: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(draw, [epoch], tf.int32, stateful=False), shape)

    drawn = tf.data.Dataset.from_tensor_slices(epochs).map(rows).prefetch(1)
    return drawn.flat_map(tf.data.Dataset.from_tensor_slices)


def image_batches(
    image_paths: Sequence[str], *, batch_size: int, skip_undecodable: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields decoded images in batches of equal size each: nothing is resized before the network sees it.

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
        raise ReidError(f"batch_size={batch_size}, expected at least 1.")
    image_paths = [os.fspath(path) for path in image_paths]
    batches_of = _decodable_batches if skip_undecodable else _batches
    for start in range(0, len(image_paths), _CHUNK):
        for positions, images in batches_of(image_paths[start : start + _CHUNK], batch_size):
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
