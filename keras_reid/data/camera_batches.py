"""Camera batches: identity batches whose positives come from as many cameras as possible.

They hold the same identities as `identity_batches` with the same arguments, and show each image about as often. They
differ in which images of an identity share a slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.data.batches import draw_batches, images_in_turn
from keras_reid.errors import ReidError


def camera_batches(
    person_ids: np.ndarray,
    camera_ids: Sequence,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Draws the batches of one epoch as `identity_batches`, with positives from other cameras where there are any.

    Each camera's images are spread over the slots of an identity as evenly as possible. Where a slot would still show
    one camera although the identity has more, an image of another camera replaces one, even if it is then repeated.

    Args:
        person_ids: integer `[N]`, the identity of each training image.
        camera_ids: `[N]`, of any kind. A missing one (pandas NA) counts as a camera of its own.
        identities_per_batch: as the arguments after it and the result, see `identity_batches`.

    Raises:
        ReidError: P or K does not fit the training set, or there is not one camera for each image.
    """
    person_ids, cameras = np.asarray(person_ids), _camera_codes(camera_ids)
    if len(cameras) != len(person_ids):
        raise ReidError(f"{len(cameras)} camera_ids but {len(person_ids)} person_ids, expected one for each.")
    P, K = identities_per_batch, images_per_identity

    def deal(images: np.ndarray, slots: int, random: np.random.Generator) -> np.ndarray:
        return _spread_cameras(images, cameras[images], slots, K, random)

    return draw_batches(person_ids, P, K, seed, epoch, deal)


def _camera_codes(camera_ids: Sequence) -> np.ndarray:
    codes, _ = pd.factorize(pd.Series(camera_ids))
    missing = codes < 0
    codes[missing] = len(codes) + np.arange(missing.sum())
    return codes


def _spread_cameras(
    images: np.ndarray, cameras: np.ndarray, slots: int, K: int, random: np.random.Generator
) -> np.ndarray:
    """Returns an identity's slots `[slots, K]`: the draws of `images_in_turn`, dealt to them camera by camera."""
    _, cameras = np.unique(cameras, return_inverse=True)
    draws = images_in_turn(np.arange(len(images)), slots, K).ravel()
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
