"""Fixes which sampler draws: by the flag, from the catalog's columns, and as the pipeline then reads it."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.batches import identity_batches
from keras_reid.data.camera_batches import camera_batches
from keras_reid.data.dataset_batches import dataset_batches
from keras_reid.data.sampling import draw_batches, sampler_labels
from keras_reid.errors import ReidError

IDS = np.repeat([1, 2, 3, 4], 8)
CAMERAS = pd.Series([1, 1, 1, 1, 2, 2, 3, pd.NA] * 4, dtype="Int64")
SETS = np.repeat([0, 1], 16)
IMAGES = pd.DataFrame({"person_id": IDS, "camera_id": CAMERAS.array, "dataset_id": SETS}, index=range(50, 82))
ARGUMENTS = {"identities_per_batch": 2, "images_per_identity": 4, "seed": 3, "epoch": 1}


@pytest.mark.parametrize(
    "sampler,expected",
    [
        ("identity", identity_batches(IDS, **ARGUMENTS)),
        ("camera", camera_batches(IDS, CAMERAS, **ARGUMENTS)),
        ("dataset", dataset_batches(IDS, SETS, **ARGUMENTS)),
    ],
)
def test_the_flag_names_the_sampler(sampler, expected):
    np.testing.assert_array_equal(draw_batches(IDS, **sampler_labels(sampler, IMAGES), **ARGUMENTS), expected)


@pytest.mark.parametrize("sampler", ["identity", "camera", "dataset"])
def test_the_pipeline_draws_by_it_and_goes_on_anywhere(tmp_path, sampler):
    """2 x 4 of 32 images: 4 steps; from the middle of the second epoch on the batches are the same, cached or not."""
    from PIL import Image

    from keras_reid.data.pipeline import training_dataset

    paths = [str(tmp_path / f"{n}.png") for n in range(32)]
    for n, path in enumerate(paths):
        Image.new("RGB", (4, 6), (n, 0, 0)).save(path)
    labels = sampler_labels(sampler, IMAGES)
    sizes = {"identities_per_batch": 2, "images_per_identity": 4, "image_size": (6, 4), "epochs": 3, "seed": 3}

    def images(**changes):
        return [batch for batch, _ in training_dataset(paths, IDS, **sizes, **labels, **changes).as_numpy_iterator()]

    whole = images()
    np.testing.assert_array_equal(whole[6:], images(start_step=6, cache="memory"))
    # Each image has a level of red of its own, that borders of black can only make rarer.
    second = draw_batches(IDS, **labels, **ARGUMENTS)
    for batch, indices in zip(whole[4:8], second):
        assert all(set(image[..., 0].ravel()) <= {0, index} for image, index in zip(batch, indices))


@pytest.mark.parametrize(
    "sampler,images,problem",
    [
        ("camera", IMAGES.assign(camera_id=pd.NA), "no training image has a camera id"),
        ("dataset", IMAGES.drop(columns="dataset_id"), "there is one dataset"),
        ("dataset", IMAGES.assign(dataset_id=0), "there is one dataset"),
        ("random", IMAGES, "expected identity, camera or dataset"),
    ],
)
def test_what_a_sampler_lacks_is_said(sampler, images, problem):
    with pytest.raises(ReidError, match=f"--sampler={sampler}.*{problem}"):
        sampler_labels(sampler, images)


def test_one_sampler_at_a_time():
    with pytest.raises(ReidError, match="camera_ids and dataset_ids are given, expected one"):
        draw_batches(IDS, camera_ids=CAMERAS, dataset_ids=SETS, **ARGUMENTS)
