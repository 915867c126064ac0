"""Tests of batches of several datasets: equal parts, or as equal as identities allow, everyone in every epoch."""

import numpy as np
import pytest

from keras_reid.data.batches import identity_batches, steps_per_epoch
from keras_reid.errors import ReidError


def sets_of(*images_of_each):
    """Ids and datasets, shuffled, of sets with people of so many images."""
    images = np.concatenate(images_of_each)
    ids = np.repeat(np.arange(len(images)), images)
    sets = np.repeat(10 * np.arange(len(images_of_each)), [len(people) for people in images_of_each])[ids]
    order = np.random.default_rng(0).permutation(len(ids))
    return ids[order], sets[order]


def draw(ids, sets, P, K, epoch=0, seed=0):
    sizes = {"identities_per_batch": P, "images_per_identity": K}
    return identity_batches(ids, dataset_ids=sets, **sizes, seed=seed, epoch=epoch).reshape(-1, P, K)


# Sets, P, K, and the parts of the sets that each batch may hold.
SWEEP = {
    "two of a size": ([[4] * 6, [4] * 6], 4, 4, [(2, 2)]),
    "one large": ([[8] * 30, [4] * 5], 6, 4, [(3, 3)]),
    "P is odd": ([[4] * 9, [4] * 9], 5, 4, [(2, 3), (3, 2)]),
    "a set smaller than its part": ([[6] * 2, [5] * 20], 8, 2, [(2, 6)]),
    "two small ones": ([[6], [6] * 2, [5] * 20], 9, 2, [(1, 2, 6)]),
    "more sets than P": ([[4] * 5, [4] * 5, [4] * 5], 2, 2, [(1, 1, 0), (1, 0, 1), (0, 1, 1)]),
    "P is all": ([[4] * 2, [4] * 3], 5, 4, [(2, 3)]),
    "one image each": ([[1] * 7, [1] * 4], 2, 2, [(1, 1)]),
    "just its part": ([[4] * 3, [4] * 9], 6, 2, [(3, 3)]),
}


@pytest.mark.parametrize("images,P,K,parts", SWEEP.values(), ids=SWEEP)
def test_equal_parts(images, P, K, parts):
    """In each batch; over the epoch sets of equal right differ by a place at most; nobody is left out or doubled."""
    ids, sets = sets_of(*images)
    for epoch in range(4):
        batches = draw(ids, sets, P, K, epoch)
        sizes = {"identities_per_batch": P, "images_per_identity": K}
        assert len(batches) == steps_per_epoch(ids, **sizes, dataset_ids=sets)
        assert set(ids[batches].ravel()) == set(ids)
        counts = []
        for batch in batches:
            owners = ids[batch]
            assert np.all(owners == owners[:, :1]) and len(set(owners[:, 0])) == P
            counts.append(tuple(np.count_nonzero(sets[batch[:, 0]] == 10 * n) for n in range(len(images))))
        assert set(counts) <= set(parts)
        if len(parts) > 1:
            assert np.ptp(np.sum(counts, axis=0)) <= 1


def test_steps_by_hand():
    """P = 4: two places each. 20 single images need 10 batches; 12 of 4 images are 12 * 4 + 20 = 68, 68 // 16 = 4."""
    ids, sets = sets_of([1] * 20, [4] * 12)
    assert len(draw(ids, sets, 4, 4)) == 10
    assert steps_per_epoch(ids, identities_per_batch=4, images_per_identity=4) == 8  # 32 people, 4 a batch


def test_one_dataset_is_identity_sampling():
    """The same steps, and slots as many; which meet is drawn anew."""
    ids, _ = sets_of([9, 3, 4, 1, 12, 7, 5])
    plain = identity_batches(ids, identities_per_batch=3, images_per_identity=2, seed=0, epoch=0)
    one = draw(ids, np.zeros_like(ids), 3, 2).reshape(len(plain), -1)
    np.testing.assert_array_equal(np.bincount(ids[one].ravel()), np.bincount(ids[plain].ravel()))


def test_a_pure_function_of_its_arguments():
    ids, sets = sets_of([5] * 8, [6] * 9)
    again = [draw(ids, sets, 3, 4, epoch, seed) for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2]) and not np.array_equal(again[0], again[3])


def test_a_person_is_of_one_set():
    with pytest.raises(ReidError, match="1 person_ids are in more than one dataset"):
        draw(np.array([1, 1, 2, 2, 3, 3]), np.array([0, 1, 1, 1, 0, 0]), 2, 2)
    with pytest.raises(ReidError, match="3 dataset_ids but 4 person_ids"):
        draw(np.array([1, 1, 2, 2]), np.array([0, 1, 1]), 2, 2)
