"""Decoding: image files of every format to upright RGB pixels, in TensorFlow where it reads a format right.

JPEG, PNG and plain BMP files (24 or 32 bits, not compressed) are decoded by graph ops, with their EXIF orientation.
TensorFlow takes the palette of a BMP for gray levels, and most other formats it does not know: Pillow decodes those, in
this process. A graph that is shipped holds no Python, and refuses them.
"""

from __future__ import annotations

import atexit
import io
import threading
import time
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, ImageOps

from keras_reid.data.formats import SUFFIXES
from keras_reid.data.orientation import IN_JPEG, IN_PNG, UPRIGHT, put_upright, seldom
from keras_reid.keras2 import tf

# \C is any byte. Of a BMP: the size of its header (40, 108 or 124), then 24 or 32 bits, then compression 0.
_HEAD = 34
_PNG_OR_PLAIN_BMP = r"(?:\CPNG\r\n\x1a\n|BM\C{12}[(l|]\x00{3}\C{10}[\x18\x20]\x00{5})\C*"
_REFUSAL = "Unknown image file format: expected JPEG, PNG, or BMP of 24 or 32 bits without compression. Convert to PNG."


def decode_image(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a file of any format in `formats.SUFFIXES`, a string `[]`, to upright RGB uint8 `[height, width, 3]`.

    Of several frames or pages the first counts; of 16 bits a channel the upper 8; transparency is ignored.
    """
    return decode_with_orientation(contents)[0]


def decode_with_orientation(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes as `decode_image`; returns the EXIF orientation, too, that was undone: int32 `[]`, 1 for none."""
    return _of_any_format(contents)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)  # traced once, not for each pipeline
def _of_any_format(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return _decode(contents, _by_pillow)


def decode_in_graph(contents: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG, PNG and plain BMP files as `decode_image`, by TensorFlow alone; InvalidArgumentError for others."""
    return _decode(contents, _refused)[0]


def _decode(contents: tf.Tensor, others: Callable) -> tuple[tf.Tensor, tf.Tensor]:
    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        # As Pillow, OpenCV and torchvision decode: TensorFlow's default is a faster transform, off by a few levels.
        pixels = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
        return put_upright(pixels, contents, IN_JPEG)

    def png_or_bmp() -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_image(contents, channels=3, expand_animations=False)
        return put_upright(pixels, contents, IN_PNG)

    @seldom
    def no_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        head = tf.strings.substr(contents, 0, _HEAD)
        known = tf.strings.regex_full_match(head, _PNG_OR_PLAIN_BMP) | (head == b"")  # for the error "Input is empty"
        image, orientation = tf.cond(known, png_or_bmp, lambda: others(contents))
        return tf.ensure_shape(image, [None, None, 3]), tf.ensure_shape(orientation, [])

    return tf.cond(tf.io.is_jpeg(contents), jpeg, no_jpeg)


_under_way: set[int] = set()  # threads that are in Pillow
_last_call, _python_ends = [float("-inf")], threading.Event()


def _by_pillow(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    def decode(content: np.ndarray) -> tuple[np.ndarray, np.int32]:
        thread = threading.get_ident()
        _under_way.add(thread)
        try:
            if _python_ends.is_set():
                raise ValueError("Python ends")
            return decode_by_pillow(content.tobytes())
        finally:
            _last_call[0] = time.monotonic()
            _under_way.discard(thread)

    # As numbers: of a string NumPy drops the zeros at its end.
    data = tf.io.decode_raw(contents, tf.uint8)
    return tuple(tf.numpy_function(decode, [data], (tf.uint8, tf.int32), stateful=False))


@atexit.register
def _let_pipelines_rest() -> None:
    """Waits until no pipeline calls Pillow: such threads go down with Python, and TensorFlow would wait for them."""
    _python_ends.set()  # calls fail at once, so what is read ahead is soon full
    deadline = time.monotonic() + 5
    while (_under_way or time.monotonic() - _last_call[0] < 0.1) and time.monotonic() < deadline:
        time.sleep(0.01)


def decode_by_pillow(contents: bytes) -> tuple[np.ndarray, np.int32]:
    """Returns upright RGB pixels and the orientation that was undone, as `decode_with_orientation` without TensorFlow.

    Raises:
        ValueError: Pillow cannot read the file.
    """
    try:
        with Image.open(io.BytesIO(contents), formats=list(SUFFIXES)) as image:
            orientation = _stated_orientation(image)
            pixels = _rgb(image if orientation == UPRIGHT else ImageOps.exif_transpose(image), image.format)
            return pixels, np.int32(orientation)
    except MemoryError:
        raise
    except Exception as error:  # of any class: SyntaxError, OSError, struct.error, DecompressionBombError, ...
        raise ValueError(f"Pillow cannot read it as an image ({error})") from error


def _stated_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of a file that is not yet loaded: Pillow turns TIFF files by itself then."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # damaged, of any class: the pixels may be whole all the same
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def _rgb(image: Image.Image, file_format: str | None) -> np.ndarray:
    if image.mode == "F" or (image.mode == "I" and file_format == "TIFF"):
        raise ValueError("its pixels are numbers of 32 bits, whose range is not known: save it with 8 bits")
    if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would clip to white
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def _refused(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(contents) < 0, [_REFUSAL])]):
        return tf.zeros([0, 0, 3], tf.uint8), tf.constant(UPRIGHT)
