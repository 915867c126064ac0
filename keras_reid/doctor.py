"""python -m keras_reid.doctor --dataset=NAME --data_dir=DIR: checks a dataset before anyone trains on it.

It counts images per split, identity and camera, looks for identities that cannot be learned or found, for images that
cannot be read or are odd, and for copies across splits and people; each problem comes with the way out. --pictures
draws a training batch and people across cameras. Exit code: 0 clean, 2 warnings, 3 errors, at which training or
evaluation would stop; 1 where the flags are wrong or the dataset is not in its layout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_reid import command, options
from keras_reid.data import describe, read_dataset
from keras_reid.data.checks.catalog_checks import check_catalog
from keras_reid.data.checks.counts import counts_numbers, counts_tables
from keras_reid.data.checks.findings import LEVELS, Finding, exit_code, join_names, rank
from keras_reid.files import write_text

_NAMES_ON_SCREEN = 5


def doctor(flags: command.Flags) -> int:
    """Checks a dataset; returns the exit code."""
    # --- The catalog: no file is opened, and TensorFlow is not loaded.
    command.required(flags, "data_dir")
    command.check_writable("json", flags.json)
    command.check_folder("pictures", flags.pictures)
    start = time.monotonic()
    catalog = read_dataset(flags.dataset, flags.data_dir)
    print(f"{describe(catalog)}\n\n{counts_tables(catalog)}\n", flush=True)
    rules = command.given(flags, "images_per_identity", "ignore", "missing_cameras")
    findings = check_catalog(catalog, **rules)

    # --- The files.
    from keras_reid.data.augmentation import Augmentation
    from keras_reid.data.checks.image_checks import check_images, unreadable_files

    augmentation = Augmentation(flags.random_flip, flags.random_crop_padding, flags.random_erasing)
    findings = rank([*findings, *check_images(catalog, ignore=flags.ignore)])
    print(f"read {catalog.image_path.nunique()} images in {time.monotonic() - start:.0f} s")
    show(findings, flags.data_dir)

    # --- Pictures and JSON.
    pictures = []
    if flags.pictures:
        unreadable = unreadable_files(findings)
        pictures = draw(flags, catalog[~catalog.image_path.isin(unreadable)], augmentation)
    if flags.json:
        content = {
            **command.given(flags, "dataset", "data_dir"),
            "rules": rules,
            "exit_code": exit_code(findings),
            "counts": counts_numbers(catalog),
            "findings": [finding.to_dict() for finding in findings],
            "pictures": pictures,
        }
        write_text(flags.json, json.dumps(content, indent=2) + "\n")
        print(f"written to {flags.json}")
    return exit_code(findings)


def show(findings: Sequence[Finding], data_dir: str) -> None:
    """Prints the findings, those that matter most first."""
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    total = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())
    print(f"\n{total}" if findings else "\nnothing is wrong with it")
    for number, finding in enumerate(findings, 1):
        print(f"{number}. {finding.level}: {finding.message}")
        if finding.names:
            print(f"   {join_names(finding.names, _NAMES_ON_SCREEN, below=data_dir)}")
        print(f"   -> {finding.way_out}")


def draw(flags: command.Flags, catalog: pd.DataFrame, augmentation) -> list[str]:
    """Draws the contact sheets of images that can be read; returns their paths."""
    from keras_reid.data.checks.contact_sheet import draw_across_cameras, draw_training_batch

    batch, cameras = (str(Path(flags.pictures, name)) for name in ("training_batch.png", "across_cameras.png"))
    paths, train = [], catalog[catalog.split == "train"]
    identities = min(flags.identities_per_batch, train.person_id.nunique())
    if identities >= 2:
        draw_training_batch(
            batch,
            train,
            image_size=(flags.image_height, flags.image_width),
            identities_per_batch=identities,
            images_per_identity=flags.images_per_identity,
            seed=flags.seed,
            augmentation=augmentation,
        )
        paths.append(batch)
    draw_across_cameras(cameras, catalog)
    paths.append(cameras)
    for path in paths:
        print(f"drawn {path}")
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    health = []

    def run(flags: command.Flags) -> None:
        health.append(doctor(flags))

    return command.run_command(run, options.doctor_flags(), argv) or max(health, default=0)


if __name__ == "__main__":
    sys.exit(main())
