"""EXIF orientation: how a photo is stored turned or mirrored, read from its file, and its pixels put upright.

Cameras store what their sensor saw and note how they were held; TensorFlow's decoders know nothing of the note. All of
this is graph ops, the same in the input pipeline and inside a SavedModel.
"""

from __future__ import annotations

from collections.abc import Callable

from keras_reid.keras2 import tf

UPRIGHT = 1
# What stands before the EXIF block, which is a small TIFF file, in each format.
IN_JPEG, IN_PNG = b"Exif\x00\x00", b"eXIf"

_TIFF_HEADERS = [list(b"II*\x00"), list(b"MM\x00*")]  # least, or most significant byte first
_TAG, _SHORT = 0x0112, 3
_ENTRY = 12  # bytes: tag, type, count, value
_MOST_BYTES = 2**16  # of an EXIF block in JPEG


def put_upright(image: tf.Tensor, contents: tf.Tensor, before: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns stored pixels `[H, W, C]` as the EXIF block of their file, a string `[]`, demands.

    Args:
        image: the pixels; the orientations 5 to 8 exchange height and width.
        contents: the file.
        before: what stands before EXIF in a file of this format, `IN_JPEG` or `IN_PNG`.

    Returns:
        The upright image and the orientation, int32 `[]` from 1 to 8: 1, upright, where the file states none. A damaged
        EXIF block counts as none: the pixels may be whole all the same.
    """
    parts = tf.raw_ops.StringSplitV2(input=[contents], sep=before, maxsplit=1).values

    @seldom
    def by_exif() -> tuple[tf.Tensor, tf.Tensor]:
        orientation = _orientation_in(tf.strings.substr(parts[1], 0, _MOST_BYTES))
        return tf.cond(orientation == UPRIGHT, lambda: image, lambda: _turned(image, orientation)), orientation

    return tf.cond(tf.size(parts) > 1, by_exif, lambda: (image, tf.constant(UPRIGHT)))


def seldom(branch: Callable) -> Callable:
    """Makes a branch of `tf.cond` one operation of its graph: inlined, an untaken branch costs time at each image."""
    if tf.executing_eagerly():  # would trace it at each call
        return branch
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})


def _orientation_in(tiff: tf.Tensor) -> tf.Tensor:
    """Returns the orientation that the first directory of a TIFF file, a string `[]`, states."""
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int64)
    data = tf.pad(data, [[0, _ENTRY]])  # what is cut off reads as 0
    least_first = data[0] == ord("I")

    def number(part: tf.Tensor) -> tf.Tensor:
        """Returns whole numbers of their bytes, which are the last axis."""
        weights = tf.constant([256**place for place in range(part.shape[-1])], tf.int64)
        return tf.reduce_sum(part * tf.where(least_first, weights, weights[::-1]), axis=-1)

    start = tf.minimum(number(tf.ensure_shape(data[4:8], [4])), tf.size(data, tf.int64) - 2)
    count = number(tf.ensure_shape(data[start : start + 2], [2]))
    entries = data[start + 2 : start + 2 + _ENTRY * count]
    entries = tf.reshape(entries[: tf.size(entries) // _ENTRY * _ENTRY], [-1, _ENTRY])
    is_it = (number(entries[:, :2]) == _TAG) & (number(entries[:, 2:4]) == _SHORT)
    is_tiff = tf.reduce_any(tf.reduce_all(data[:4] == _TIFF_HEADERS, axis=1))
    value = tf.concat([tf.boolean_mask(number(entries[:, 8:10]), is_it & is_tiff), [UPRIGHT]], axis=0)[0]
    return tf.cast(tf.where((value >= 1) & (value <= 8), value, UPRIGHT), tf.int32)


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    stood = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    top_is_below = tf.reduce_any(orientation == [3, 4, 7, 8])
    left_is_right = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.reverse(stood, tf.boolean_mask([0, 1], tf.stack([top_is_below, left_is_right])))
