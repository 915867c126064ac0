"""Decides which images meet in a batch: P identities x K images, a pure function of labels, P, K, seed and epoch.

An epoch is N // (P * K) batches of N training images (more only where that many could not hold every identity once).
A *slot* is one identity's place in one batch, K images. Slots go to identities in proportion to their images, and at
least one to each; an image is seen twice in an epoch only when its identity has none left that is new.
"""

import numpy as np

from keras_reid.errors import ReidError


def steps_per_epoch(person_ids: np.ndarray, *, identities_per_batch: int, images_per_identity: int) -> int:
    """Returns the number of batches in an epoch: N // (P * K), or as many as hold every identity once, if that is more.

    Args:
        person_ids: integer `[N]`, one identity for each training image.
        identities_per_batch: P, from 2 to the number of identities: with one identity there is no negative.
        images_per_identity: K, at least 2: with one image there is no positive.

    Raises:
        ReidError: P or K does not fit the training set.
    """
    identities = len(np.unique(person_ids))
    if images_per_identity < 2:
        raise ReidError(
            f"--images_per_identity={images_per_identity}, expected at least 2: with fewer no image of a batch has a "
            "positive to pull closer."
        )
    if not 2 <= identities_per_batch <= identities:
        raise ReidError(
            f"--identities_per_batch={identities_per_batch}, expected 2 to {identities}, the number of identities in "
            "the training set: lower it or train on more identities."
        )
    batch_size = identities_per_batch * images_per_identity
    return max(len(person_ids) // batch_size, -(-identities // identities_per_batch))


def identity_batches(
    person_ids: np.ndarray, *, identities_per_batch: int, images_per_identity: int, seed: int, epoch: int
) -> np.ndarray:
    """Draws the batches of one epoch.

    No identity is twice in a batch; every identity is in the epoch; an identity with fewer than K images fills its
    slot by repeating them. The same arguments give the same batches on every machine.

    Args:
        person_ids: integer `[N]`, one identity for each training image.
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
    person_ids = np.asarray(person_ids)
    P, K = identities_per_batch, images_per_identity
    steps = steps_per_epoch(person_ids, identities_per_batch=P, images_per_identity=K)
    random = np.random.default_rng([seed, epoch])
    images_of = _shuffled_images(person_ids, random)
    slots = _slots_per_identity(np.array([len(images) for images in images_of]), P, K, steps, random)
    members = _identities_of_batches(slots, P, steps, random)

    batches = np.empty((steps, P, K), np.int32)
    next_slot = np.zeros(len(images_of), np.int64)
    for step, place in np.ndindex(steps, P):
        identity = members[step, place]
        images = images_of[identity]
        first = next_slot[identity] * K
        batches[step, place] = images[(first + np.arange(K)) % len(images)]
        next_slot[identity] += 1
    return batches.reshape(steps, P * K)


def _shuffled_images(person_ids: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Returns for each identity, in the order of its id, the indices of its images in random order."""
    order = random.permutation(len(person_ids))
    order = order[np.argsort(person_ids[order], kind="stable")]
    _, first = np.unique(person_ids[order], return_index=True)
    return np.split(order, first[1:])


def _slots_per_identity(images: np.ndarray, P: int, K: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """Shares steps * P slots among identities `[I]`, next to the one with the most images not yet seen."""
    slots = np.clip(images // K, 1, steps)
    tie_break = random.random(len(images))  # below 1: decides between equals, so that each gets its turn over epochs
    while (missing := steps * P - slots.sum()) > 0:
        unseen = images - slots * K + tie_break
        # Where nothing new is left, the identity whose images would be repeated least, in proportion, comes first.
        want = np.where(unseen >= 1, unseen, (unseen - K) / images)
        want[slots >= steps] = -np.inf
        # All that have something new at once; then one by one, since each slot changes who is next.
        together = max(1, np.count_nonzero(want >= 1))
        slots[np.argsort(-want, kind="stable")[: min(missing, together)]] += 1
    while slots.sum() > steps * P:
        # The identity that keeps the largest share of its images gives a slot back.
        unseen_share = (images - (slots - 1) * K + tie_break) / images
        unseen_share[slots <= 1] = np.inf
        slots[np.argmin(unseen_share)] -= 1
    return slots


def _identities_of_batches(slots: np.ndarray, P: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """Places each identity's slots into as many different batches: int `[steps, P]`.

    Each identity takes the emptiest batches, among equally full ones at random: no batch is ever more than one ahead of
    another, so each ends up with exactly P. The order is random: neighbours in it meet rarely or never, and in a
    fixed order, such as by slots, that would be the same identities in every epoch.
    """
    filled = np.zeros(steps, np.int64)
    members = np.empty((steps, P), np.int64)
    for identity in random.permutation(len(slots)):
        chosen = np.argsort(filled + random.random(steps), kind="stable")[: slots[identity]]
        members[chosen, filled[chosen]] = identity
        filled[chosen] += 1
    return members
