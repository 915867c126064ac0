"""Identity batches: P identities x K images, a pure function of labels, P, K, seed and epoch.

An epoch of N training images is N // (P * K) batches, or more where so few could not hold every identity once. A *slot*
is one identity's place in one batch, K images. Each identity gets slots in proportion to its images, at least one; an
image is repeated in an epoch only when its identity has no new one left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

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
    whole, places = _equal_parts(sets, identities_per_batch)
    # The larger sets take turns at the places left: after s steps each has had s * places / sets of them, rounded down.
    turns = -(-sets[~whole] * np.count_nonzero(~whole) // max(places, 1))
    return int(max(len(person_ids) // batch_size, 1, *turns))


def identity_batches(
    person_ids: np.ndarray,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    epoch: int,
    camera_ids: Sequence | None = None,
    dataset_ids: np.ndarray | None = None,
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
        camera_ids: `[N]`, of any kind; a missing one (pandas NA) counts as a camera of its own. Given: each camera's
            images are spread over the slots of an identity as evenly as possible. Where a slot would still show one
            camera although the identity has more, an image of another camera replaces one, even if it is then repeated.
        dataset_ids: integer `[N]`, the same for all images of an identity. Given: the P identities come from the
            datasets in equal parts. A dataset with fewer identities than its part has all of them in each batch, and
            the others share the places left. Where P cannot be shared evenly, they take turns at the odd places.

    Returns:
        int32 `[steps, P * K]`, indices into `person_ids`, the K images of an identity side by side.

    Raises:
        ReidError: P or K does not fit the training set, there is not one camera or dataset for each image, or an
            identity is in two datasets.

    Source: Hermans et al. 2017 (arXiv 1703.07737), section 2.
    """
    person_ids = np.asarray(person_ids)
    for name, ids in (("camera_ids", camera_ids), ("dataset_ids", dataset_ids)):
        if ids is not None and len(ids) != len(person_ids):
            raise ReidError(f"{len(ids)} {name} but {len(person_ids)} person_ids, expected one for each.")
    P, K = identities_per_batch, images_per_identity
    steps = steps_per_epoch(person_ids, identities_per_batch=P, images_per_identity=K, dataset_ids=dataset_ids)
    random = np.random.default_rng([seed, epoch])
    images_of = _shuffled_images(person_ids, random)
    set_of = _set_of_each(images_of, dataset_ids)
    counts = np.array([len(images) for images in images_of])

    slots, members, next_place = np.zeros(len(counts), int), np.full((steps, P), -1), np.zeros(steps, int)
    for n, places in enumerate(_places(np.bincount(set_of), P, steps, random)):
        identities = np.flatnonzero(set_of == n)
        most = np.count_nonzero(places)
        slots[identities] = _slots(counts[identities], K, total=places.sum(), most=most, random=random)
        own = _place_identities(slots[identities], places, random)
        step, column = np.nonzero(own >= 0)
        column += (next_place + places - own.shape[1])[step]
        members[step, column] = identities[own[own >= 0]]
        next_place += places

    if camera_ids is None:
        dealt = [images[np.arange(count * K) % len(images)] for images, count in zip(images_of, slots)]
    else:
        cameras = _camera_codes(camera_ids)
        dealt = [_spread_cameras(images, cameras[images], n, K, random).ravel() for images, n in zip(images_of, slots)]
    batches = np.empty((steps * P, K), np.int32)
    batches[np.argsort(members.ravel(), kind="stable")] = np.concatenate(dealt).reshape(-1, K)
    return batches.reshape(steps, P * K)


def _equal_parts(identities: np.ndarray, identities_per_batch: int) -> tuple[np.ndarray, int]:
    """Shares the P places of a batch among datasets, as equally as their numbers of identities `[D]` allow.

    Returns bool `[D]`, the datasets smaller than an equal part, whose identities are all in each batch; and the number
    of places left, which the other datasets share equally.
    """
    whole, places = np.zeros(len(identities), bool), identities_per_batch
    for n in np.argsort(identities, kind="stable"):
        if identities[n] * np.count_nonzero(~whole) > places:
            break
        whole[n], places = True, places - int(identities[n])
    return whole, places


def _shuffled_images(person_ids: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Returns for each identity, in the order of its id, the indices of its images in random order."""
    order = random.permutation(len(person_ids))
    order = order[np.argsort(person_ids[order], kind="stable")]
    _, first = np.unique(person_ids[order], return_index=True)
    return np.split(order, first[1:])


def _set_of_each(images_of: list[np.ndarray], dataset_ids: np.ndarray | None) -> np.ndarray:
    """Returns the dataset of each identity, coded from 0."""
    if dataset_ids is None:
        return np.zeros(len(images_of), int)
    codes = np.unique(dataset_ids, return_inverse=True)[1]
    sets = [np.unique(codes[images]) for images in images_of]
    shared = sum(len(of_one) > 1 for of_one in sets)
    if shared:
        raise ReidError(f"{shared} person_ids are in more than one dataset: give each dataset ids of its own.")
    return np.array([of_one[0] for of_one in sets])


def _places(identities: np.ndarray, P: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """Returns how many places of each batch each dataset has: int `[D, steps]`."""
    whole, left = _equal_parts(identities, P)
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


def _slots(images: np.ndarray, K: int, *, total: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Shares `total` slots among identities `[I]`, from 1 to `most` each; the next goes to the most unseen images."""
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


def _place_identities(slots: np.ndarray, places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places each identity's slots `[I]` into as many different batches, whose numbers of places `[steps]` are given.

    Each identity takes the emptiest batches, and chooses at random among equally full ones. No batch is ever more than
    one identity ahead of another, and all of them end up full. The identities come in random order: neighbors in the
    order rarely meet, and in a fixed order they would be the same ones in every epoch.

    Returns int `[steps, most places]`, identities; -1 in the first column of a batch with a place less.
    """
    filled = places.max() - places
    members = np.full((len(places), places.max()), -1)
    for identity in random.permutation(len(slots)):
        chosen = np.argsort(filled + random.random(len(places)), kind="stable")[: slots[identity]]
        members[chosen, filled[chosen]] = identity
        filled[chosen] += 1
    return members


def _camera_codes(camera_ids: Sequence) -> np.ndarray:
    """Returns cameras as integers `[N]`, a missing one as a camera of its own."""
    codes, _ = pd.factorize(pd.Series(camera_ids))
    missing = codes < 0
    codes[missing] = len(codes) + np.arange(missing.sum())
    return codes


def _spread_cameras(
    images: np.ndarray, cameras: np.ndarray, slots: int, K: int, random: np.random.Generator
) -> np.ndarray:
    """Returns an identity's slots `[slots, K]`: the images in turn, dealt to them camera by camera."""
    _, cameras = np.unique(cameras, return_inverse=True)
    draws = np.arange(slots * K) % len(images)
    # The cameras come in random order, otherwise the last ones would always be dealt to the same slots.
    order = random.permutation(cameras.max() + 1)[cameras]
    dealt = draws[np.lexsort((draws, order[draws]))].reshape(K, slots).T[random.permutation(slots)]
    if cameras.max() > 0:
        _mix_single_cameras(dealt, cameras)
    return images[dealt]


def _mix_single_cameras(dealt: np.ndarray, cameras: np.ndarray) -> None:
    """Replaces, in each slot of a single camera, the image seen most by the least seen image of another camera."""
    seen = np.bincount(dealt.ravel(), minlength=len(cameras))
    for n in np.flatnonzero((cameras[dealt] == cameras[dealt[:, :1]]).all(axis=1)):
        slot = dealt[n]
        place = np.argmax(seen[slot])
        other = np.argmin(np.where(cameras == cameras[slot[0]], np.inf, seen))
        seen[slot[place]] -= 1
        seen[other] += 1
        slot[place] = other
