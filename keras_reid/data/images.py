"""Image files to pixels of one size, as TensorFlow graph ops, and the names of files that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from keras_reid.data.decoding import decode_image
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# Images of up to so many bytes are converted to float before the resize: faster, but 1.7 GB for 12,000 x 12,000 pixels.
_FLOAT_FIRST = 2**22


def resize_images(images: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes as every part of the package does: bilinear, half-pixel centers, no antialiasing, no rounding.

    Args:
        images: `[N, H, W, 3]` or `[H, W, 3]`, uint8 or float, values 0..255.
        image_size: (height, width).

    Returns:
        float32 of that size, values 0..255; an image that already has the size keeps its values bit by bit.
    """
    # The cast comes last: 12,000 x 12,000 pixels take 0.4 GB as uint8 and 1.7 GB as float32.
    return tf.cast(tf.image.resize(images, image_size, method="bilinear", antialias=False), tf.float32)


def read_image(path: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Reads an image for training: decoded, resized, rounded to uint8 `[height, width, 3]`."""
    image = decode_image(tf.io.read_file(path))

    def resized() -> tf.Tensor:
        # Both branches give the same values; TensorFlow resizes float in half the time.
        pixels = tf.cond(
            tf.size(image) <= _FLOAT_FIRST,
            lambda: resize_images(tf.cast(image, tf.float32), image_size),
            lambda: resize_images(image, image_size),
        )
        return tf.cast(tf.round(pixels), tf.uint8)

    # An image that has the size already is left alone: its resize would change nothing and take as long as any other.
    image = tf.cond(tf.reduce_all(tf.shape(image)[:2] == image_size), lambda: image, resized)
    return tf.ensure_shape(image, [*image_size, 3])


def undecodable_images(image_paths: Sequence[str]) -> list[str]:
    """Reads all files and returns those that cannot be read as images, in order.

    Raises:
        tf.errors.ResourceExhaustedError: this machine lacks memory or file handles, whatever the images are.
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


# What TensorFlow raises for a file that is missing, forbidden, truncated, a folder, no image, or on a failing disk; not
# what it raises for a worker that cannot be reached.
FILE_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.DataLossError,
    tf.errors.UnknownError,
)


def raise_for_undecodable(image_paths: Sequence[str], error: Exception) -> None:
    """Raises a ReidError that names the images behind a failed pipeline, or the error itself if all images decode."""
    broken = undecodable_images([str(path) for path in image_paths])  # NumPy's strings would print as np.str_('...')
    if not broken:
        raise error
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    raise ReidError(
        f"{len(broken)} of {len(image_paths)} images cannot be read (missing, truncated or no image): "
        f"{', '.join(map(repr, broken[:3]))}{more}. Restore them or move them away."
    ) from error
