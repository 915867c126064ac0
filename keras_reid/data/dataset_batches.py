"""Dataset batches: identity batches of several datasets, each batch with all of them in equal parts."""

from __future__ import annotations

import numpy as np

from keras_reid.data.batches import (
    equal_parts,
    fill_batches,
    images_in_turn,
    place_identities,
    shuffled_images,
    slots_per_identity,
    steps_per_epoch,
)
from keras_reid.errors import ReidError


def dataset_batches(
    person_ids: np.ndarray,
    dataset_ids: np.ndarray,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Draws the batches of one epoch, whose P identities come from the datasets in equal parts.

    A dataset with fewer identities than its part has all of them in each batch, and the others share the places left.
    Where P cannot be shared evenly, the datasets take turns at the odd places. Within a dataset slots are shared as in
    `identity_batches`: every identity comes in the epoch, and none twice in a batch.

    Args:
        person_ids: integer `[N]`, the identity of each training image.
        dataset_ids: integer `[N]`, the same for all images of an identity.
        identities_per_batch: as the arguments after it and the result, see `identity_batches`.

    Raises:
        ReidError: P or K does not fit the training set, or an identity is in two datasets.
    """
    person_ids, dataset_ids = np.asarray(person_ids), np.asarray(dataset_ids)
    if len(dataset_ids) != len(person_ids):
        raise ReidError(f"{len(dataset_ids)} dataset_ids but {len(person_ids)} person_ids, expected one for each.")
    P, K = identities_per_batch, images_per_identity
    steps = steps_per_epoch(person_ids, identities_per_batch=P, images_per_identity=K, dataset_ids=dataset_ids)
    random = np.random.default_rng([seed, epoch])
    images_of = shuffled_images(person_ids, random)
    set_of = _set_of_each(images_of, dataset_ids)
    counts = np.array([len(images) for images in images_of])
    places = _places(np.bincount(set_of), P, steps, random)

    slots, members = np.zeros(len(counts), int), np.full((steps, P), -1)
    next_place = np.zeros(steps, int)
    for n, places_of_set in enumerate(places):
        identities = np.flatnonzero(set_of == n)
        most = np.count_nonzero(places_of_set)
        slots[identities] = slots_per_identity(
            counts[identities], K, total=places_of_set.sum(), most=most, random=random
        )
        own = place_identities(slots[identities], places_of_set, random)
        step, column = np.nonzero(own >= 0)
        column += (next_place + places_of_set - own.shape[1])[step]
        members[step, column] = identities[own[own >= 0]]
        next_place += places_of_set
    return fill_batches(members, [images_in_turn(images, count, K) for images, count in zip(images_of, slots)])


def _set_of_each(images_of: list[np.ndarray], dataset_ids: np.ndarray) -> np.ndarray:
    """Returns the dataset of each identity, coded from 0."""
    codes = np.unique(dataset_ids, return_inverse=True)[1]
    sets = [np.unique(codes[images]) for images in images_of]
    shared = sum(len(of_one) > 1 for of_one in sets)
    if shared:
        raise ReidError(f"{shared} person_ids are in more than one dataset: give each dataset ids of its own.")
    return np.array([of_one[0] for of_one in sets])


def _places(identities: np.ndarray, P: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """Returns how many places of each batch each dataset has: int `[D, steps]`."""
    whole, left = equal_parts(identities, P)
    places = np.repeat(identities[:, None], steps, axis=1)
    others = np.flatnonzero(~whole)
    if len(others):
        share, over = divmod(left, len(others))
        # In turn, from a random dataset on: over the epoch the numbers of places differ by one at most.
        turn = (np.arange(steps)[:, None] * over + np.arange(over) + random.integers(len(others))) % len(others)
        extra = np.zeros((len(others), steps), int)
        extra[turn.T, np.arange(steps)] = 1
        places[others] = share + extra
    return places
