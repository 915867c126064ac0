"""Data of a run: the catalog that it trains and is scored on, read, checked and described on screen."""

from __future__ import annotations

import time
from typing import NamedTuple

import pandas as pd

from keras_reid.data import IdentityBatches, describe, write_synthetic
from keras_reid.data.checks.catalog_checks import check_catalog
from keras_reid.data.checks.findings import warnings_or_refusal
from keras_reid.data.counted import missing_cameras_line
from keras_reid.data.places import is_remote, list_folder
from keras_reid.data.training_sets import describe_sets, read_training_sets, take_part
from keras_reid.data.validation import describe_validation, hold_out
from keras_reid.errors import ReidError
from keras_reid.training.cluster import Cluster
from keras_reid.training.settings import Settings


class RunData(NamedTuple):
    """All images of a run, the batches that its training images form, and images held out of them, if any.

    The validation catalog has the splits query and gallery, of people who are in no other.
    """

    catalog: pd.DataFrame
    batches: IdentityBatches
    validation: pd.DataFrame | None = None


def read_run_data(settings: Settings, cluster: Cluster | None = None) -> RunData:
    """Reads, checks and describes the datasets of a run; renders synthetic ones that are missing.

    Args:
        settings: of the run.
        cluster: its workers; the chief renders, the others wait.

    Raises:
        ReidError: a dataset cannot be read, or cannot be trained on.
    """
    for dataset, folder in settings.datasets:
        if dataset == "synthetic" and not is_remote(folder) and not list_folder(folder):
            if (cluster or Cluster()).is_chief:
                _render(settings, folder)
            else:
                _wait_for(folder)
    catalog = read_training_sets(settings.datasets, camera_pattern=settings.camera_pattern)
    validation = None
    if settings.validation_identities:
        catalog, validation = hold_out(catalog, settings.validation_identities, seed=settings.seed)
    part = {"identities": settings.train_identities, "images": settings.train_images}
    catalog = take_part(catalog, **part, seed=settings.seed)
    lines = [describe(catalog), describe_sets(catalog), missing_cameras_line(catalog, settings.missing_cameras)]
    print("\n".join(filter(None, [*lines, describe_validation(validation)])))
    for line in warnings_or_refusal(check_catalog(catalog, **settings.some("images_per_identity", "missing_cameras"))):
        print(line)
    sizes = settings.some("identities_per_batch", "images_per_identity", "sampler", "seed")
    batches = IdentityBatches(catalog[catalog.split == "train"], **sizes)
    steps, size = batches.steps_per_epoch, f"{settings.identities_per_batch} x {settings.images_per_identity} images"
    total = f"{settings.epochs} epochs are {steps * settings.epochs} steps"
    print(f"an epoch is {steps} steps of {size}; {total}", flush=True)
    return RunData(catalog, batches, validation)


def _render(settings: Settings, folder: str) -> None:
    print(f"rendering {settings.synthetic_identities} people into {folder}", flush=True)
    write_synthetic(
        folder,
        identities=settings.synthetic_identities,
        cameras=settings.synthetic_cameras,
        images_per_camera=settings.synthetic_images_per_camera,
        seed=settings.seed,
    )


def _wait_for(folder: str, seconds: float = 600) -> None:
    """Waits until the chief has rendered a dataset; it appears as a whole."""
    end = time.monotonic() + seconds
    while not list_folder(folder):
        if time.monotonic() > end:
            raise ReidError(f"no dataset at {folder!r} after {seconds:.0f} s: all workers must share the folder.")
        time.sleep(0.2)
