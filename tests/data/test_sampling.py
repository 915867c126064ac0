"""Tests of which sampler draws: by its name, from the catalog's columns, and as the pipeline then reads it."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.choices import SAMPLERS
from keras_reid.data import IdentityBatches
from keras_reid.data.batches import identity_batches, steps_per_epoch
from keras_reid.errors import ReidError

IDS = np.repeat([1, 2, 3, 4], 8)
CAMERAS = pd.Series([1, 1, 1, 1, 2, 2, 3, pd.NA] * 4, dtype="Int64")
SETS = np.repeat([0, 1], 16)
IMAGES = pd.DataFrame({"person_id": IDS, "camera_id": CAMERAS.array, "dataset_id": SETS}, index=range(50, 82))
SIZES = {"identities_per_batch": 2, "images_per_identity": 4}
ARGUMENTS = {**SIZES, "seed": 3, "epoch": 1}


@pytest.mark.parametrize(
    "sampler,expected",
    [
        ("identity", identity_batches(IDS, **ARGUMENTS)),
        ("camera", identity_batches(IDS, camera_ids=CAMERAS, **ARGUMENTS)),
        ("dataset", identity_batches(IDS, dataset_ids=SETS, **ARGUMENTS)),
    ],
)
def test_the_name_chooses_the_sampler(sampler, expected):
    batches = IdentityBatches(IMAGES, **SIZES, seed=3, sampler=sampler)
    np.testing.assert_array_equal(batches.of_epoch(1), expected)
    assert batches.person_ids.dtype == np.int32 and batches.person_ids.tolist() == IDS.tolist()


def test_steps_are_those_of_the_sampler():
    """Six people in pairs are 3 steps; where each batch holds the first set's only person, the other five need 5."""
    people = np.repeat([1, 2, 3, 4, 5, 6], 2)
    images = pd.DataFrame({"person_id": people, "camera_id": 1, "dataset_id": np.where(people == 1, 1, 2)})
    sizes = {"identities_per_batch": 2, "images_per_identity": 4}
    steps = {name: IdentityBatches(images, **sizes, seed=0, sampler=name).steps_per_epoch for name in SAMPLERS}
    assert steps == {"identity": 3, "camera": 3, "dataset": 5}
    assert steps["dataset"] == steps_per_epoch(people, **sizes, dataset_ids=images.dataset_id)


@pytest.mark.parametrize("sampler", ["identity", "camera", "dataset"])
def test_the_pipeline_draws_by_it_and_goes_on_anywhere(tmp_path, sampler):
    """2 x 4 of 32 images: 4 steps; from the middle of the second epoch on the batches are the same, cached or not."""
    from PIL import Image

    from keras_reid.data.pipeline import training_dataset

    paths = [str(tmp_path / f"{n}.png") for n in range(32)]
    for n, path in enumerate(paths):
        Image.new("RGB", (4, 6), (n, 0, 0)).save(path)
    batches = IdentityBatches(IMAGES.assign(image_path=paths), **SIZES, seed=3, sampler=sampler)

    def images(**changes):
        dataset = training_dataset(batches, image_size=(6, 4), epochs=3, **changes)
        return [batch for batch, _ in dataset.as_numpy_iterator()]

    whole = images()
    np.testing.assert_array_equal(whole[6:], images(start_step=6, cache="memory"))
    # Each image has a level of red of its own, that borders of black can only make rarer.
    for batch, indices in zip(whole[4:8], batches.of_epoch(1)):
        assert all(set(image[..., 0].ravel()) <= {0, index} for image, index in zip(batch, indices))


@pytest.mark.parametrize(
    "sampler,images,problem",
    [
        ("camera", IMAGES.assign(camera_id=pd.NA), "no training image has a camera id"),
        ("dataset", IMAGES.drop(columns="dataset_id"), "there is one dataset"),
        ("dataset", IMAGES.assign(dataset_id=0), "there is one dataset"),
        ("random", IMAGES, "expected identity, camera, dataset"),
    ],
)
def test_what_a_sampler_lacks_is_said(sampler, images, problem):
    with pytest.raises(ReidError, match=f"^sampler={sampler}.*{problem}"):
        IdentityBatches(images, **SIZES, seed=3, sampler=sampler)


@pytest.mark.parametrize(
    ("person_ids", "problem"),
    [
        (IDS.astype(str), "expected integers"),
        (IDS.astype(float), "person_id has dtype float64"),
        (IDS + 2**31, "does not fit 32 bits"),
    ],
)
def test_person_ids_that_are_no_labels_are_refused(person_ids, problem):
    with pytest.raises(ReidError, match=problem):
        IdentityBatches(IMAGES.assign(person_id=person_ids), **SIZES, seed=3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_impossible_sizes_are_refused_at_once(sampler):
    with pytest.raises(ReidError, match="^identities_per_batch=5, expected 2 to 4"):
        IdentityBatches(IMAGES, identities_per_batch=5, images_per_identity=2, seed=0, sampler=sampler)
