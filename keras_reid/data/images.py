"""Decides how a file becomes pixels: decode, resize, and the random changes of training, as TensorFlow graph ops."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# What erased pixels are filled with: the mean colour of ImageNet, as in Zhong et al. and the baselines after it.
ERASED_COLOUR = (124, 116, 104)


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
                raise ReidError(f"--random_{name}={getattr(self, name)}, expected a probability from 0 to 1.")
        if not (isinstance(self.crop_padding, numbers.Integral) and self.crop_padding >= 0):
            raise ReidError(f"--random_crop_padding={self.crop_padding}, expected 0 or more whole pixels.")


def decode_image(contents: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG, PNG or BMP file, a string `[]`, to RGB uint8 `[height, width, 3]`."""
    image = tf.cond(
        tf.io.is_jpeg(contents),
        # As Pillow, OpenCV and torchvision decode: TensorFlow's default is a faster transform, off by a few levels.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def resize_images(images: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes as every part of the package does: bilinear, half-pixel centres, no antialiasing, no rounding.

    Args:
        images: `[N, H, W, 3]` or `[H, W, 3]`, uint8 or float, values 0..255.
        image_size: (height, width).

    Returns:
        float32 of that size, values 0..255; an image that already has the size keeps its values bit by bit.
    """
    # The cast comes last: a photo of 12,000 x 12,000 pixels takes 0.4 GB in uint8 and 1.7 GB in float32.
    return tf.cast(tf.image.resize(images, image_size, method="bilinear", antialias=False), tf.float32)


def augment_image(image: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Applies the random changes of training.

    Args:
        image: uint8 `[H, W, 3]`, H and W known.
        augmentation: which changes, how strong.
        seed: int `[2]`; the same seed gives the same image, on every machine and in every thread.

    Returns:
        uint8 `[H, W, 3]`.
    """
    # One draw for all: cheaper than a generator for each change. Left alone, TensorFlow picks the algorithm by device.
    uniform = tf.unstack(tf.random.stateless_uniform([8], seed, alg="philox"))
    if augmentation.flip:
        image = tf.cond(uniform[0] < augmentation.flip, lambda: image[:, ::-1], lambda: image)
    if augmentation.crop_padding:
        image = _pad_and_crop(image, augmentation.crop_padding, uniform[1], uniform[2])
    if augmentation.erasing:
        image = tf.cond(uniform[3] < augmentation.erasing, lambda: _erase(image, *uniform[4:]), lambda: image)
    return image


def _pad_and_crop(image: tf.Tensor, padding: int, u_top: tf.Tensor, u_left: tf.Tensor) -> tf.Tensor:
    height, width, _ = image.shape
    padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
    offset = tf.cast(tf.floor(tf.stack([u_top, u_left, 0.0]) * (2 * padding + 1)), tf.int32)
    return tf.ensure_shape(tf.slice(padded, offset, [height, width, 3]), [height, width, 3])


def _erase(image: tf.Tensor, u_area: tf.Tensor, u_aspect: tf.Tensor, u_top: tf.Tensor, u_left: tf.Tensor) -> tf.Tensor:
    height, width, _ = image.shape
    area = (0.02 + 0.38 * u_area) * height * width
    aspect = tf.exp((2 * u_aspect - 1) * tf.math.log(1 / 0.3))  # height / width, from 0.3 to 1 / 0.3
    erased_height = tf.minimum(tf.sqrt(area * aspect), float(height))
    erased_width = tf.minimum(tf.sqrt(area / aspect), float(width))
    top, left = u_top * (height - erased_height), u_left * (width - erased_width)
    rows, columns = tf.range(height, dtype=tf.float32)[:, None], tf.range(width, dtype=tf.float32)[None]
    inside = (rows >= top) & (rows < top + erased_height) & (columns >= left) & (columns < left + erased_width)
    return tf.where(inside[..., None], tf.constant(ERASED_COLOUR, tf.uint8), image)


def undecodable_images(image_paths: Sequence[str]) -> list[str]:
    """Returns those of the files that cannot be read as images, in order. It reads them all.

    Raises:
        tf.errors.ResourceExhaustedError: this machine lacks memory, or file handles: that says nothing of the images.
    """

    def fails(path: str) -> bool:
        try:
            decode_image(tf.io.read_file(path))
        except tf.errors.ResourceExhaustedError:
            raise
        except (tf.errors.OpError, ValueError):
            return True
        return False

    with ThreadPoolExecutor() as pool:
        return [path for path, failed in zip(image_paths, pool.map(fails, image_paths)) if failed]


def raise_for_undecodable(image_paths: Sequence[str], error: Exception) -> None:
    """Raises a ReidError that names the images behind a failed pipeline, or the error itself when they all decode."""
    broken = undecodable_images([str(path) for path in image_paths])  # NumPy's strings would print as np.str_('...')
    if not broken:
        raise error
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    raise ReidError(
        f"{len(broken)} of {len(image_paths)} images cannot be read (missing, truncated or no image): "
        f"{', '.join(map(repr, broken[:3]))}{more}. Restore them or move them away."
    ) from error
