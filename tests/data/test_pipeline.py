"""Stream of training batches, a pure function of its arguments from any step on, and the batches to embed."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid.data import IdentityBatches
from keras_reid.data.augmentation import Augmentation
from keras_reid.data.batches import identity_batches
from keras_reid.data.images import raise_for_undecodable, resize_images
from keras_reid.data.pipeline import image_batches, training_dataset
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

PERSON_IDS = np.repeat([3, 5, 8, 900_000_000], [6, 4, 5, 5])
P, K, STEPS = 2, 2, 5
NO_CHANGE = Augmentation(flip=0.0, crop_padding=0, erasing=0.0)
STRONG = Augmentation(flip=0.5, crop_padding=3, erasing=0.5)


def write_images(folder, sizes):
    """PNG files of random pixels, of these (height, width); returns their paths and pixels."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    paths = [str(folder / f"ü {n}.png") for n in range(len(images))]  # a name that is not ASCII
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    return paths, images


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"), [(12, 6)] * len(PERSON_IDS))


@pytest.fixture(scope="module")
def whole(files):
    """The stream of all three epochs, which the others are compared with."""
    return stream(files[0])


def batches_of(paths, P=P, K=K, seed=4):
    images = pd.DataFrame({"image_path": paths, "person_id": PERSON_IDS})
    return IdentityBatches(images, identities_per_batch=P, images_per_identity=K, seed=seed)


def stream(paths, threads=None, seed=4, **changes):
    """All batches as NumPy arrays: 20 images, so 5 steps of 2 x 2, for 3 epochs."""
    arguments = {"image_size": (12, 6), "epochs": 3, "augmentation": STRONG, **changes}
    dataset = training_dataset(batches_of(paths, seed=seed), **arguments)
    if threads:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = dataset.with_options(options)
    return list(dataset.as_numpy_iterator())


def assert_equal_streams(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_batches_are_the_identity_batches(files):
    """Epoch after epoch in order, pixel by pixel, each image beside its own label."""
    paths, images = files
    batches = stream(paths, augmentation=NO_CHANGE)
    expected = [
        batch
        for epoch in range(3)
        for batch in identity_batches(PERSON_IDS, identities_per_batch=P, images_per_identity=K, seed=4, epoch=epoch)
    ]
    assert len(batches) == len(expected) == 3 * STEPS
    for (drawn, labels), indices in zip(batches, expected):
        np.testing.assert_array_equal(labels, PERSON_IDS[indices])
        np.testing.assert_array_equal(drawn, np.stack([images[index] for index in indices]))


@pytest.mark.once
@pytest.mark.parametrize("cache", ["none", "memory"])
@pytest.mark.parametrize("identities", [4, 3])
def test_parts_are_the_whole_batch_cut_between_identities(files, identities, cache):
    """Two workers with two and one replicas; of three people each has one, of four the first two: 2, 1 and 1."""
    batches = batches_of(files[0], P=identities)
    shape = {"image_size": (12, 6), "epochs": 2, "augmentation": STRONG, "start_step": 1}
    whole = list(training_dataset(batches, **shape).as_numpy_iterator())
    middle = identities - 2
    streams = [
        list(training_dataset(batches, **shape, cache=cache, parts=parts).as_numpy_iterator())
        for parts in ([(0, middle), (middle, middle + 1)], [(middle + 1, identities)])
    ]
    assert len(streams[0]) == 2 * len(whole) and len(streams[1]) == len(whole)
    parts = zip(streams[0][::2], streams[0][1::2], streams[1])
    assert_equal_streams([tuple(map(np.concatenate, zip(*three))) for three in parts], whole)
    sizes = [len(labels) for _, labels in (streams[0][0], streams[0][1], streams[1][0])]
    assert sizes == [2 * middle, 2, 2]


def test_shapes_and_types_are_known_beforehand(files):
    images, labels = training_dataset(batches_of(files[0]), epochs=1, image_size=(16, 9)).element_spec
    assert (images.shape.as_list(), images.dtype) == ([4, 16, 9, 3], tf.uint8)
    assert (labels.shape.as_list(), labels.dtype) == ([4], tf.int32)


def test_images_are_resized_and_rounded(files):
    """Not cut off: a float of 99.6 is 100 as a byte."""
    paths, images = files
    (drawn, _), *_ = stream(paths, image_size=(7, 5), augmentation=NO_CHANGE)
    first = identity_batches(PERSON_IDS, identities_per_batch=P, images_per_identity=K, seed=4, epoch=0)[0]
    resized = np.stack([resize_images(images[index], (7, 5)) for index in first])
    np.testing.assert_array_equal(drawn, np.rint(resized).astype(np.uint8))


@pytest.mark.parametrize("start_step", [1, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS, 3 * STEPS - 1, 3 * STEPS])
def test_start_step_gives_the_rest_of_the_run(files, whole, start_step):
    """Inside an epoch, at its first and last step, and after the end: bit by bit, the random changes included."""
    assert_equal_streams(stream(files[0], start_step=start_step), whole[start_step:])


@pytest.mark.once
@pytest.mark.parametrize("threads,cache", [(1, "none"), (4, "none"), (1, "memory"), (4, "memory")])
def test_threads_do_not_change_the_stream(files, whole, threads, cache):
    assert_equal_streams(stream(files[0], threads=threads, cache=cache), whole)


@pytest.mark.once
@pytest.mark.parametrize("start_step", [0, 1, STEPS - 1, STEPS, 2 * STEPS, 3 * STEPS])
def test_a_cache_does_not_change_the_stream(files, whole, start_step):
    """Of a run that begins anywhere: what its first, perhaps short, epoch has not drawn is there in the next."""
    assert_equal_streams(stream(files[0], start_step=start_step, cache="memory"), whole[start_step:])


def test_a_cache_keeps_images_as_they_are_resized(files):
    assert_equal_streams(stream(files[0], cache="auto", image_size=(9, 7)), stream(files[0], image_size=(9, 7)))


def test_the_cache_reads_each_file_once(tmp_path):
    """The files are gone after the first epoch and the second goes on; a second iterator would need them again.

    20 images, 5 steps of 4; at most one epoch and two batches are read ahead of the one that is asked for."""
    paths, _ = write_images(tmp_path, [(12, 6)] * len(PERSON_IDS))
    expected = stream(paths, epochs=20)
    arguments = {"image_size": (12, 6), "epochs": 20, "augmentation": STRONG, "cache": "memory"}
    batches = training_dataset(batches_of(paths), **arguments).as_numpy_iterator()
    came = [next(batches) for _ in range(STEPS + 1)]
    for path in paths:
        os.remove(path)
    assert_equal_streams(came + list(batches), expected)


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_corrupt_training_image_can_be_named(tmp_path, cache):
    """Also one that the first epoch does not draw: as an error that `raise_for_undecodable` takes."""
    paths, _ = write_images(tmp_path, [(12, 6)] * len(PERSON_IDS))
    Path(paths[7]).write_bytes(b"no image")
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        stream(paths, cache=cache)
    with pytest.raises(ReidError, match="1 of 20 images cannot be read.*ü 7.png"):
        raise_for_undecodable(paths, error.value)


def test_rows_may_have_any_index(files, whole):
    images = pd.DataFrame({"image_path": files[0], "person_id": PERSON_IDS}, index=range(100, 120))
    batches = IdentityBatches(images, identities_per_batch=P, images_per_identity=K, seed=4)
    dataset = training_dataset(batches, image_size=(12, 6), epochs=3, augmentation=STRONG)
    assert_equal_streams(list(dataset.as_numpy_iterator()), whole)


def test_paths_may_be_path_objects_in_training(files, whole):
    assert_equal_streams(stream([Path(path) for path in files[0]]), whole)


def test_another_seed_or_epoch_is_another_stream(files, whole):
    """The same image again, in a later epoch or in a run with another seed, has another flip, crop and rectangle."""
    first, other = whole, stream(files[0], seed=5)
    labels = np.stack([labels for _, labels in first])
    assert not np.array_equal(labels, [labels for _, labels in other])
    assert not np.array_equal(labels[:STEPS], labels[STEPS : 2 * STEPS])
    views = {image.tobytes() for images, _ in first for image in images}
    assert len(views) > 0.9 * 3 * STEPS * P * K


def test_default_augmentation_is_on(files):
    default = stream(files[0], augmentation=None)
    assert_equal_streams(default, stream(files[0], augmentation=Augmentation()))
    assert not np.array_equal(default[0][0], stream(files[0], augmentation=NO_CHANGE)[0][0])


@pytest.mark.once
@pytest.mark.parametrize("seed", [0, 2**31, 2**62])
def test_large_seeds_are_seeds(files, seed):
    first, again = (stream(files[0], seed=seed, epochs=1) for _ in range(2))
    assert_equal_streams(first[:2], again[:2])


# --- Images to embed ---


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_images_of_one_size_share_a_batch(tmp_path, batch_size):
    """Sizes that differ in one side alone, or are each other turned, stay apart; each position comes once."""
    sizes = [(12, 6), (6, 12), (12, 6), (12, 7), (12, 6), (6, 12), (12, 6), (12, 6), (12, 6)]
    paths, images = write_images(tmp_path, sizes)
    seen = []
    for positions, batch in image_batches(paths, batch_size=batch_size):
        assert batch.dtype == np.uint8 and len(positions) == len(batch) <= batch_size
        for position, image in zip(positions, batch):
            np.testing.assert_array_equal(image, images[position])
        seen.append(positions.tolist())
    assert sorted(sum(seen, [])) == list(range(9))
    # (12, 6): six images, (6, 12): two, (12, 7): one.
    assert len(seen) == sum(-(-count // batch_size) for count in (6, 2, 1))


def test_positions_go_on_from_chunk_to_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_reid.data.pipeline._CHUNK", 4)
    paths, images = write_images(tmp_path, [(4, 3)] * 10)
    drawn = [pair for batch in image_batches(paths, batch_size=3) for pair in zip(*batch)]
    assert [position for position, _ in drawn] == list(range(10))
    assert all(np.array_equal(image, images[position]) for position, image in drawn)


def test_no_images_no_batches():
    assert list(image_batches([], batch_size=4)) == []


def test_paths_may_be_path_objects(tmp_path):
    paths, _ = write_images(tmp_path, [(4, 3)] * 2)
    assert len(list(image_batches([tmp_path / path for path in paths], batch_size=2))) == 1


@pytest.mark.parametrize("broken", ["truncated", "text", "missing", "folder"])
def test_a_broken_file_is_named(tmp_path, broken):
    paths, _ = write_images(tmp_path, [(40, 20)] * 3)
    bad = tmp_path / f"{broken}.jpg"
    if broken == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)).save(bad)
        bad.write_bytes(bad.read_bytes()[:900])
    elif broken == "text":
        bad.write_text("not an image")
    elif broken == "folder":
        bad.mkdir()
    with pytest.raises(ReidError, match=f"1 of 4 images cannot be read.*{broken}.jpg"):
        list(image_batches([*paths[:2], str(bad), paths[2]], batch_size=2))


def test_batch_size_below_one_is_refused(tmp_path):
    with pytest.raises(ReidError, match="^batch_size=0, expected at least 1"):
        next(image_batches([str(tmp_path)], batch_size=0))
