"""Fixes how a file becomes pixels: against Pillow, a slow bilinear resize, and changes found again by search."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_reid.data.images import (
    ERASED_COLOUR,
    Augmentation,
    augment_image,
    decode_image,
    raise_for_undecodable,
    resize_images,
    undecodable_images,
)
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

NO_CHANGE = {"flip": 0.0, "crop_padding": 0, "erasing": 0.0}


def pixels(height, width, seed=0, highest=256):
    return np.random.default_rng(seed).integers(0, highest, (height, width, 3), np.uint8)


def encoded(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def augmented(image, seeds, **strengths):
    """The images that this many seeds make, in one graph call."""
    augmentation = Augmentation(**{**NO_CHANGE, **strengths})
    all_seeds = tf.stack([tf.fill([seeds], 7), tf.range(seeds)], axis=1)
    change = tf.function(lambda seed: augment_image(tf.constant(image), augmentation, seed))
    return np.stack([change(seed).numpy() for seed in all_seeds])


# --- Decoding ---


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_decode_to_their_pixels(kind):
    image = pixels(7, 5)
    decoded = decode_image(encoded(image, kind))
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded, image)


def test_jpeg_decodes_as_pillow_does():
    """A smooth ramp at quality 95: TensorFlow's fast inverse DCT is off by a few levels, a swapped channel by 100."""
    ramp = np.stack(np.broadcast_arrays(*np.ogrid[0:240:16j, 0:120:8j], 60.0), axis=-1).astype(np.uint8)
    contents = encoded(ramp, "JPEG", quality=95, subsampling=0)
    decoded = decode_image(contents).numpy().astype(int)
    assert np.abs(decoded - np.asarray(Image.open(io.BytesIO(contents)))).max() <= 10
    assert np.abs(decoded - ramp).max() <= 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_files_have_three_equal_channels(kind):
    decoded = decode_image(encoded(pixels(16, 8)[..., 0], kind)).numpy()
    assert decoded.shape == (16, 8, 3)
    assert np.array_equal(decoded[..., 0], decoded[..., 1]) and np.array_equal(decoded[..., 0], decoded[..., 2])


def test_decoding_in_a_pipeline_is_the_same():
    files = [encoded(pixels(6, 4, seed), kind) for seed, kind in enumerate(["PNG", "BMP", "JPEG"])]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(decode_image)
    assert dataset.element_spec.shape.as_list() == [None, None, 3]
    for file, image in zip(files, dataset):
        np.testing.assert_array_equal(image, decode_image(file))


# --- Resizing ---


def bilinear(image, height, width):
    """Half-pixel centres: output pixel i lies at (i + 0.5) * from / to - 0.5 of the input, whose edge goes on."""
    result = np.zeros((height, width, image.shape[2]))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5) * image.shape[0] / height - 0.5
            x = (column + 0.5) * image.shape[1] / width - 0.5
            for near_y in (int(np.floor(y)), int(np.floor(y)) + 1):
                for near_x in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                    inside = min(max(near_y, 0), image.shape[0] - 1), min(max(near_x, 0), image.shape[1] - 1)
                    result[row, column] += weight * image[inside]
    return result


@pytest.mark.parametrize("size", [(24, 12), (11, 9), (5, 3), (8, 13), (1, 1), (8, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_is_bilinear_with_half_pixel_centres(size, dtype):
    image = pixels(8, 6).astype(dtype)
    resized = resize_images(tf.constant(image), size)
    assert resized.dtype == tf.float32
    np.testing.assert_allclose(resized, bilinear(image, *size), atol=1e-3)


def test_resize_by_hand():
    """0 and 100 side by side, made 4 wide: at -0.25, 0.25, 0.75, 1.25 of the input, so 0, 25, 75, 100. And 4 to 2 wide
    takes 0.5 and 2.5, the means of neighbours; an antialiased resize would look further."""
    pair = tf.constant([[[0.0] * 3, [100.0] * 3]])
    np.testing.assert_array_equal(resize_images(pair, (1, 4))[0, :, 0], [0, 25, 75, 100])
    four = tf.reshape(tf.constant([0.0, 100.0, 0.0, 0.0]), [1, 4, 1]) * tf.ones(3)
    np.testing.assert_array_equal(resize_images(four, (1, 2))[0, :, 0], [50, 0])


@pytest.mark.parametrize("unknown", [False, True])
def test_resize_to_the_same_size_keeps_every_bit(unknown):
    """Also where the graph cannot know that the size is right already, and so cannot leave the resize out."""
    images = np.stack([pixels(128, 64, seed) for seed in range(2)]).astype(np.float32) / 3
    shape = [None, None, None, 3] if unknown else images.shape
    resize = tf.function(lambda x: resize_images(x, (128, 64)), input_signature=[tf.TensorSpec(shape)])
    np.testing.assert_array_equal(resize(images), images)


def test_resize_of_a_batch_is_the_resize_of_each():
    images = np.stack([pixels(9, 7, seed) for seed in range(3)])
    for image, resized in zip(images, resize_images(images, (6, 5))):
        np.testing.assert_array_equal(resized, resize_images(image, (6, 5)))


# --- The random changes of training ---


@pytest.mark.parametrize("strengths", [{"flip": 0.5}, {"crop_padding": 3}, {"erasing": 0.5}, {}])
def test_eager_graph_and_pipeline_agree(strengths):
    """One seed, one image: eagerly, in a tf.function, and in a parallel pipeline."""
    image, augmentation = tf.constant(pixels(12, 8)), Augmentation(erasing=0.5)
    if strengths:
        augmentation = Augmentation(**{**NO_CHANGE, **strengths})
    dataset = tf.data.Dataset.range(12).map(
        lambda n: augment_image(image, augmentation, tf.stack([7, n])), num_parallel_calls=4
    )
    compiled = tf.function(augment_image)
    for n, in_pipeline in enumerate(dataset):
        eager = augment_image(image, augmentation, tf.constant([7, n], tf.int64))
        assert eager.dtype == in_pipeline.dtype == tf.uint8 and in_pipeline.shape == [12, 8, 3]
        np.testing.assert_array_equal(eager, in_pipeline)
        np.testing.assert_array_equal(eager, compiled(image, augmentation, tf.constant([7, n], tf.int64)))


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


def test_erased_pixels_are_a_rectangle_of_one_colour():
    """2 to 40 % of 64 x 32 pixels, each side rounded to whole pixels; all other pixels stay as they were."""
    image = pixels(64, 32, highest=100)  # never of the erased colour
    shares, ratios = [], []
    for changed in augmented(image, 200, erasing=1.0):
        erased = (changed != image).any(axis=-1)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert erased.sum() == height * width
        assert np.all(changed[erased] == ERASED_COLOUR)
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
    erased = (images == ERASED_COLOUR).all(axis=-1)
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
    with pytest.raises(ReidError, match=f"--random_.*{name}, expected"):
        Augmentation(**strength)


# --- Files that are no images ---


@pytest.fixture
def files(tmp_path):
    """Paths of a whole image, one cut short, a text, an empty file, a folder, and nothing at all."""
    whole = encoded(pixels(64, 32), "JPEG")
    for name, contents in {"good": whole, "short": whole[: len(whole) // 2], "text": b"hello", "empty": b""}.items():
        (tmp_path / f"{name}.jpg").write_bytes(contents)
    (tmp_path / "folder.jpg").mkdir()
    return {name: str(tmp_path / f"{name}.jpg") for name in ("good", "short", "text", "empty", "folder", "missing")}


def test_broken_files_are_found_in_order(files):
    assert undecodable_images(list(files.values())) == [path for name, path in files.items() if name != "good"]


@pytest.mark.parametrize("kind", [list, np.array])
def test_broken_files_are_named_and_counted(files, kind):
    """Five of six: the first three by name, as plain text even where NumPy holds the paths."""
    original = RuntimeError("of the pipeline")
    with pytest.raises(ReidError, match="5 of 6 images.*and 2 more") as refusal:
        raise_for_undecodable(kind(list(files.values())), original)
    assert f"'{files['short']}', '{files['text']}', '{files['empty']}' and" in str(refusal.value)
    assert refusal.value.__cause__ is original


def test_another_error_is_raised_as_it_is(files):
    original = RuntimeError("something else")
    with pytest.raises(RuntimeError) as raised:
        raise_for_undecodable([files["good"]], original)
    assert raised.value is original
