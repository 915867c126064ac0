"""Test-time augmentation: where the crops lie, that nothing is written to, and the mean of the embeddings."""

import numpy as np
import pytest

from keras_reid.artifacts import Artifact, artifact_of, augmented_images, describe_embedder, embed_files, open_artifact
from keras_reid.artifacts.augmentation import mean_embedding
from keras_reid.artifacts.formats import savedmodel, tflite
from keras_reid.choices import TEST_TIME_AUGMENTATIONS
from keras_reid.errors import ReidError
from tests.conftest import tiny_embedder


def images(height: int, width: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def by_pixels(embed_batch, metric: str = "euclidean") -> Artifact:
    """An artifact that computes whatever a test wants of the pixels."""
    return Artifact("pixels", "reference", {"metric": metric, "embedding_size": 2}, embed_batch)


def test_the_five_crops_of_288x144_are_256x128_as_in_the_paper():
    """8/9 of 288 and 144; 32 rows and 16 columns are left, so the center begins at 16 and 8."""
    batch = images(288, 144)
    expected = [
        batch[:, :256, :128],
        batch[:, :256, 16:],
        batch[:, 32:, :128],
        batch[:, 32:, 16:],
        batch[:, 16:272, 8:136],
    ]
    views = augmented_images(batch, "five_crops")
    assert len(views) == 5
    for view, crop in zip(views, expected):
        np.testing.assert_array_equal(view, crop)


def test_flipping_exchanges_left_and_right():
    batch = images(4, 3, count=1)
    image, mirrored = augmented_images(batch, "flip")
    np.testing.assert_array_equal(image, batch)
    for row in range(4):
        for column in range(3):
            np.testing.assert_array_equal(mirrored[0, row, column], batch[0, row, 2 - column])


def test_ten_views_are_the_crops_and_their_mirror_images():
    batch = images(18, 9)
    views = augmented_images(batch, "flip_five_crops")
    assert len(views) == 10
    for crop, mirrored in zip(views[:5], views[5:]):
        np.testing.assert_array_equal(np.flip(crop, axis=2), mirrored)


@pytest.mark.parametrize(("size", "crop"), [((1, 1), (1, 1)), ((2, 5), (2, 4)), ((100, 50), (89, 44))])
def test_crops_are_rounded_and_never_empty(size, crop):
    for view in augmented_images(images(*size), "five_crops"):
        assert view.shape == (3, *crop, 3)


@pytest.mark.parametrize("augmentation", TEST_TIME_AUGMENTATIONS)
def test_variants_cannot_be_written_through(augmentation):
    batch = images(9, 9)
    for view in augmented_images(batch, augmentation):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 0
    assert batch.flags.writeable


def test_a_network_that_changes_its_input_in_place_spoils_neither_the_images_nor_the_next_variant():
    seen = []

    def embed_batch(batch):
        seen.append(batch.copy())
        batch //= 2
        return np.ones((len(batch), 2), np.float32)

    batch = images(8, 4)
    before = batch.copy()
    by_pixels(embed_batch).embed(batch, test_time_augmentation="flip")
    np.testing.assert_array_equal(batch, before)
    np.testing.assert_array_equal(seen[0], before)
    np.testing.assert_array_equal(seen[1], before[:, :, ::-1])


@pytest.mark.parametrize("augmentation", ["flip", "five_crops", "flip_five_crops"])
def test_the_embedding_is_the_mean_of_the_variants_embeddings(augmentation):
    artifact, batch = artifact_of(tiny_embedder()), images(27, 18)
    crops = [batch[:, top : top + 24, left : left + 16] for top, left in ((0, 0), (0, 2), (3, 0), (3, 2), (1, 1))]
    expected = {
        "flip": [batch, np.flip(batch, 2)],
        "five_crops": crops,
        "flip_five_crops": [*crops, *(np.flip(crop, 2) for crop in crops)],
    }[augmentation]
    expected = np.mean([artifact.embed(np.ascontiguousarray(view)) for view in expected], axis=0)
    actual = artifact.embed(batch, test_time_augmentation=augmentation)
    assert actual.dtype == np.float32 and actual.shape == (3, 8)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(actual, artifact.embed(batch), rtol=1e-3)


def test_no_augmentation_is_the_networks_own_answer_bit_by_bit():
    artifact, batch = artifact_of(tiny_embedder(normalize=True)), images(9, 9)
    np.testing.assert_array_equal(artifact.embed(batch, test_time_augmentation="none"), artifact.embed(batch))


def test_a_normalizing_network_gives_length_1_with_augmentation_too():
    artifact = artifact_of(tiny_embedder(normalize=True))
    lengths = np.linalg.norm(artifact.embed(images(27, 18), test_time_augmentation="flip_five_crops"), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_unit_embeddings_keep_length_1_and_others_keep_their_mean():
    """By hand: (1, 0) and (0, 1) have the mean (1/2, 1/2), scaled to (1, 1) / sqrt 2; (3, 0) is no unit vector."""
    views = [np.array([[1, 0], [3, 0]], np.float32), np.array([[0, 1], [0, 1]], np.float32)]
    expected = [[2**-0.5, 2**-0.5], [1.5, 0.5]]
    np.testing.assert_allclose(mean_embedding(views, metric="euclidean"), expected, rtol=1e-7)


def test_under_cosine_only_directions_count():
    """By hand: (3, 0) and (0, 0.1) are the directions (1, 0) and (0, 1); a zero has none and stays out of the way."""
    views = [np.array([[3, 0], [0, 0]], np.float32), np.array([[0, 0.1], [0, 0]], np.float32)]
    expected = [[2**-0.5, 2**-0.5], [0, 0]]
    np.testing.assert_allclose(mean_embedding(views, metric="cosine"), expected, rtol=1e-7)


def test_the_mean_does_not_lose_what_float32_would():
    """In float32, 1e8 + 1 is 1e8: the mean of 1e8, 1 and -1e8 would be 0."""
    views = [np.full((1, 2), value, np.float32) for value in (1e8, 1, -1e8)]
    np.testing.assert_allclose(mean_embedding(views, metric="euclidean"), 1 / 3, rtol=1e-6)


def test_files_are_embedded_with_the_augmentation_asked_for(tiny_catalog):
    paths = list(tiny_catalog.image_path[:5])
    artifact = by_pixels(lambda batch: batch[:, :, :2].mean(axis=(1, 2))[:, :2].astype(np.float32))
    one = embed_files(artifact, paths, batch_size=2)
    flipped = embed_files(artifact, paths, batch_size=2, test_time_augmentation="flip")
    mirrored = by_pixels(lambda batch: batch[:, :, -2:].mean(axis=(1, 2))[:, :2].astype(np.float32))
    np.testing.assert_allclose(flipped, (one + embed_files(mirrored, paths)) / 2, rtol=1e-6)


@pytest.mark.parametrize(("place", "export"), [("embedder", savedmodel.write), ("embedder.tflite", tflite.write)])
def test_what_is_shipped_averages_the_same_variants(tmp_path, place, export):
    embedder = tiny_embedder()
    reference = artifact_of(embedder)
    shipped = open_artifact(export(embedder, tmp_path / place, describe_embedder(embedder)))
    for augmentation in TEST_TIME_AUGMENTATIONS:
        actual, expected = (one.embed(images(27, 18), augmentation) for one in (shipped, reference))
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_unknown_augmentation_is_refused():
    expected = "^test_time_augmentation=ten, expected one of none, flip, five_crops, flip_five_crops"
    with pytest.raises(ReidError, match=expected):
        artifact_of(tiny_embedder()).embed(images(9, 9), test_time_augmentation="ten")
    with pytest.raises(ReidError, match="^test_time_augmentation=ten"):
        augmented_images(images(9, 9), "ten")
