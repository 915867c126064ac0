"""Camera batches: the slots of an identity, dealt so that its positives come from as many cameras as possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def camera_codes(camera_ids: Sequence) -> np.ndarray:
    """Returns cameras as integers `[N]`, a missing one as a camera of its own."""
    codes, _ = pd.factorize(pd.Series(camera_ids))
    missing = codes < 0
    codes[missing] = len(codes) + np.arange(missing.sum())
    return codes


def spread_cameras(
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
