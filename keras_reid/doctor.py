"""python -m keras_reid.doctor --dataset=NAME --data_dir=DIR: checks a dataset before anyone trains on it.

It counts images per split, identity and camera, and looks for identities that cannot be learned or found, for images
that cannot be read or are odd, and for copies across splits and identities; it says how to solve each problem.
--pictures draws a training batch and people across cameras. Exit code: 0 clean; 2 warnings; 3 errors, at which training
or evaluation would stop; 1 wrong flags, or a dataset that is not in its layout.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence

from keras_reid import command, options
from keras_reid.data import describe, read_dataset
from keras_reid.data.checks.catalog_checks import check_catalog
from keras_reid.data.checks.counts import counts_numbers, counts_tables
from keras_reid.data.checks.findings import exit_code, findings_text, rank
from keras_reid.data.checks.left_out import check_left_out
from keras_reid.files import write_text


def doctor(flags: command.Flags) -> int:
    """Checks a dataset; returns the exit code."""
    # --- The catalog: no file is opened, and TensorFlow is not loaded.
    command.required(flags, "data_dir")
    command.check_writable("json", flags.json)
    command.check_folder("pictures", flags.pictures)
    start = time.monotonic()
    catalog = read_dataset(flags.dataset, flags.data_dir, camera_pattern=flags.camera_pattern, must_exist=False)
    print(f"{describe(catalog)}\n\n{counts_tables(catalog)}\n", flush=True)
    rules = command.given(flags, "images_per_identity", "ignore", "missing_cameras")
    findings = check_catalog(catalog, **rules) + check_left_out(catalog, dataset=flags.dataset, root=flags.data_dir)

    # --- The files.
    from keras_reid.data.augmentation import Augmentation
    from keras_reid.data.checks.image_checks import check_images, unreadable_files

    augmentation = Augmentation(flags.random_flip, flags.random_crop_padding, flags.random_erasing)
    findings = rank([*findings, *check_images(catalog, ignore=flags.ignore)])
    for n, finding in enumerate(findings):
        message, way_out = (command.name_flags(text, flags) for text in (finding.message, finding.way_out))
        findings[n] = dataclasses.replace(finding, message=message, way_out=way_out)
    print(f"read {catalog.image_path.nunique()} images in {time.monotonic() - start:.0f} s\n")
    print(findings_text(findings, below=flags.data_dir))

    # --- Pictures and JSON.
    pictures, labels = [], {}
    if flags.pictures:
        from keras_reid.data.checks.contact_sheet import draw_contact_sheets, lettering_of

        lettering = lettering_of(catalog)
        labels = {label: name for name, label in lettering.boxed.items()}
        pictures = draw_contact_sheets(
            flags.pictures,
            catalog[~catalog.image_path.isin(unreadable_files(findings))],
            image_size=(flags.image_height, flags.image_width),
            augmentation=augmentation,
            lettering=lettering,
            **command.given(flags, "identities_per_batch", "images_per_identity", "seed"),
        )
        print("\n".join(f"drawn {path}" for path in pictures))
        if labels:
            print("names with letters that no installed font has, and what stands for them in the pictures:")
            print("\n".join(f"  {label}  {name}" for label, name in labels.items()))
    if flags.json:
        content = {
            **command.given(flags, "dataset", "data_dir"),
            "rules": rules,
            "exit_code": exit_code(findings),
            "counts": counts_numbers(catalog),
            "findings": [finding.to_dict() for finding in findings],
            "pictures": [str(path) for path in pictures],
            "labels": labels,
        }
        write_text(flags.json, json.dumps(content, indent=2) + "\n")
        print(f"written to {flags.json}")
    return exit_code(findings)


def main(argv: Sequence[str] | None = None) -> int:
    health = [0]
    return command.run_command(lambda flags: health.append(doctor(flags)), options.doctor_flags(), argv) or health[-1]


if __name__ == "__main__":
    sys.exit(main())
