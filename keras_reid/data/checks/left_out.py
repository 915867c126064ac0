"""Check of what a dataset leaves out: files beside its images that may be images, and are not read."""

from __future__ import annotations

import os

import pandas as pd

from keras_reid.data.checks.findings import Finding
from keras_reid.data.formats import IMAGE_SUFFIXES, count_by_suffix, left_out
from keras_reid.data.places import is_file, list_files, list_folder


def check_left_out(catalog: pd.DataFrame, *, dataset: str, root: str) -> list[Finding]:
    """Returns a finding that counts, by the endings of their names, the files that are left out; it opens none.

    Args:
        catalog: of the dataset.
        dataset: its name. A CSV says itself which files count.
        root: its folder.
    """
    if dataset == "csv":
        return []
    folders = [] if dataset == "folder" else sorted({os.path.dirname(path) for path in catalog.image_path})
    beside = [os.path.join(folder, name) for folder in folders for name in left_out(list_folder(folder))]
    files = left_out(list_files(root)) if dataset == "folder" else list(filter(is_file, beside))
    if not files:
        return []
    message = f"files that are left out, because their names do not end as those of images ({count_by_suffix(files)})"
    way_out = f"Convert photos among them to JPEG or PNG. Read are {', '.join(IMAGE_SUFFIXES)}."
    return [Finding("left_out", "note", message, way_out, files, len(files) / (len(files) + len(catalog)))]
