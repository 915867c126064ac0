"""Augmentation of training images: flip, pad-and-crop and random erasing, for a whole batch at once.

The time goes into operations and bytes moved, not into arithmetic. So nothing is computed pixel by pixel: images, rows
and windows are copied in one piece each, and only the rows that an erased rectangle crosses are changed.
`benchmarks/input_pipeline.py` measures it; the tests compare it with a slow version.
"""

from __future__ import annotations

import dataclasses
import numbers

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Fills erased pixels: the mean color of ImageNet, as in Zhong et al. and the baselines after it.
ERASED_COLOR = (124, 116, 104)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly training images are changed; 0 turns a change off.

    Attributes:
        flip: probability of a left-right flip.
        crop_padding: pixels of black border, each side, from which a crop of the image's own size is cut.
        erasing: probability that a random rectangle (2 to 40 % of the area) is erased (Zhong et al. 2017).
    """

    flip: float = 0.5
    crop_padding: int = 10
    erasing: float = 0.0

    def __post_init__(self):
        for name in ("flip", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ReidError(f"random_{name}={getattr(self, name)}, expected a probability from 0 to 1.")
        if not (isinstance(self.crop_padding, numbers.Integral) and self.crop_padding >= 0):
            raise ReidError(f"random_crop_padding={self.crop_padding}, expected 0 or more whole pixels.")


def augment_images(
    images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor, *, place: int = 0, of: int | None = None
) -> tf.Tensor:
    """Applies the random changes of training, in this order: flip, crop, erasing.

    Args:
        images: uint8 `[B, H, W, 3]`, the shape known.
        augmentation: which changes, how strong.
        seed: int `[2]`. The changes of an image are a pure function of the seed and of its place in the batch, on every
            machine and in every thread.
        place: of the first image in the whole batch, where `images` are a part of it.
        of: how many images the whole batch has; by default as many as `images`.

    Returns:
        uint8 `[B, H, W, 3]`.
    """
    count, height, width, _ = images.shape
    padding = augmentation.crop_padding
    # One draw for all changes is cheaper. The algorithm is named, as TensorFlow would choose another on each device.
    draws = tf.random.stateless_uniform([8, of or count], seed, alg="philox")[:, place : place + count]
    flip, top, left, erase, *rectangle = tf.unstack(draws)
    top, left = (tf.cast(tf.floor(uniform * (2 * padding + 1)), tf.int32) for uniform in (top, left))

    # The batch as a table of rows of pixels, a black row last; `rows` `[B, H]` names the rows of each image.
    black = tf.zeros([1, height, width, 3], tf.uint8)
    images, places = _flip(images, flip < augmentation.flip, black)
    inside = tf.range(height) + top[:, None] - padding
    rows = places[:, None] * height + inside
    rows = tf.where((inside >= 0) & (inside < height), rows, count * height)
    table = tf.reshape(_with_border(images, padding), [-1, (width + 2 * padding) * 3])
    if augmentation.erasing:
        rectangle = _rectangle(height, width, erase < augmentation.erasing, *rectangle)
        table, rows = _erase(table, rows, left, *rectangle)
    return _windows(tf.reshape(tf.gather(table, rows), [count, height, -1, 3]), left, width)


def _flip(images: tf.Tensor, chosen: tf.Tensor, black: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the unchanged images, the mirrored ones, then `black`; and the new position of each image `[B]`."""
    _, height, width, _ = images.shape
    kept, mirrored = tf.where(~chosen)[:, 0], tf.where(chosen)[:, 0]
    # As rows: TensorFlow reverses an axis of three-dimensional data forty times faster than a four-dimensional slice.
    reverse = tf.reverse(tf.reshape(tf.gather(images, mirrored), [-1, width, 3]), axis=[1])
    images = tf.concat([tf.gather(images, kept), tf.reshape(reverse, [-1, height, width, 3]), black], axis=0)
    return images, tf.cast(tf.math.invert_permutation(tf.concat([kept, mirrored], axis=0)), tf.int32)


def _with_border(images: tf.Tensor, padding: int) -> tf.Tensor:
    """Adds black columns left and right; concatenation copies whole rows, tf.pad single pixels."""
    border = tf.zeros([tf.shape(images)[0], images.shape[1], padding, 3], tf.uint8)
    return tf.concat([border, images, border], axis=2) if padding else images


def _rectangle(
    height: int, width: int, chosen: tf.Tensor, u_area: tf.Tensor, u_aspect: tf.Tensor, u_y: tf.Tensor, u_x: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the rows `[B, H]` and the columns `[B, W]` that a rectangle covers; no rows where none is chosen."""
    area = (0.02 + 0.38 * u_area) * height * width
    aspect = tf.exp((2 * u_aspect - 1) * tf.math.log(1 / 0.3))  # height / width, from 0.3 to 1 / 0.3
    sides = []
    for side, length, uniform in ((height, tf.sqrt(area * aspect), u_y), (width, tf.sqrt(area / aspect), u_x)):
        length = tf.minimum(length, float(side))
        first = (uniform * (side - length))[:, None]
        place = tf.range(side, dtype=tf.float32)
        sides.append((place >= first) & (place < first + length[:, None]))
    return sides[0] & chosen[:, None], sides[1]


def _erase(
    table: tf.Tensor, rows: tf.Tensor, left: tf.Tensor, erased_rows: tf.Tensor, erased_columns: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Appends a changed copy of each row that a rectangle crosses to the table; returns it and the new `rows`."""
    width, padded_width = erased_columns.shape[1], table.shape[1] // 3
    # The rectangle's columns in the padded row, whose window begins at `left`, as bytes: 255 inside, 0 outside.
    offset = tf.range(padded_width) - left[:, None]
    columns = tf.gather(erased_columns, tf.clip_by_value(offset, 0, width - 1), batch_dims=1)
    erased = tf.repeat(tf.cast(columns, tf.uint8) * 255, 3, axis=1)
    color = tf.bitwise.bitwise_and(erased, tf.constant(ERASED_COLOR * padded_width, tf.uint8))
    where = tf.where(erased_rows)
    image = where[:, 0]
    copies = tf.bitwise.bitwise_and(
        tf.gather(table, tf.gather_nd(rows, where)), tf.gather(tf.bitwise.invert(erased), image)
    )
    copies = tf.bitwise.bitwise_or(copies, tf.gather(color, image))
    flat = tf.cast(tf.reshape(erased_rows, [-1]), tf.int32)
    appended = tf.reshape(tf.cumsum(flat, exclusive=True), rows.shape) + tf.shape(table)[0]
    return tf.concat([table, copies], axis=0), tf.where(erased_rows, appended, rows)


def _windows(images: tf.Tensor, left: tf.Tensor, width: int) -> tf.Tensor:
    """Cuts `width` columns from `left` on out of each image, as one block; a gather would copy pixel by pixel."""
    count, height, padded_width, _ = images.shape
    if padded_width == width:
        return images
    zero = tf.zeros_like(left)
    begins = tf.unstack(tf.stack([tf.range(count), zero, left, zero], axis=1))
    return tf.concat([tf.slice(images, begin, [1, height, width, 3]) for begin in begins], axis=0)
