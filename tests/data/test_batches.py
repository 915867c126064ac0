"""Images that meet in a batch: what every epoch must hold, swept round the boundaries of P, K and the data."""

import os
from collections import Counter

import numpy as np
import pytest

from keras_reid.data.batches import identity_batches, steps_per_epoch
from keras_reid.errors import ReidError

real_data = pytest.mark.skipif("MARKET1501_DIR" not in os.environ, reason="MARKET1501_DIR names no dataset")


def people(images_of_each, seed=0):
    """Shuffled ids of people with this many images, neither from 0 nor without gaps."""
    ids = np.repeat(10 + 7 * np.arange(len(images_of_each)), images_of_each)
    return np.random.default_rng(seed).permutation(ids)


def draw(person_ids, P, K, seed=0, epoch=0):
    return identity_batches(person_ids, identities_per_batch=P, images_per_identity=K, seed=seed, epoch=epoch)


def slots_of(person_ids, P, K, epoch=0):
    """How many slots each identity has, in the order of the ids."""
    counts = Counter(person_ids[draw(person_ids, P, K, epoch=epoch)[:, ::K]].ravel().tolist())
    return [counts[identity] for identity in sorted(counts)]


def check_epoch(person_ids, P, K, epoch):
    batches = draw(person_ids, P, K, epoch=epoch)
    identities, images = np.unique(person_ids, return_counts=True)
    steps = max(len(person_ids) // (P * K), int(np.ceil(len(identities) / P)))
    assert batches.dtype == np.int32 and batches.shape == (steps, P * K)
    assert set(person_ids[batches].ravel()) == set(identities)
    image_count = dict(zip(identities, images))
    for batch in batches:
        slots = batch.reshape(P, K)
        owners = person_ids[slots]
        assert all(len(set(owner)) == 1 for owner in owners)
        assert len(set(owners[:, 0])) == P
        # K different images, or all there are, each in turn.
        for slot, owner in zip(slots, owners[:, 0]):
            repeats = Counter(slot.tolist()).values()
            assert len(repeats) == min(K, image_count[owner])
            assert max(repeats) - min(repeats) <= 1


SWEEP = {
    "P = I, exactly K": ([4] * 5, 5, 4),
    "P = I, K - 1": ([3] * 5, 5, 4),
    "P = I = 2, K = 2": ([2, 2], 2, 2),
    "one image each": ([1] * 7, 3, 4),
    "one image and P = I": ([1] * 3, 3, 2),
    "K + 1": ([5] * 6, 4, 4),
    "2 K - 1": ([7] * 6, 4, 4),
    "one image beside many": ([1, 9, 9, 9], 2, 4),
    "one identity with most images": ([200, 3, 4, 5, 1], 3, 4),
    "most images, P = 2, K = 2": ([50, 1, 1], 2, 2),
    "most images, P = I": ([50, 1, 1], 3, 2),
    "two with most images": ([40, 40, 2, 2, 2], 3, 4),
    "an image short of a batch": ([4, 4, 4, 3], 4, 4),
    "short ones ask for more steps": ([1] * 20 + [30, 2], 3, 4),
    "short ones take slots away": ([3] * 8 + [40, 20], 2, 4),
    "fewer identities than a multiple of P": ([4] * 7, 3, 4),
}


@pytest.mark.parametrize("images,P,K", SWEEP.values(), ids=SWEEP)
def test_what_every_epoch_holds(images, P, K):
    for epoch in range(3):
        check_epoch(people(images), P, K, epoch)


@pytest.mark.parametrize("seed", range(40))
def test_what_every_epoch_holds_for_any_data(seed):
    random = np.random.default_rng(seed)
    identities = int(random.integers(2, 30))
    images = 1 + (random.pareto(1.0, identities) * 3).astype(int).clip(0, 150)
    P, K = int(random.integers(2, identities + 1)), int(random.integers(2, 9))
    check_epoch(people(images, seed), P, K, epoch=seed)


@pytest.mark.parametrize(
    "images,P,K,steps",
    [([4] * 9, 3, 4, 3), ([4] * 9 + [3], 3, 4, 4), ([13] * 4, 2, 4, 6), ([1] * 7, 3, 4, 3), ([4_312] * 3, 3, 24, 179)],
)
def test_steps_of_an_epoch(images, P, K, steps):
    """36 // 12; 39 // 12 = 3, but 10 identities by 3 need 4; 52 // 8; 7 // 12 = 0, but 7 by 3 need 3; 12936 // 72."""
    assert steps_per_epoch(people(images), identities_per_batch=P, images_per_identity=K) == steps


def test_same_arguments_same_batches_and_others_differ():
    ids = people([6] * 10)
    first = draw(ids, 4, 3, seed=1, epoch=2)
    np.testing.assert_array_equal(first, draw(ids, 4, 3, seed=1, epoch=2))
    np.testing.assert_array_equal(first, draw(ids.tolist(), 4, 3, seed=1, epoch=2))
    for seed, epoch in [(1, 3), (2, 2), (2, 1)]:
        assert not np.array_equal(first, draw(ids, 4, 3, seed=seed, epoch=epoch))


def test_global_random_state_is_neither_used_nor_changed():
    ids = people([6] * 10)
    first = draw(ids, 4, 3)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(first, draw(ids, 4, 3))
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_slots_follow_the_number_of_images():
    """Each identity gets its images / K slots, rounded down or up: no one's turn to be seen in full is forgotten."""
    images = np.array([4, 6, 9, 13, 22, 31, 40, 51])
    for epoch in range(5):
        slots = np.array(slots_of(people(images), 2, 4, epoch))
        assert np.all((slots == images // 4) | (slots == -(-images // 4)))


def test_every_image_is_seen_when_all_fit():
    """Multiples of K, 18 slots = 6 steps of 3: nothing is left out and nothing is repeated."""
    batches = draw(people([4, 8, 12, 16, 16, 16]), 3, 4)
    assert sorted(batches.ravel()) == list(range(72))


def test_spare_slot_goes_to_the_identity_that_repeats_least():
    """P = 3, K = 4; one image each of 8, then 4 and 8 images: 4 steps for 10 identities, so 12 slots, 8 + 1 + 2 used.

    A second slot shows the 4 images twice, a third slot the 8 images 1.5 times: the spare one belongs there.
    """
    for epoch in range(20):
        assert slots_of(people([1] * 8 + [4, 8]), 3, 4, epoch) == [1] * 8 + [1, 3]


def test_many_spare_slots_are_shared_in_proportion():
    """P = 2, K = 4, 122 images: 15 steps, 30 slots. 100 images take one in every batch; 20 images and two single ones
    share 15: 13 slots show the 20 images 2.6 times, one slot a single image 4 times, two would show it 8 times."""
    assert slots_of(people([100, 20, 1, 1]), 2, 4) == [15, 13, 1, 1]


def test_slots_are_given_back_in_proportion():
    """P = 2, K = 4; 8 people of 3 images, one of 40, one of 20: 84 // 8 = 10 steps, 20 slots, but 8 + 10 + 5 wanted.

    The long ones keep 12, as 40 to 20: 8 and 4.
    """
    for epoch in range(20):
        assert slots_of(people([3] * 8 + [40, 20]), 2, 4, epoch) == [1] * 8 + [8, 4]


def meetings(person_ids, P, K, epochs):
    codes = np.unique(person_ids, return_inverse=True)[1]
    met = np.zeros((codes.max() + 1,) * 2, int)
    for epoch in range(epochs):
        for batch in codes[draw(person_ids, P, K, epoch=epoch)[:, ::K]]:
            met[np.ix_(batch, batch)] += 1
    return met


def test_equal_identities_meet_equally_often():
    """8 people, 4 batches of 4: 4 * 6 meetings an epoch among 28 pairs, so 171 of each pair in 200 epochs."""
    met = meetings(people([8] * 8), 4, 4, epochs=200)
    pairs = met[np.triu_indices(8, 1)]
    assert pairs.sum() == 200 * 24
    assert pairs.min() > 115 and pairs.max() < 230


def test_the_largest_identities_meet_as_well():
    """P = 2, 10 steps; two people fill 5 slots each. Were they placed first, the second would get what the first left.

    How often they meet, 0 to 5 times in an epoch, varies.
    """
    ids = np.repeat(np.arange(12), [20, 20] + [4] * 10)
    owners = [ids[draw(ids, 2, 4, epoch=epoch)[:, ::4]] for epoch in range(40)]
    met = [sum(set(batch) == {0, 1} for batch in epoch) for epoch in owners]
    assert np.mean(met) > 0.5 and len(set(met)) > 2


@pytest.mark.parametrize(
    "P,K,flag", [(5, 4, "identities"), (1, 4, "identities"), (0, 4, "identities"), (2, 1, "images"), (2, 0, "images")]
)
def test_impossible_sizes_are_refused(P, K, flag):
    """Four identities: P is 2 to 4, K at least 2."""
    for call in (steps_per_epoch, lambda ids, **sizes: identity_batches(ids, **sizes, seed=0, epoch=0)):
        with pytest.raises(ReidError, match=f"^{flag}_per.*={P if flag == 'identities' else K}, expected"):
            call(people([4] * 4), identities_per_batch=P, images_per_identity=K)


def test_no_training_set_is_refused():
    with pytest.raises(ReidError):
        draw(np.array([], np.int32), 2, 2)


@pytest.fixture(scope="module")
def market_ids():
    from keras_reid.data.readers.market1501 import read_market1501

    frame = read_market1501(os.environ["MARKET1501_DIR"])
    return frame[frame.split == "train"].person_id.to_numpy()


@real_data
def test_market1501_epoch(market_ids):
    """12,936 // 72 = 179 steps; each epoch shows everyone and at least 95 % of the images, a few epochs all of them."""
    seen = set()
    for epoch in range(5):
        check_epoch(market_ids, 18, 4, epoch)
        batches = draw(market_ids, 18, 4, epoch=epoch)
        assert len(batches) == 179 and len(set(market_ids[batches].ravel())) == 751
        assert len(np.unique(batches)) >= 0.95 * 12_936
        seen.update(batches.ravel().tolist())
    assert len(seen) == 12_936


@real_data
def test_market1501_largest_identities_meet(market_ids):
    """The ten people with the most images have about 15 of 179 slots each, so two of them meet once an epoch or so."""
    largest = np.argsort(-np.unique(market_ids, return_counts=True)[1])[:10]
    met = meetings(market_ids, 18, 4, epochs=10)[np.ix_(largest, largest)][np.triu_indices(10, 1)]
    assert met.mean() > 6 and met.min() > 0
