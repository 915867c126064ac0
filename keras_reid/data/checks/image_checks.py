"""Checks of image files: files that cannot be read, odd images and copies; each file is read once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID, JUNK_ID
from keras_reid.data.checks.duplicates import find_copies
from keras_reid.data.checks.findings import Finding
from keras_reid.data.checks.image_looks import Looks, look_at_images, read_head
from keras_reid.data.formats import IN_WORDS, SUFFIXES, file_format
from keras_reid.data.orientation import UPRIGHT

_TINY = (32, 16)  # height and width below which people can hardly be told apart
_HUGE_PIXELS = 4_000_000  # more than a person fills in a 4K picture: rather a whole scene, or a scan
_USUAL_ASPECT = (1.0, 5.0)  # height by width: people stand, walk or ride a bicycle
_GRAY_SPREAD = 3  # levels of 255: an image is called gray when the colors of each pixel differ by at most so many
_BLANK_DEVIATION = 2.0  # levels of 255: a thumbnail with a smaller standard deviation is called blank
_ODD_HURTS = 0.1  # in the ranking of findings an odd picture hurts less than one with a wrong label

# Kind -> what is wrong, and what to do. Training and evaluation stop at each of them.
_UNREADABLE = {
    "missing": ("that do not exist", "Restore them, or take them out of the dataset."),
    "unreadable": ("that may not be opened", "Set their permissions, or look at the disk."),
    "empty": ("that are empty", "Copy them again, or take them out of the dataset."),
    "damaged": ("that are cut off or damaged", "Copy them again, or take them out of the dataset."),
    "not_an_image": (
        f"that are no {IN_WORDS}, whatever their names say",
        "Convert them to JPEG or PNG, or take them out of the dataset.",
    ),
}
# Kind -> level, what is wrong, and what to do.
_ODD = {
    "tiny": (
        "warning",
        f"lower than {_TINY[0]} or narrower than {_TINY[1]} pixels",
        "Too little of a person is left to learn from: take them out, or cut them from a larger picture.",
    ),
    "huge": (
        "warning",
        f"of more than {_HUGE_PIXELS // 1_000_000} million pixels",
        "Cut out the person, or make the images smaller: decoding them in every epoch takes time and memory.",
    ),
    "odd_aspect": (
        "warning",
        f"wider than high, or more than {_USUAL_ASPECT[1]:.0f} times as high as wide",
        "The network squeezes them into its own shape: cut out one person, upright.",
    ),
    "blank": ("warning", "of one color and nothing else", "Take them out of the dataset."),
    "gray": (
        "warning",
        "in gray-scale",
        "Clothes are told apart by color: use the originals; leave them where a camera has no color.",
    ),
    "turned": (
        "note",
        "stored turned or mirrored, with an EXIF orientation that puts them upright",
        "They are read upright here: turn the pixels themselves where other programs ignore EXIF.",
    ),
    "wrong_suffix": (
        "note",
        "with a name that does not fit their format, such as a PNG called .jpg",
        "They are read by their content: rename them only where other programs need it.",
    ),
}


def check_images(catalog: pd.DataFrame, *, ignore: str = "same_camera") -> list[Finding]:
    """Reads every image of a catalog and returns what is wrong with files, and which images are duplicates.

    Duplicates are sought in train, query and gallery; not among junk, and not in `multi_query`, which shows the people
    and moments of the other splits by design.

    Args:
        catalog: as `read_dataset` returns it.
        ignore: rule of the evaluation, which tells whether a copy of a query in the gallery counts.
    """
    images = catalog.drop_duplicates("image_path").reset_index(drop=True)
    looks, troubles = look_at_images(images.image_path.tolist())
    compared = images.iloc[looks.positions]
    compared = (compared.split != "multi_query") & (compared.person_id != JUNK_ID)
    compared = compared.to_numpy() & (looks.deviations >= _BLANK_DEVIATION)
    rows = images.iloc[looks.positions[compared]]
    copies = find_copies(rows, looks.fingerprints[compared], looks.thumbnails[compared], ignore=ignore)
    return _check_files(images, looks, troubles) + copies


def _check_files(images: pd.DataFrame, looks: Looks, troubles: dict[str, list[str]]) -> list[Finding]:
    """Returns what is wrong with single files; looks and troubles from `look_at_images`."""
    findings = []
    for kind, paths in troubles.items():
        message, way_out = _UNREADABLE[kind]
        if kind == "not_an_image":
            formats = Counter(file_format(read_head(path)) for path in paths)
            message += f" ({', '.join(f'{name} {count}' for name, count in formats.most_common())})"
        share = len(paths) / len(images)
        message = f"files {message} ({len(paths)} of {len(images)})"
        findings.append(Finding(kind, "error", message, way_out, paths, share))
    seen = images.iloc[looks.positions]
    is_odd = _oddities(seen.image_path, looks)
    for kind, (level, message, way_out) in _ODD.items():
        odd = seen[is_odd[kind]]
        if len(odd):
            if (odd.person_id <= DISTRACTOR_ID).all():  # nobody learns from them or searches for them
                level, message = "note", f"{message}, all of them distractors or junk"
            message = f"images {message} ({len(odd)} of {len(images)})"
            share = _ODD_HURTS * len(odd) / len(images)
            findings.append(Finding(kind, level, message, way_out, odd.image_path.tolist(), share))
    return findings


def unreadable_files(findings: Sequence[Finding]) -> set[str]:
    """Returns the files that the findings say cannot be read."""
    return {name for finding in findings if finding.kind in _UNREADABLE for name in finding.names}


def _oddities(image_paths: Sequence[str], looks: Looks) -> dict[str, np.ndarray]:
    """Returns bool `[N]` for each kind of `_ODD`: the images that are odd in this way."""
    height, width = looks.sizes.T.astype(np.int64)
    suffixes = [os.path.splitext(path)[1].lower() for path in image_paths]
    fits = [suffix in SUFFIXES.get(file_format(head), ()) for suffix, head in zip(suffixes, looks.heads)]
    blank = looks.deviations < _BLANK_DEVIATION
    return {
        "tiny": (height < _TINY[0]) | (width < _TINY[1]),
        "huge": height * width > _HUGE_PIXELS,
        "odd_aspect": (height < _USUAL_ASPECT[0] * width) | (height > _USUAL_ASPECT[1] * width),
        "blank": blank,
        "gray": (looks.spreads <= _GRAY_SPREAD) & ~blank,
        "turned": looks.orientations != UPRIGHT,
        "wrong_suffix": ~np.array(fits, bool),
    }
