"""Identity batches of a run: which training images meet at each step, drawn by the sampler that the run has chosen."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from keras_reid.choices import SAMPLERS
from keras_reid.data.batches import identity_batches, steps_per_epoch
from keras_reid.errors import ReidError

_OTHERWISE = "or set sampler=identity"


class IdentityBatches:
    """The batches of a run, P identities x K images each: a pure function of images, sampler, seed and epoch.

    All arguments but `sampler` are attributes too; others are `person_ids`, int32 `[N]`, and `steps_per_epoch`.
    """

    def __init__(
        self,
        images: pd.DataFrame,
        *,
        identities_per_batch: int,
        images_per_identity: int,
        seed: int,
        sampler: str = "identity",
    ):
        """Checks the arguments; draws nothing yet.

        Args:
            images: N rows of a catalog with the columns `image_path` and `person_id` (integers); the sampler "camera"
                also reads `camera_id`, the sampler "dataset" `dataset_id`, as `identity_batches` does.
            identities_per_batch: P.
            images_per_identity: K.
            seed: at least 0.
            sampler: "identity", "camera" or "dataset".

        Raises:
            ReidError: P or K does not fit the images, the sampler is unknown or lacks its column, or a person id is no
                integer of 32 bits.
        """
        if sampler not in SAMPLERS:
            raise ReidError(f"sampler={sampler}, expected {', '.join(SAMPLERS)}.")
        self.images, self.seed, self.person_ids = images, seed, _as_int32(images.person_id)
        self.identities_per_batch, self.images_per_identity = identities_per_batch, images_per_identity
        sizes = {"identities_per_batch": identities_per_batch, "images_per_identity": images_per_identity}
        if sampler == "camera" and ("camera_id" not in images or images.camera_id.isna().all()):
            raise ReidError(f"sampler=camera, but no training image has a camera id: give them, {_OTHERWISE}.")
        if sampler == "dataset" and ("dataset_id" not in images or images.dataset_id.nunique() < 2):
            raise ReidError(f"sampler=dataset, but there is one dataset: add another data_dir, {_OTHERWISE}.")
        camera_ids = images.camera_id if sampler == "camera" else None
        dataset_ids = images.dataset_id.to_numpy(int) if sampler == "dataset" else None
        self.steps_per_epoch = steps_per_epoch(self.person_ids, **sizes, dataset_ids=dataset_ids)
        ids = {"camera_ids": camera_ids, "dataset_ids": dataset_ids}
        self._draw = functools.partial(identity_batches, self.person_ids, **sizes, seed=seed, **ids)

    def of_epoch(self, epoch: int) -> np.ndarray:
        """Returns the batches of an epoch, counted from 0: int32 `[steps_per_epoch, P * K]`, positions in `images`."""
        return self._draw(epoch=epoch)


def _as_int32(person_ids: pd.Series) -> np.ndarray:
    person_ids = np.asarray(person_ids)
    if not np.can_cast(person_ids.dtype, np.int64) or person_ids.dtype.kind not in "iu":
        raise ReidError(f"person_id has dtype {person_ids.dtype}, expected integers: code them from 1.")
    if len(person_ids) and max(abs(int(person_ids.min())), int(person_ids.max())) > np.iinfo(np.int32).max:
        raise ReidError(f"a person_id of {person_ids.max()} does not fit 32 bits: code them from 1.")
    return person_ids.astype(np.int32)
