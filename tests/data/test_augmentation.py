"""Tests of the random changes of training: beside a slow version in loops, and changes found again by search."""

import numpy as np
import pytest

from keras_reid.data.augmentation import ERASED_COLOR, Augmentation, augment_images
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

NO_CHANGE = {"flip": 0.0, "crop_padding": 0, "erasing": 0.0}
STRENGTHS = [
    {"flip": 0.5},
    {"crop_padding": 3},
    {"erasing": 0.5},
    {"crop_padding": 4, "erasing": 1.0},
    {"flip": 1.0, "crop_padding": 20, "erasing": 0.5},  # the window may miss the image
    {"flip": 0.5, "crop_padding": 3, "erasing": 0.5},
]


def pixels(height, width, seed=0, highest=256):
    return np.random.default_rng(seed).integers(0, highest, (height, width, 3), np.uint8)


def augmented(image, count, **strengths):
    """What becomes of this many copies of an image."""
    images = tf.constant(np.stack([image] * count))
    return augment_images(images, Augmentation(**{**NO_CHANGE, **strengths}), tf.constant([7, 0])).numpy()


def slowly(images, strengths, seed):
    """The changes one after the other, image by image and pixel by pixel, from the same random numbers."""
    changed = []
    uniform = tf.random.stateless_uniform([8, len(images)], seed, alg="philox").numpy()
    for image, (flip, top, left, erase, area, aspect, y, x) in zip(images, uniform.T):
        height, width, _ = image.shape
        if flip < strengths["flip"]:
            image = image[:, ::-1]
        padding = strengths["crop_padding"]
        padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
        top, left = int(top * (2 * padding + 1)), int(left * (2 * padding + 1))
        image = padded[top : top + height, left : left + width].copy()
        if erase < strengths["erasing"]:
            area, aspect = (0.02 + 0.38 * area) * height * width, 0.3 ** (1 - 2 * aspect)
            tall, wide = min(height, (area * aspect) ** 0.5), min(width, (area / aspect) ** 0.5)
            top, left = y * (height - tall), x * (width - wide)
            for row in range(height):
                for column in range(width):
                    if top <= row < top + tall and left <= column < left + wide:
                        image[row, column] = ERASED_COLOR
        changed.append(image)
    return np.stack(changed)


@pytest.mark.parametrize("strengths", STRENGTHS)
def test_the_slow_version_does_the_same(strengths):
    """In a batch of different images each keeps its place and its own changes."""
    strengths = {**NO_CHANGE, **strengths}
    images = np.stack([pixels(17, 9, seed) for seed in range(40)])
    fast = augment_images(tf.constant(images), Augmentation(**strengths), tf.constant([5, 11]))
    assert fast.dtype == tf.uint8
    np.testing.assert_array_equal(fast, slowly(images, strengths, [5, 11]))


@pytest.mark.parametrize("strengths", STRENGTHS[-2:])
def test_eager_graph_and_pipeline_agree(strengths):
    """One seed, one batch: eagerly, in a tf.function, and in a parallel pipeline."""
    images, augmentation = tf.constant(np.stack([pixels(12, 8)] * 5)), Augmentation(**{**NO_CHANGE, **strengths})
    compiled = tf.function(lambda seed: augment_images(images, augmentation, seed))
    seeds = tf.data.Dataset.range(8).map(lambda n: tf.stack([7, n]))
    for seed, in_pipeline in tf.data.Dataset.zip((seeds, seeds.map(compiled, num_parallel_calls=4))):
        assert in_pipeline.shape == [5, 12, 8, 3]
        np.testing.assert_array_equal(in_pipeline, compiled(seed))
        np.testing.assert_array_equal(in_pipeline, augment_images(images, augmentation, seed))


@pytest.mark.parametrize("count", [1, 2])
def test_small_batches(count):
    """All flipped or none: one of the two parts that a batch is sorted into is empty."""
    image = pixels(6, 4)
    assert np.all(augmented(image, count, flip=1.0) == image[:, ::-1])
    assert np.all(augmented(image, count, flip=0.0) == image)


def test_another_seed_is_another_batch():
    images = tf.constant(np.stack([pixels(24, 12)] * 2))
    seeds = [[0, 0], [0, 1], [1, 0], [2**31, 0], [2**62, 0]]
    batches = [augment_images(images, Augmentation(erasing=1.0), tf.constant(seed, tf.int64)) for seed in seeds]
    assert len({batch.numpy().tobytes() for batch in batches}) == 5


def test_another_seed_is_another_image():
    images = augmented(pixels(24, 12), 20, flip=0.5, crop_padding=5, erasing=1.0)
    assert len({image.tobytes() for image in images}) == 20


def test_nothing_asked_for_nothing_changed():
    image = pixels(12, 8)
    assert np.all(augmented(image, 10) == image)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flip_mirrors_left_and_right_as_often_as_asked(probability):
    """Of 300 images each is mirrored or whole; the share differs from p by at most 4 * sqrt(p (1 - p) / 300)."""
    image = pixels(4, 3)
    images = augmented(image, 300, flip=probability)
    mirrored = (images == image[:, ::-1]).all(axis=(1, 2, 3))
    assert np.all(mirrored | (images == image).all(axis=(1, 2, 3)))
    assert abs(mirrored.mean() - probability) <= 4 * np.sqrt(probability * (1 - probability) / 300)


def test_crop_is_a_window_of_the_padded_image():
    """Padding 2 leaves 5 x 5 windows; each image is exactly one of them, and 300 images use them all."""
    image = pixels(6, 5) | 1  # no black pixel of its own
    padded = np.zeros((10, 9, 3), np.uint8)
    padded[2:8, 2:7] = image
    windows = {padded[y : y + 6, x : x + 5].tobytes(): (y, x) for y in range(5) for x in range(5)}
    found = {windows[cropped.tobytes()] for cropped in augmented(image, 300, crop_padding=2)}
    assert len(windows) == len(found) == 25


def test_erased_pixels_are_a_rectangle_of_one_color():
    """2 to 40 % of 64 x 32 pixels, each side rounded to whole pixels; all other pixels stay as they were."""
    image = pixels(64, 32, highest=100)  # never of the erased color
    shares, ratios = [], []
    for changed in augmented(image, 200, erasing=1.0):
        erased = (changed != image).any(axis=-1)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert erased.sum() == height * width
        assert np.all(changed[erased] == ERASED_COLOR)
        assert (height - 1) * (width - 1) <= 0.4 * 64 * 32 and (height + 1) * (width + 1) >= 0.02 * 64 * 32
        shares.append(height * width / (64 * 32))
        ratios.append(height / width)
    # The whole range is in use: an area of a constant share, or an ever upright rectangle, would not be.
    assert min(shares) < 0.06 and max(shares) > 0.3
    assert min(ratios) < 0.6 and max(ratios) > 2


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_erasing_happens_as_often_as_asked(probability):
    image = pixels(16, 8, highest=100)
    erased = (augmented(image, 300, erasing=probability) != image).any(axis=(1, 2, 3)).mean()
    assert abs(erased - probability) <= 4 * np.sqrt(probability * (1 - probability) / 300)


def test_changes_are_drawn_apart():
    """Whether an image is flipped says nothing on whether it is erased: of 300, about a quarter are both."""
    image = pixels(16, 8, highest=100)
    images = augmented(image, 300, flip=0.5, erasing=0.5)
    erased = (images == ERASED_COLOR).all(axis=-1)
    flipped = ((images == image[:, ::-1]).all(axis=-1) | erased).all(axis=(1, 2))
    assert 0.15 < (flipped & erased.any(axis=(1, 2))).mean() < 0.35


@pytest.mark.parametrize(
    "strength,name",
    [
        ({"flip": -0.1}, "flip=-0.1"),
        ({"flip": 1.5}, "flip=1.5"),
        ({"flip": float("nan")}, "flip=nan"),
        ({"erasing": 2}, "erasing=2"),
        ({"crop_padding": -1}, "padding=-1"),
        ({"crop_padding": 2.5}, "padding=2.5"),
        ({"crop_padding": float("nan")}, "padding=nan"),
    ],
)
def test_impossible_strengths_are_refused(strength, name):
    with pytest.raises(ReidError, match=f"^random_.*{name}, expected"):
        Augmentation(**strength)
