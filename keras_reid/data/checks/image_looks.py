"""Looks of image files: bytes, format, size, colors and a thumbnail, or the reason why a file cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from keras_reid.data.decoding import decode_with_orientation
from keras_reid.data.formats import HEAD, SUFFIXES, file_format
from keras_reid.keras2 import tf

THUMBNAIL_SIZE = (16, 8)

_BATCH = 256


class Looks(NamedTuple):
    """What is known of each image that can be read, `[N]` each."""

    positions: np.ndarray  # int64, in the list of files
    fingerprints: np.ndarray  # int64, of the file's bytes
    heads: np.ndarray  # bytes, the first of the file
    orientations: np.ndarray  # int32, of EXIF: 1 where the pixels are stored upright
    sizes: np.ndarray  # int32 [N, 2], height and width of the upright image
    spreads: np.ndarray  # uint8, the largest difference between the colors of a pixel
    deviations: np.ndarray  # float32, the standard deviation of the thumbnail, of its liveliest color
    thumbnails: np.ndarray  # uint8 [N, 16, 8, 3]


def look_at_images(image_paths: Sequence[str]) -> tuple[Looks, dict[str, list[str]]]:
    """Reads every image once, in parallel.

    Returns the looks of those that can be read; and the others by what is wrong: missing, unreadable, empty, damaged or
    not_an_image.
    """
    seen, came = [], np.zeros(len(image_paths), bool)
    bar = {"desc": "reading images", "unit": "image", "disable": None, "delay": 3, "leave": False}
    with tqdm(total=len(image_paths), **bar) as progress:
        for batch in _parallel(image_paths):
            seen.append(batch)
            came[batch.positions] = True
            progress.update(len(batch.positions))
    troubles: dict[str, list[str]] = {}
    for position in np.flatnonzero(~came):
        try:  # once more, since a disk or a network may have failed for a moment
            look = _look(position, tf.constant(image_paths[position]))
            seen.append(Looks(*(np.asarray(part)[None] for part in look)))
        except (tf.errors.OpError, ValueError) as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            troubles.setdefault(_what_is_wrong(image_paths[position]), []).append(image_paths[position])
    return _joined(seen), troubles


def _parallel(image_paths: Sequence[str]) -> Iterator[Looks]:
    files = tf.data.Dataset.from_tensor_slices(list(image_paths)).enumerate()
    looks = files.map(_look, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    for batch in looks.batch(_BATCH).prefetch(2).as_numpy_iterator():
        yield Looks(*batch)


def _look(position: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
    contents = tf.io.read_file(path)
    image, orientation = decode_with_orientation(contents)
    red, green, blue = tf.unstack(image, axis=-1)
    brightest, darkest = tf.maximum(tf.maximum(red, green), blue), tf.minimum(tf.minimum(red, green), blue)
    thumbnail = tf.image.resize(image, THUMBNAIL_SIZE, method="area")
    return (
        tf.cast(position, tf.int64),
        tf.strings.to_hash_bucket_fast(contents, 2**63 - 1),
        tf.strings.substr(contents, 0, HEAD),
        orientation,
        tf.shape(image)[:2],
        tf.reduce_max(brightest - darkest),
        tf.reduce_max(tf.math.reduce_std(thumbnail, axis=[0, 1])),
        tf.cast(thumbnail, tf.uint8),
    )


def _joined(seen: list[Looks]) -> Looks:
    nothing = [np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0, np.int32)]
    nothing += [np.zeros((0, 2), np.int32), np.zeros(0, np.uint8), np.zeros(0, np.float32)]
    nothing += [np.zeros((0, *THUMBNAIL_SIZE, 3), np.uint8)]
    parts = [np.concatenate(part) for part in zip(nothing, *seen)]
    order = np.argsort(parts[0])
    return Looks(*(part[order] for part in parts))


def _what_is_wrong(path: str) -> str:
    """Returns what is wrong with a file that cannot be read as an image."""
    try:
        head = read_head(path)
    except tf.errors.NotFoundError:
        return "missing"
    except tf.errors.OpError:
        return "unreadable"
    if not head:
        return "empty"
    return "damaged" if file_format(head) in SUFFIXES else "not_an_image"


def read_head(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read(HEAD)
