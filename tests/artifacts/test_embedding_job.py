"""Embedding that goes on: what is kept, what is believed, what is begun anew, and which images are left out."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_reid.artifacts import describe_embedder, embed_files, embed_in_parts, open_artifact, remove_parts
from keras_reid.data import images as data_images
from keras_reid.data import pipeline
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.models import save_keras
from tests.conftest import tiny_embedder

COUNT = 20  # in chunks of 6: 6, 6, 6, 2, each of whole batches of 2


@pytest.fixture(autouse=True)
def chunks_of_six(monkeypatch):
    monkeypatch.setattr("keras_reid.artifacts.embedding_job._CHUNK", 6)


def save_artifact(path, seed: int):
    tf.random.set_seed(seed)
    embedder = tiny_embedder()
    return open_artifact(save_keras(embedder, path, metadata=describe_embedder(embedder)))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return save_artifact(tmp_path_factory.mktemp("artifact") / "tiny.keras", seed=1)


def write_photos(folder) -> list:
    generator = np.random.default_rng(0)
    paths = [str(folder / f"{number:02}.jpg") for number in range(COUNT)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (20, 12, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def photos(tmp_path) -> list:
    return write_photos(tmp_path)


@pytest.fixture(scope="module")
def expected(artifact, tmp_path_factory) -> np.ndarray:
    """Embeddings of such photos by `embed_files`."""
    return embed_files(artifact, write_photos(tmp_path_factory.mktemp("photos")), batch_size=2)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out.npz.parts"


def counting(artifact, stop_after: int = 10**9) -> tuple:
    """The artifact, which is interrupted when it has embedded so many batches, and the sizes of those batches."""
    sizes = []

    def embed_batch(images):
        if len(sizes) == stop_after:
            raise KeyboardInterrupt
        sizes.append(len(images))
        return artifact.embed_batch(images)

    return dataclasses.replace(artifact, embed_batch=embed_batch), sizes


def interrupt(artifact, photos, folder, after: int = 7, **how) -> None:
    """Leaves the chunks that are finished after so many batches of 2: two chunks after 7."""
    with pytest.raises(KeyboardInterrupt):
        embed_in_parts(counting(artifact, after)[0], photos, folder=folder, batch_size=2, **how)


def go_on(artifact, photos, folder, **how) -> tuple:
    """Returns embeddings, which are readable, and how many images it embedded."""
    counted, sizes = counting(artifact)
    embeddings, readable = embed_in_parts(counted, photos, folder=folder, batch_size=2, **how)
    return embeddings, readable, sum(sizes)


# --- Going on ---


def test_an_uninterrupted_job_is_embed_files(artifact, photos, folder, expected):
    embeddings, readable, count = go_on(artifact, photos, folder)
    np.testing.assert_array_equal(embeddings, expected)
    assert embeddings.dtype == np.float32 and readable.all() and count == COUNT
    assert folder.is_dir()  # until the caller has written the output
    remove_parts(folder)
    assert not folder.exists()


@pytest.mark.parametrize(("after", "done"), [(2, 0), (3, 6), (7, 12)])
def test_it_goes_on_after_the_chunks_that_are_finished(artifact, photos, folder, expected, capsys, after, done):
    interrupt(artifact, photos, folder, after)
    kept = f"{done} of 20 images are done: the same command goes on there.\n"
    assert capsys.readouterr().err == (kept if done else "")
    assert folder.exists() == (done > 0)
    embeddings, readable, count = go_on(artifact, photos, folder)
    assert count == COUNT - done
    assert capsys.readouterr().out == (f"going on after {done} of 20 images\n" if done else "")
    np.testing.assert_array_equal(embeddings, expected)
    assert readable.all()


def test_a_finished_job_whose_output_was_not_written_embeds_nothing(artifact, photos, folder):
    expected = go_on(artifact, photos, folder)[0]
    embeddings, readable, count = go_on(artifact, photos, folder)
    assert count == 0 and readable.all()
    np.testing.assert_array_equal(embeddings, expected)


def test_the_batch_size_may_change(artifact, photos, folder, expected):
    interrupt(artifact, photos, folder)
    embeddings, _ = embed_in_parts(artifact, photos, folder=folder, batch_size=5)
    np.testing.assert_allclose(embeddings, expected, rtol=1e-5, atol=1e-6)


def test_the_same_images_by_another_path_are_the_same(artifact, photos, folder, monkeypatch):
    interrupt(artifact, photos, folder)
    monkeypatch.chdir(os.path.dirname(photos[0]))
    assert go_on(artifact, [os.path.basename(path) for path in photos], folder)[2] == 8


@pytest.mark.parametrize("damage", ["empty", "short", "long", "flipped", "text"])
def test_a_damaged_chunk_is_embedded_again(artifact, photos, folder, expected, damage):
    interrupt(artifact, photos, folder)
    path = folder / "embed_000001.bin"
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    damaged = {"empty": b"", "short": content[:-1], "long": content + b"\0", "flipped": flipped, "text": b"no"}
    path.write_bytes(damaged[damage])
    embeddings, _, count = go_on(artifact, photos, folder)
    np.testing.assert_array_equal(embeddings, expected)
    assert count == COUNT - 6


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{}\0\xff"])
def test_without_what_the_job_was_each_chunk_tells_for_itself(artifact, photos, folder, content):
    interrupt(artifact, photos, folder)
    (folder / "embed_job.json").unlink()
    if content is not None:
        (folder / "embed_job.json").write_bytes(content)
    assert go_on(artifact, photos, folder)[2] == 8


def test_a_chunk_is_hashed_as_earlier_versions_did(artifact, photos, folder, expected):
    """So that their parts are gone on with: the test-time augmentation is called views there.

    Those of format 1 are not: photos were embedded as they are stored, whatever EXIF said.
    """
    interrupt(artifact, photos, folder)
    path = Path(artifact.name)
    content = hashlib.sha256(f". {path.stat().st_size}\n".encode() + path.read_bytes()).hexdigest()
    recipe = {"format": 2, "artifact": content, "views": "none", "embedding_size": 8}
    lines = [f"{photo!r} {(os.stat(photo).st_size, os.stat(photo).st_mtime_ns)}\n" for photo in photos]
    images = hashlib.sha256("".join(lines[6:12]).encode()).digest()
    chunk = (folder / "embed_000001.bin").read_bytes()
    body = b"\1" * 6 + expected[6:12].tobytes()
    assert chunk == hashlib.sha256(json.dumps(recipe).encode() + images + body).digest() + body
    described = json.loads((folder / "embed_job.json").read_text())
    assert described.pop("images") and described == recipe


def test_what_a_killed_process_left_half_written_is_removed(artifact, photos, folder):
    interrupt(artifact, photos, folder)
    (folder / ".embed_000002.part-0a1b2c3d.bin").write_bytes(b"half")
    go_on(artifact, photos, folder)
    remove_parts(folder)
    assert not folder.exists()


def test_a_folder_removed_by_the_same_job_beside_this_one_costs_nothing(artifact, photos, folder, expected):
    def embed_batch(images):
        remove_parts(folder)
        return artifact.embed_batch(images)

    careless = dataclasses.replace(artifact, embed_batch=embed_batch)
    embeddings, _ = embed_in_parts(careless, photos, folder=folder, batch_size=2)
    np.testing.assert_array_equal(embeddings, expected)
    assert go_on(artifact, photos, folder)[2] == 18  # the last chunk lay in a folder that says what it is


# --- Another job ---


def test_another_artifact_begins_anew(artifact, photos, folder, tmp_path, capsys):
    interrupt(artifact, photos, folder)
    other = save_artifact(tmp_path / "other.keras", seed=2)
    capsys.readouterr()
    embeddings, _, count = go_on(other, photos, folder)
    assert count == COUNT
    assert capsys.readouterr().out == f"{folder} is of another job (other artifact): beginning anew\n"
    np.testing.assert_array_equal(embeddings, embed_files(other, photos, batch_size=2))


def test_other_augmentation_begins_anew(artifact, photos, folder, capsys):
    interrupt(artifact, photos, folder)
    flip = {"test_time_augmentation": "flip"}
    embeddings = go_on(artifact, photos, folder, **flip)[0]
    assert "(other test-time augmentation): beginning anew\n" in capsys.readouterr().out
    np.testing.assert_array_equal(embeddings, embed_files(artifact, photos, batch_size=2, **flip))


def test_another_image_is_embedded_again_with_its_chunk(artifact, photos, folder, capsys):
    """Replaced by one of the same size in bytes, a second later: 6 of the first 12 no longer hold."""
    interrupt(artifact, photos, folder)
    time = os.stat(photos[2]).st_mtime + 1
    Image.fromarray(np.zeros((20, 12, 3), np.uint8)).save(photos[2])
    os.utime(photos[2], (time, time))
    embeddings, _, count = go_on(artifact, photos, folder)
    assert count == 14
    changed, going_on = capsys.readouterr().out.splitlines()
    assert changed == f"the images are no longer those of {folder}: what has changed is embedded again"
    assert going_on == "going on after 6 of 20 images"
    np.testing.assert_array_equal(embeddings, embed_files(artifact, photos, batch_size=2))


def test_an_image_moved_away_costs_what_came_after_it_alone(artifact, photos, folder):
    """What "stop" advises: the chunks before the image that cannot be read are kept."""
    interrupt(artifact, photos, folder)
    rest = photos[:13] + photos[14:]
    embeddings, _, count = go_on(artifact, rest, folder)
    assert count == 19 - 12
    np.testing.assert_array_equal(embeddings, embed_files(artifact, rest, batch_size=2))


def test_all_other_images_begin_anew(artifact, photos, folder, capsys):
    interrupt(artifact, photos, folder)
    embeddings, _, count = go_on(artifact, photos[::-1], folder)
    assert count == COUNT and "(other images): beginning anew\n" in capsys.readouterr().out
    np.testing.assert_array_equal(embeddings, embed_files(artifact, photos[::-1], batch_size=2))


def test_what_is_not_ours_is_refused_and_stays(artifact, photos, folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(ReidError, match="is a folder with 'thesis.txt', expected nothing"):
        go_on(artifact, photos, folder)
    remove_parts(folder)
    assert (folder / "thesis.txt").read_text() == "precious"
    shutil.rmtree(folder)
    folder.write_text("precious")
    with pytest.raises(ReidError, match="is a file, expected nothing"):
        go_on(artifact, photos, folder)
    assert folder.read_text() == "precious"


def test_files_beside_ours_stay(artifact, photos, folder):
    interrupt(artifact, photos, folder)
    (folder / ".DS_Store").write_text("of a file manager")
    assert go_on(artifact, photos, folder)[2] == 8
    remove_parts(folder)
    assert [path.name for path in folder.iterdir()] == [".DS_Store"]


# --- Images that cannot be read ---


def break_some(photos) -> list:
    """Every kind in the second chunk, and a whole chunk of them at the end; returns their numbers."""
    broken = [6, 7, 8, 9, 10, 18, 19]
    content = Path(photos[6]).read_bytes()
    for number in broken:
        os.remove(photos[number])
    for number, damaged in zip(broken, (content[: len(content) // 2], b"hello", b"")):
        Path(photos[number]).write_bytes(damaged)
    os.mkdir(photos[9])
    return broken


def test_what_cannot_be_read_is_left_out_and_nothing_else(artifact, photos, folder):
    good = np.setdiff1d(np.arange(COUNT), break_some(photos))
    embeddings, readable, count = go_on(artifact, photos, folder, on_error="skip")
    assert np.flatnonzero(readable).tolist() == good.tolist() and count == len(good) == 13
    alone = [embed_files(artifact, [photos[number]])[0] for number in good]
    np.testing.assert_allclose(embeddings, alone, rtol=1e-5, atol=1e-6)


def test_after_going_on_it_still_knows_what_was_left_out(artifact, photos, folder):
    broken = break_some(photos)
    expected = go_on(artifact, photos, folder, on_error="skip")[0]
    remove_parts(folder)
    interrupt(artifact, photos, folder, after=5, on_error="skip")  # 3 batches, and 1 of the one image of chunk two
    embeddings, readable, count = go_on(artifact, photos, folder, on_error="skip")
    assert count == 13 - 7
    assert np.flatnonzero(~readable).tolist() == broken
    np.testing.assert_array_equal(embeddings, expected)


def test_stop_names_images_and_keeps_the_chunks_before(artifact, photos, folder):
    break_some(photos)
    with pytest.raises(ReidError, match="5 of 6 images cannot be read.*skip. 6 of 20 images are done and kept"):
        go_on(artifact, photos, folder)
    assert go_on(artifact, photos, folder, on_error="skip")[2] == 13 - 6
    with pytest.raises(ReidError, match="5 of 6 images cannot be read"):  # although a chunk without them is there
        go_on(artifact, photos, folder)


def test_an_image_that_can_be_read_again_is_not_left_out(artifact, photos, folder, expected):
    """As when a disk was away: size and time are those from before, the content was not."""
    found, content = os.stat(photos[0]), Path(photos[0]).read_bytes()
    for current in (b"x" * len(content), content):
        Path(photos[0]).write_bytes(current)
        os.utime(photos[0], ns=(found.st_atime_ns, found.st_mtime_ns))
        embeddings, readable, count = go_on(artifact, photos, folder, on_error="skip")
    assert readable.all() and count == 6
    np.testing.assert_array_equal(embeddings, expected)


def test_an_image_that_fails_once_is_read_again(photos, monkeypatch):
    """The first reading of two images fails; no skipped image may come of it."""
    failing = {photos[3], photos[5]}
    contents = {Path(path).read_bytes(): path for path in photos}
    decode = pipeline.decode_image

    def fail_once(content):
        path = contents[content]
        if path in failing:
            failing.remove(path)
            raise OSError("the network is away")
        return content

    def decode_after(content):
        return decode(tf.ensure_shape(tf.numpy_function(fail_once, [content], tf.string), []))

    monkeypatch.setattr(pipeline, "decode_image", decode_after)
    batches = list(pipeline.image_batches(photos[:7], batch_size=4, skip_undecodable=True))
    assert not failing
    assert [positions.tolist() for positions, _ in batches] == [[0, 1, 2, 4], [6], [3, 5]]
    for positions, images in batches:
        for position, image in zip(positions, images):
            np.testing.assert_array_equal(image, np.asarray(Image.open(photos[position])))


def test_a_machine_out_of_memory_is_no_corrupt_image(photos, monkeypatch):
    def out_of_memory(content):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(data_images, "decode_image", out_of_memory)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        data_images.undecodable_images(photos)


def test_no_image_at_all_is_an_error(artifact, photos, folder):
    for path in photos:
        Path(path).write_text("hello")
    with pytest.raises(ReidError, match="none of the 20 images can be read .*, such as .*00.jpg"):
        go_on(artifact, photos, folder, on_error="skip")
    assert not folder.exists()


def test_wrong_arguments_are_refused(artifact, photos, folder):
    with pytest.raises(ReidError, match="^on_error=ignore, expected one of stop, skip"):
        go_on(artifact, photos, folder, on_error="ignore")
    with pytest.raises(ReidError, match="^test_time_augmentation=ten"):
        go_on(artifact, photos, folder, test_time_augmentation="ten")
    assert go_on(artifact, [], folder)[0].shape == (0, 8)
