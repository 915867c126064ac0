"""Color changes: what each augmentation on the device does to pixels, and what its strength means.

Each function takes a strength and returns a function of images `[B, H, W, 3]`, float32 0..255, and of a list of uniform
random numbers `[B, 1, 1, 1]`, 0 to 1; `CHANGES` says how many. keras-cv's layers change the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from keras_reid.keras2 import tf

_ROUNDS = 2  # changes by RandAugment to an image: N of the paper, which takes 2 for ImageNet
# keras-cv's layers draw nothing here, but without a seed they reach for TensorFlow's global generator, which does not
# exist in a deterministic run; their default dtype would be that of mixed precision.
_PIXELS_ONLY = {"seed": 1, "dtype": "float32"}
_VALUES = {"value_range": (0, 255), **_PIXELS_ONLY}


def color_jitter(strength: float) -> Callable:
    """Returns brightness by up to 102 s levels, contrast and saturation by up to 1 -+ 0.8 s, hue by up to 36 s degrees.

    Contrast and saturation as in SimCLR (Chen et al. 2020, arXiv 2002.05709); hue half as far, since the color of
    clothes is most of what tells people apart; keras-cv's brightness is a shift, where theirs is a factor.
    """
    import keras_cv  # here and below: slow, and prints its backend on import

    brightness = keras_cv.layers.RandomBrightness(0.0, **_VALUES)
    contrast = keras_cv.layers.RandomContrast(factor=0.0, **_VALUES)
    saturation = keras_cv.layers.RandomSaturation(0.5, **_PIXELS_ONLY)
    hue = keras_cv.layers.RandomHue(0.0, **_VALUES)

    def change(images: tf.Tensor, uniform: list) -> tf.Tensor:
        signed = [strength * (2 * numbers - 1) for numbers in uniform]
        images = brightness.augment_images(images, 255 * 0.4 * signed[0])
        images = contrast.augment_images(images, 1 + 0.8 * signed[1])
        factor = 1 + 0.8 * signed[2][:, 0, 0, 0]
        images = saturation.augment_images(images, factor / (1 + factor))  # keras-cv's 0.5 is a factor of 1
        return hue.augment_images(images, 0.1 * signed[3][:, 0, 0, 0])

    return change


def rand_augment(magnitude: float) -> Callable:
    """Returns RandAugment (Cubuk et al. 2019, arXiv 1909.13719) for crops of people.

    Each of two rounds makes one change to an image: none, auto-contrast, brightness by up to 128 m levels, or contrast,
    color or sharpness by a factor of up to 1 -+ 0.9 m. The paper's other changes are left out: shifts and shears would
    move a person out of a crop this tight, no camera gives the negative of solarize, XLA cannot compile keras-cv's
    equalize (HistogramFixedWidth), and keras-cv has no posterize.
    """
    import keras_cv

    auto_contrast = keras_cv.layers.AutoContrast(**_VALUES)
    brightness = keras_cv.layers.RandomBrightness(0.0, **_VALUES)
    contrast = keras_cv.layers.RandomContrast(factor=0.0, **_VALUES)
    sharpness = keras_cv.layers.RandomSharpness(0.0, **_VALUES)
    changes = [
        lambda images, signed: auto_contrast.augment_images(images),
        lambda images, signed: brightness.augment_images(images, 255 * 0.5 * signed),
        lambda images, signed: contrast.augment_images(images, 1 + 0.9 * signed),
        lambda images, signed: tf.clip_by_value(images + 0.9 * signed * (_gray(images) - images), 0.0, 255.0),
        lambda images, signed: sharpness.augment_images(images, 0.9 * signed),
    ]

    def change(images: tf.Tensor, uniform: list) -> tf.Tensor:
        for which, how_much in zip(uniform[:_ROUNDS], uniform[_ROUNDS:]):
            which, signed = tf.floor(which * (len(changes) + 1)), magnitude * (2 * how_much - 1)
            for number, one in enumerate(changes):  # the last number is left: nothing
                images = _where(which == number, one(images, signed), images)
        return images

    return change


def random_grayscale(probability: float) -> Callable:
    """Returns the loss of all color, with a probability."""
    return lambda images, uniform: _where(uniform[0] < probability, _gray(images), images)


def random_blur(probability: float) -> Callable:
    """Returns a Gaussian blur, with a probability; its deviation is up to 1/128 of the height, at least 0.5 pixels."""
    import keras_cv

    layer = keras_cv.layers.RandomGaussianBlur(1, 0.0, **_PIXELS_ONLY)  # its own kernel is not used

    def change(images: tf.Tensor, uniform: list) -> tf.Tensor:
        largest = max(0.5, images.shape[1] / 128)
        radius = math.ceil(3 * largest)
        size = 2 * radius + 1

        def blur(image_and_deviation: tuple) -> tf.Tensor:
            image, deviation = image_and_deviation
            kernel = layer.get_kernel(deviation, size)
            kernels = tf.reshape(kernel, [size, 1, 1, 1]), tf.reshape(kernel, [1, size, 1, 1])
            return layer.augment_image(image, kernels)

        # The layer takes what lies beyond the border for black.
        around = tf.pad(images, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="SYMMETRIC")
        deviations = 0.1 + (largest - 0.1) * uniform[1][:, 0, 0, 0]
        blurred = tf.vectorized_map(blur, (around, deviations))[:, radius:-radius, radius:-radius]
        return _where(uniform[0] < probability, blurred, images)

    return change


# Name of a change -> its function, and the random numbers that it takes for each image.
CHANGES = {
    "color_jitter": (color_jitter, 4),
    "rand_augment": (rand_augment, 2 * _ROUNDS),
    "random_grayscale": (random_grayscale, 1),
    "random_blur": (random_blur, 2),
}


def _where(chosen: tf.Tensor, changed: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    # By a vector it takes whole images: on CPUs in a tenth of the time that tf.where's broadcast takes.
    return tf.compat.v1.where(chosen[:, 0, 0, 0], changed, images)


def _gray(images: tf.Tensor) -> tf.Tensor:
    return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(images))
