"""Camera-balanced batches: an anchor meets another camera where there is one, and each image comes as often."""

import os
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.batches import identity_batches
from keras_reid.errors import ReidError

real_data = pytest.mark.skipif("MARKET1501_DIR" not in os.environ, reason="MARKET1501_DIR names no dataset")


def seen_by(*cameras_of_each):
    """Ids and cameras, shuffled, of people with these cameras: "1112" is three images by camera 1 and one by 2."""
    ids = np.repeat(3 + 5 * np.arange(len(cameras_of_each)), [len(cameras) for cameras in cameras_of_each])
    order = np.random.default_rng(0).permutation(len(ids))
    return ids[order], np.array([int(camera) for camera in "".join(cameras_of_each)])[order]


def draw(ids, cameras, P, K, epoch=0, seed=0):
    sizes = {"identities_per_batch": P, "images_per_identity": K}
    return identity_batches(ids, camera_ids=cameras, **sizes, seed=seed, epoch=epoch).reshape(-1, P, K)


SWEEP = {
    "exactly K": (["1122", "1112", "1234"], 2, 4),
    "K - 1": (["112", "123", "111"], 2, 4),
    "one image": (["1", "1", "2"], 3, 2),
    "one camera": (["11111111", "22222222", "33333333"], 2, 4),
    "a rare camera": (["1" * 15 + "2", "2" * 20 + "1", "123" * 6], 2, 4),
    "2 K - 1": (["1112222", "1234512", "1111112"], 3, 4),
    "K = 2": (["1" * 6 + "2" * 6, "1" * 11 + "2", "12" * 6], 2, 2),
}


@pytest.mark.parametrize("cameras_of_each,P,K", SWEEP.values(), ids=SWEEP)
def test_an_anchor_meets_another_camera(cameras_of_each, P, K):
    """Wherever its identity has one; K different images or all there are; the identities of `identity_batches`."""
    ids, cameras = seen_by(*cameras_of_each)
    for epoch in range(4):
        batches = draw(ids, cameras, P, K, epoch)
        plain = identity_batches(ids, identities_per_batch=P, images_per_identity=K, seed=0, epoch=epoch)
        np.testing.assert_array_equal(ids[batches.reshape(len(plain), -1)], ids[plain])
        for slot in batches.reshape(-1, K):
            own = ids == ids[slot[0]]
            assert len(set(cameras[slot])) >= min(2, len(set(cameras[own])))
            repeats = Counter(slot.tolist()).values()
            assert len(repeats) == min(K, own.sum()) and max(repeats) - min(repeats) <= 1


def test_cameras_are_spread_as_widely_as_images_allow():
    """8 + 4 + 4 images in 4 slots of 4: two of the first camera and one of each other in every slot, all seen once."""
    ids, cameras = seen_by("1" * 8 + "2222" + "3333", "1" * 16)
    for epoch in range(5):
        for batch in draw(ids, cameras, 2, 4, epoch):
            first = next(slot for slot in batch if ids[slot[0]] == 3)
            assert sorted(cameras[first]) == [1, 1, 2, 3]
        assert len(np.unique(draw(ids, cameras, 2, 4, epoch))) == 32


def test_only_a_rare_camera_is_seen_again():
    """15 images by camera 1 and one by 2, 4 slots: the one by 2 is in each, so 4 times, and 12 others once each."""
    ids, cameras = seen_by("1" * 15 + "2", "1" * 16)
    seen = np.bincount(draw(ids, cameras, 2, 4).ravel(), minlength=32)
    assert seen[(ids == 3) & (cameras == 2)].tolist() == [4]
    assert sorted(seen[(ids == 3) & (cameras == 1)]) == [0, 0, 0] + [1] * 12
    assert np.all(seen[ids == 8] == 1)


def test_missing_cameras_are_a_camera_each():
    """Nothing says that two of them are the same: no image is seen again so that cameras differ."""
    ids, _ = seen_by("1" * 16, "1" * 16)
    for missing in (pd.array([pd.NA] * 32, dtype="Int64"), [None] * 32, np.full(32, np.nan)):
        assert len(np.unique(draw(ids, missing, 2, 4))) == 32
    known = pd.Series(["hall"] * 30 + [pd.NA] * 2, dtype="string")
    slots = draw(np.repeat([1, 2], 16), known, 2, 4).reshape(-1, 4)
    # Of the second person's 4 slots two hold an image each whose camera is not known, or one holds both.
    assert len(np.unique(slots)) >= 30


def test_a_pure_function_of_its_arguments():
    ids, cameras = seen_by(*["1122334455"] * 6)
    again = [draw(ids, cameras, 3, 4, epoch, seed) for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2]) and not np.array_equal(again[0], again[3])
    np.testing.assert_array_equal(again[0], draw(ids, np.array([f"c{camera}" for camera in cameras]), 3, 4))


def test_one_camera_for_each_image():
    with pytest.raises(ReidError, match="3 camera_ids but 4 person_ids"):
        draw(np.array([1, 1, 2, 2]), [1, 2, 1], 2, 2)


@real_data
def test_market1501_epoch():
    """Everyone, 95 % of the images, and no slot of one camera where its person has two: in every epoch."""
    from keras_reid.data.readers.market1501 import read_market1501

    frame = read_market1501(os.environ["MARKET1501_DIR"])
    frame = frame[frame.split == "train"]
    ids, cameras = frame.person_id.to_numpy(), frame.camera_id.to_numpy(int)
    cameras_of = frame.groupby("person_id").camera_id.nunique()
    for epoch in range(3):
        batches = draw(ids, frame.camera_id, 18, 4, epoch)
        assert len(set(ids[batches].ravel())) == 751 and len(np.unique(batches)) >= 0.95 * 12_936
        slots = batches.reshape(-1, 4)
        different = (np.sort(cameras[slots])[:, 1:] != np.sort(cameras[slots])[:, :-1]).sum(axis=1) + 1
        assert np.all(different >= np.minimum(2, cameras_of[ids[slots[:, 0]]]))
