"""Identity batches: P identities x K images, a pure function of labels, P, K, seed and epoch.

An epoch of N training images is N // (P * K) batches, or more where so few could not hold every identity once. A *slot*
is one identity's place in one batch, K images. Each identity gets slots in proportion to its images, at least one; an
image is repeated in an epoch only when its identity has no new one left. `camera_batches` and `dataset_batches` are
built from the same steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_reid.errors import ReidError


def steps_per_epoch(
    person_ids: np.ndarray,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    dataset_ids: np.ndarray | None = None,
) -> int:
    """Returns the number of batches in an epoch: N // (P * K), or as many more as hold every identity once.

    Args:
        person_ids: integer `[N]`, the identity of each training image.
        identities_per_batch: P, from 2 to the number of identities: with one identity there is no negative.
        images_per_identity: K, at least 2: with one image there is no positive.
        dataset_ids: integer `[N]`, given where each batch holds identities of all datasets in equal parts.

    Raises:
        ReidError: P or K does not fit the training set.
    """
    _, first = np.unique(person_ids, return_index=True)
    identities = len(first)
    if images_per_identity < 2:
        raise ReidError(
            f"images_per_identity={images_per_identity}, expected at least 2: with one image of each identity no "
            "anchor has a positive."
        )
    if not 2 <= identities_per_batch <= identities:
        raise ReidError(
            f"identities_per_batch={identities_per_batch}, expected 2 to {identities}, the number of training "
            "identities: lower it, or train on more identities."
        )
    batch_size = identities_per_batch * images_per_identity
    sets = [identities] if dataset_ids is None else np.unique(np.asarray(dataset_ids)[first], return_counts=True)[1]
    sets = np.asarray(sets)
    whole, places = equal_parts(sets, identities_per_batch)
    # The larger sets take turns at the places left: after s steps each has had s * places / sets of them, rounded down.
    turns = -(-sets[~whole] * np.count_nonzero(~whole) // max(places, 1))
    return int(max(len(person_ids) // batch_size, 1, *turns))


def equal_parts(identities: np.ndarray, identities_per_batch: int) -> tuple[np.ndarray, int]:
    """Shares the P places of a batch among datasets, as equally as their numbers of identities allow.

    Args:
        identities: int `[D]`, of each dataset.
        identities_per_batch: P.

    Returns:
        Bool `[D]`: the datasets smaller than an equal part, whose identities are all in each batch; and the number of
        places left, which the other datasets share equally.
    """
    whole, places = np.zeros(len(identities), bool), identities_per_batch
    for n in np.argsort(identities, kind="stable"):
        if identities[n] * np.count_nonzero(~whole) > places:
            break
        whole[n], places = True, places - int(identities[n])
    return whole, places


def identity_batches(
    person_ids: np.ndarray, *, identities_per_batch: int, images_per_identity: int, seed: int, epoch: int
) -> np.ndarray:
    """Draws the batches of one epoch.

    No identity comes twice in a batch, and every identity comes in the epoch. An identity with fewer than K images
    fills its slot by repeating them. The same arguments give the same batches on every machine.

    Args:
        person_ids: integer `[N]`, the identity of each training image.
        identities_per_batch: P.
        images_per_identity: K.
        seed: of the run, at least 0.
        epoch: counted from 0.

    Returns:
        int32 `[steps, P * K]`, indices into `person_ids`, the K images of an identity side by side.

    Raises:
        ReidError: P or K does not fit the training set.

    Source: Hermans et al. 2017 (arXiv 1703.07737), section 2.
    """
    P, K = identities_per_batch, images_per_identity
    return draw_batches(person_ids, P, K, seed, epoch, lambda images, slots, random: images_in_turn(images, slots, K))


def draw_batches(person_ids: np.ndarray, P: int, K: int, seed: int, epoch: int, deal: Callable) -> np.ndarray:
    """Draws batches; `deal(images of an identity, number of its slots, random)` returns its slots `[slots, K]`."""
    person_ids = np.asarray(person_ids)
    steps = steps_per_epoch(person_ids, identities_per_batch=P, images_per_identity=K)
    random = np.random.default_rng([seed, epoch])
    images_of = shuffled_images(person_ids, random)
    counts = np.array([len(images) for images in images_of])
    slots = slots_per_identity(counts, K, total=steps * P, most=steps, random=random)
    members = place_identities(slots, np.full(steps, P), random)
    return fill_batches(members, [deal(images, count, random) for images, count in zip(images_of, slots)])


def fill_batches(members: np.ndarray, slots_of: list[np.ndarray]) -> np.ndarray:
    """Fills the places in `members` `[steps, P]` with the identities' slots `[slots, K]`: int32 `[steps, P * K]`."""
    slots = np.concatenate(slots_of).astype(np.int32)
    batches = np.empty_like(slots)
    batches[np.argsort(members.ravel(), kind="stable")] = slots
    return batches.reshape(len(members), -1)


def images_in_turn(images: np.ndarray, slots: int, K: int) -> np.ndarray:
    """Returns `[slots, K]`: the images in order, from the first again after the last."""
    return images[np.arange(slots * K).reshape(slots, K) % len(images)]


def shuffled_images(person_ids: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Returns for each identity, in the order of its id, the indices of its images in random order."""
    order = random.permutation(len(person_ids))
    order = order[np.argsort(person_ids[order], kind="stable")]
    _, first = np.unique(person_ids[order], return_index=True)
    return np.split(order, first[1:])


def slots_per_identity(images: np.ndarray, K: int, *, total: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Shares `total` slots among identities, each next one to the identity with the most unseen images.

    Args:
        images: int `[I]`, of each identity.
        K: images of a slot.
        total: slots in all.
        most: slots of one identity, which has at least 1.
        random: the epoch's.

    Returns:
        int `[I]`.
    """
    slots = np.clip(images // K, 1, most)
    tie_break = random.random(len(images))  # below 1: among equals another one comes first in each epoch
    while (missing := total - slots.sum()) > 0:
        unseen = images - slots * K + tie_break
        # Without new images left, the identity that repeats the smallest share of its images comes first.
        want = np.where(unseen >= 1, unseen, (unseen - K) / images)
        want[slots >= most] = -np.inf
        # All identities with a new image at once; then one at a time, since each slot changes which one is next.
        together = max(1, np.count_nonzero(want >= 1))
        slots[np.argsort(-want, kind="stable")[: min(missing, together)]] += 1
    while slots.sum() > total:
        # The identity that keeps the largest share of its images returns a slot.
        unseen_share = (images - (slots - 1) * K + tie_break) / images
        unseen_share[slots <= 1] = np.inf
        slots[np.argmin(unseen_share)] -= 1
    return slots


def place_identities(slots: np.ndarray, places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places each identity's slots into as many different batches.

    Each identity takes the emptiest batches, and chooses at random among equally full ones. No batch is ever more than
    one identity ahead of another, and all of them end up full. The identities come in random order: neighbors in the
    order rarely meet, and in a fixed order they would be the same ones in every epoch.

    Args:
        slots: int `[I]`, of each identity; their sum is that of the places.
        places: int `[steps]`, of each batch; they differ by one at most.
        random: the epoch's.

    Returns:
        int `[steps, most places]`: identities; -1 in the first column of a batch with a place less.
    """
    filled = places.max() - places
    members = np.full((len(places), places.max()), -1)
    for identity in random.permutation(len(slots)):
        chosen = np.argsort(filled + random.random(len(places)), kind="stable")[: slots[identity]]
        members[chosen, filled[chosen]] = identity
        filled[chosen] += 1
    return members
