"""Tests of how a file becomes pixels: against Pillow and a slow bilinear resize."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_reid.data.images import (
    decode_image,
    raise_for_undecodable,
    read_image,
    resize_images,
    undecodable_images,
)
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


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
def test_gray_files_have_three_equal_channels(kind):
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
    """Half-pixel centers: output pixel i lies at (i + 0.5) * from / to - 0.5 of the input, whose edge goes on."""
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
def test_resize_is_bilinear_with_half_pixel_centers(size, dtype):
    image = pixels(8, 6).astype(dtype)
    resized = resize_images(tf.constant(image), size)
    assert resized.dtype == tf.float32
    np.testing.assert_allclose(resized, bilinear(image, *size), atol=1e-3)


def test_resize_by_hand():
    """0 and 100 side by side, made 4 wide: at -0.25, 0.25, 0.75, 1.25 of the input, so 0, 25, 75, 100. And 4 to 2 wide
    takes 0.5 and 2.5, the means of neighbors; an antialiased resize would look further."""
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


@pytest.mark.parametrize("size", [(128, 64), (60, 200), (64, 32), (300, 90)])
@pytest.mark.parametrize("float_first", [True, False])
def test_reading_is_decoding_resizing_and_rounding(tmp_path, monkeypatch, size, float_first):
    """Whatever shortcut is taken: float first for small images, none for large ones, no resize at the size wanted."""
    monkeypatch.setattr("keras_reid.data.images._FLOAT_FIRST", 2**22 if float_first else 0)
    (tmp_path / "one.jpg").write_bytes(encoded(pixels(*size), "JPEG"))
    expected = np.rint(resize_images(decode_image((tmp_path / "one.jpg").read_bytes()), (64, 32)))
    image = tf.function(lambda path: read_image(path, (64, 32)))(str(tmp_path / "one.jpg"))
    assert image.dtype == tf.uint8 and image.shape == [64, 32, 3]
    np.testing.assert_array_equal(image, expected)


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
