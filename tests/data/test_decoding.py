"""Decoding of image files: every orientation of EXIF and every format, against Pillow and by hand."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_reid.data.decoding import decode_image, decode_in_graph, decode_with_orientation
from keras_reid.data.images import read_image, undecodable_images
from keras_reid.keras2 import tf

# What lies at the corners of the upright photo, by the corner where it is stored: a b over c d, by EXIF's own table.
UPRIGHT_CORNERS = {1: "abcd", 2: "badc", 3: "dcba", 4: "cdab", 5: "acbd", 6: "cadb", 7: "dbca", 8: "bdac"}
STRING = [tf.TensorSpec([], tf.string)]
in_pipeline = tf.function(decode_with_orientation, input_signature=STRING)
served = tf.function(decode_in_graph, input_signature=STRING)


def photo(height=20, width=12) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, endian: str = "<", tags: tuple = (0x010F, 0x0132)) -> bytes:
    """An EXIF block with text before and behind the orientation, as cameras write it."""
    block = Image.Exif()
    block.endian = endian
    for tag in tags:
        block[tag] = "made by hand"
    block[0x0112] = orientation
    return block.tobytes()


def by_pillow(contents: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).convert("RGB"))


# --- Orientation ---


@pytest.mark.parametrize("orientation", UPRIGHT_CORNERS)
def test_corners_come_where_exif_says(orientation):
    """Four corners a, b, c, d of 2 x 2, in PNG, which keeps them."""
    a, b, c, d = colors = [[200, 0, 0], [0, 200, 0], [0, 0, 200], [90, 90, 90]]
    contents = encoded(Image.fromarray(np.array([[a, b], [c, d]], np.uint8)), "PNG", exif=exif(orientation))
    expected = np.array([colors["abcd".index(name)] for name in UPRIGHT_CORNERS[orientation]]).reshape(2, 2, 3)
    for decode in (decode_image, served):
        np.testing.assert_array_equal(decode(contents), expected)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_eight_orientations_are_put_upright_as_pillow_does(kind, endian):
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    for orientation in range(1, 9):
        contents = encoded(photo(), kind, exif=exif(orientation, endian), **options)
        image, undone = in_pipeline(contents)
        assert undone == orientation and image.shape == ((20, 12, 3) if orientation < 5 else (12, 20, 3))
        assert np.abs(image.numpy().astype(int) - by_pillow(contents)).max() <= (12 if kind == "JPEG" else 0)
        np.testing.assert_array_equal(image, decode_image(contents))
        if kind in ("JPEG", "PNG"):
            np.testing.assert_array_equal(image, served(contents))


def test_training_reads_a_turned_photo_as_its_upright_twin(tmp_path):
    for name, block in (("upright.png", exif(1)), ("turned.png", exif(6))):
        image = photo() if block == exif(1) else photo().transpose(Image.Transpose.ROTATE_90)
        image.save(tmp_path / name, exif=block)
    upright, turned = (read_image(str(tmp_path / name), (8, 8)) for name in ("upright.png", "turned.png"))
    np.testing.assert_array_equal(upright, turned)


def with_exif(block: bytes) -> bytes:
    """A JPEG file with this block behind its JFIF header, a comment between them."""
    contents = encoded(photo(), "JPEG")
    segments = b"\xff\xfe\x00\x06text" + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return contents[:20] + segments + contents[20:]


HEADER = b"Exif\x00\x00II*\x00\x08\x00\x00\x00"
ENTRY = struct.pack("<HHII", 0x0112, 3, 1, 6)


@pytest.mark.parametrize(
    ("block", "orientation"),
    [
        (HEADER + b"\x01\x00" + ENTRY, 6),
        (HEADER[:10] + struct.pack("<I", 30) + b"\0" * 22 + b"\x01\x00" + ENTRY, 6),  # the directory comes later
        (HEADER + b"\x01\x00" + ENTRY.replace(b"\x06", b"\x09"), 1),  # no such orientation
        (HEADER + b"\x01\x00" + ENTRY.replace(b"\x06", b"\x00"), 1),
        (HEADER + b"\x01\x00" + struct.pack("<HHII", 0x0113, 3, 1, 6), 1),  # another tag
        (HEADER + b"\x01\x00" + struct.pack("<HHII", 0x0112, 2, 1, 6), 1),  # text
        (HEADER + b"\xff\xff" + ENTRY, 6),  # more entries than there are
        (HEADER + b"\x00\x00" + ENTRY, 1),  # none
        (HEADER[:10] + b"\xff\xff\xff\xff", 1),
        (HEADER.replace(b"II*", b"XX*") + b"\x01\x00" + ENTRY, 1),
        (HEADER[:8], 1),
        (HEADER[:6], 1),
    ],
)
def test_a_damaged_exif_block_counts_as_none(block, orientation):
    image, undone = in_pipeline(with_exif(block))
    assert undone == orientation and image.shape == ((20, 12, 3) if orientation == 1 else (12, 20, 3))
    assert served(with_exif(block)).shape == image.shape


def test_a_webp_file_with_a_damaged_exif_block_is_read_all_the_same():
    contents = encoded(photo(), "WEBP", lossless=True, exif=exif(6)).replace(b"II*\0\x08", b"XX*\0\x08")
    image, undone = in_pipeline(contents)
    assert undone == 1
    np.testing.assert_array_equal(image, np.asarray(photo()))


# --- Formats ---


def bmp(bits: int, pixels: bytes, *, size=(4, 2), palette: bytes = b"", compression: int = 0) -> bytes:
    offset = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + palette + pixels


RED_GREEN = b"\x00\x00\xc8\x00" + b"\x00\x64\x00\x00"  # blue, green, red and a filler: a palette of two colors
# Rows from below: green red red green, then red four times.
BMP_FILES = {
    "palette of 8 bits": bmp(8, b"\1\0\0\1" + b"\0\0\0\0", palette=RED_GREEN),
    "palette of 4 bits": bmp(4, b"\x10\x01\0\0" + b"\0\0\0\0", palette=RED_GREEN),
    "palette of 1 bit": bmp(1, b"\x90\0\0\0" + b"\0\0\0\0", palette=RED_GREEN),
    "run lengths": bmp(8, b"\1\1\2\0\1\1\0\0" + b"\4\0\0\1", palette=RED_GREEN, compression=1),
}


@pytest.mark.parametrize("name", BMP_FILES)
def test_palette_bmp_has_the_colors_of_its_palette(name):
    """TensorFlow takes the indices 0 and 1 for gray levels; a graph without Python refuses the file by name."""
    red, green = [200, 0, 0], [0, 100, 0]
    expected = [[red] * 4, [green, red, red, green]]
    np.testing.assert_array_equal(in_pipeline(BMP_FILES[name])[0], expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match="or BMP of 24 or 32 bits without compression"):
        served(BMP_FILES[name])


def test_bmp_of_16_bits_has_5_for_each_color():
    pixels = struct.pack("<4H", 0b11111 << 10, 0b11111 << 5, 0b11111, 0)
    expected = [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]]]
    np.testing.assert_array_equal(decode_image(bmp(16, pixels, size=(4, 1))), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_plain_bmp_is_read_everywhere(mode):
    contents = encoded(photo().convert(mode), "BMP")
    for decode in (decode_image, served):
        np.testing.assert_array_equal(decode(contents), np.asarray(photo()))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PPM", {}), ("JPEG2000", {})],
)
def test_lossless_formats_that_pillow_reads_decode_to_their_pixels(kind, options):
    contents = encoded(photo(), kind, **options)
    np.testing.assert_array_equal(in_pipeline(contents)[0], np.asarray(photo()))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format: expected JPEG, PNG"):
        served(contents)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP", "TIFF"):
        contents = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_allclose(decode_image(contents)[0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
def test_of_sixteen_bits_of_gray_the_upper_eight_count(kind):
    gray = np.random.default_rng(0).integers(0, 65536, (5, 4)).astype(np.uint16)
    decoded = decode_image(encoded(Image.fromarray(gray), kind))
    np.testing.assert_array_equal(decoded, np.repeat(gray[..., None] >> 8, 3, axis=-1))


def test_numbers_of_an_unknown_range_are_refused():
    contents = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(tf.errors.InvalidArgumentError, match="32 bits, whose range is not known"):
        in_pipeline(contents)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_cut_files_of_every_kind_cannot_be_read(tmp_path, kind):
    contents = encoded(photo(64, 32), kind)
    paths = [str(tmp_path / f"{part}.jpg") for part in (0, 0.1, 0.5, 0.9, 1)]
    for path, part in zip(paths, (0, 0.1, 0.5, 0.9, 1)):
        with open(path, "wb") as file:
            file.write(contents[: int(part * len(contents))])
    assert undecodable_images(paths) == paths[:4]


def test_a_pipeline_that_still_reads_ahead_does_not_keep_python_from_ending():
    """Pillow's threads want Python while it ends, and TensorFlow waits for them."""
    code = """
import io
from PIL import Image
from keras_reid.data.decoding import decode_image
from keras_reid.keras2 import tf
file = io.BytesIO()
Image.effect_noise((128, 256), 99).convert("RGB").save(file, "WEBP")
endless = tf.data.Dataset.from_tensors(file.getvalue()).repeat()
iterators = [iter(endless.map(decode_image, tf.data.AUTOTUNE).batch(8).prefetch(8)) for _ in range(3)]
print([next(iterator).shape[0] for iterator in iterators])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout == "[8, 8, 8]\n", run.stderr
