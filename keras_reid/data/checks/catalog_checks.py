"""Checks of a catalog, before any file is opened: who is in which split, seen by which cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.checks.findings import Finding
from keras_reid.data.counted import MISSING_CAMERAS_WAYS_OUT, SHARED_NAME, has_match
from keras_reid.data.ids import as_names, look_alikes, names_of
from keras_reid.errors import ReidError

# The share of the identities with fewer than K images from which on that is a warning, not a note.
_MANY = 0.1
_TEST = ("query", "gallery")
# Ids -> who has them, and what to do.
_LOOK_ALIKES = (
    ("person_id", "people", "Write each person's name in one way, or, if they are different people, do nothing."),
    (
        "camera_id",
        "cameras",
        "Write each camera's name in one way: images of a query's own camera count as matches under another name.",
    ),
    ("tracklet_id", "tracks", "Write each track's name in one way, or, if they are different tracks, do nothing."),
)


def check_catalog(
    catalog: pd.DataFrame,
    *,
    images_per_identity: int = 4,
    ignore: str = "same_camera",
    missing_cameras: str = "refuse",
) -> list[Finding]:
    """Returns what is wrong with a catalog, in no order. It opens no file.

    Args:
        catalog: as `read_dataset` returns it: `image_path`, `person_id`, `camera_id`, `split`, maybe `tracklet_id`.
        images_per_identity: K of the training batches.
        ignore: which gallery images of a query's identity the evaluation ignores, see `keras_reid.data.counted`.
        missing_cameras: what a missing camera id means in the evaluation, see there.

    Raises:
        ReidError: the evaluation ignores by tracklet, and the catalog has none.
    """
    if ignore == "same_tracklet" and "tracklet_id" not in catalog:
        raise ReidError("ignore=same_tracklet, but the dataset has no tracklet_id: choose another rule for ignore.")
    known = catalog[catalog.person_id > DISTRACTOR_ID]
    findings = [
        *_empty_splits(catalog),
        *_images_of_identities(known[known.split == "train"], images_per_identity),
        *_identities_in_train_and_test(known),
        *_listed_twice(catalog),
        *_junk_outside_the_gallery(catalog),
        *_missing_cameras(catalog, ignore, missing_cameras),
        *names_that_look_alike(catalog),
    ]
    if not any(finding.kind == "empty_split" for finding in findings):
        findings += _queries_without_match(catalog, ignore, missing_cameras)
    return findings


def names_that_look_alike(images: pd.DataFrame) -> Iterator[Finding]:
    """Yields a finding for people, for cameras and for tracks whose names hardly differ, and which are told apart.

    Args:
        images: rows of a catalog, of one dataset or, with a column `dataset_id`, of several.
    """
    for column, kind, way_out in _LOOK_ALIKES:
        if column not in images or pd.api.types.is_integer_dtype(names_of(images, column)):
            continue
        names = as_names(names_of(images, column))
        sets = names.groupby(images.dataset_id) if "dataset_id" in images else [(None, names)]
        groups = [group for _, of_set in sets for group in look_alikes(of_set.dropna().unique())]
        if groups:
            share = names.isin([name for group in groups for name in group]).mean()
            message = f"{kind} whose names differ in case, Unicode form, spaces or the writing of a number alone"
            message = f"{message} ({len(groups)}), and count as different"
            yield Finding(f"look_alike_{kind}", "warning", message, way_out, groups, share)


def _empty_splits(catalog: pd.DataFrame) -> Iterator[Finding]:
    missing = [split for split in ("train", *_TEST) if not (catalog.split == split).any()]
    if missing:
        message = f"no image is in the split {' or '.join(missing)}"
        way_out = "Training needs the split train, and its evaluation query and gallery: put images into each."
        yield Finding("empty_split", "error", message, way_out)


def _images_of_identities(train: pd.DataFrame, K: int) -> Iterator[Finding]:
    images = train.groupby("person_id").size()
    single, few = images.index[images < 2], images.index[(images >= 2) & (images < K)]
    if len(images) == 1:
        way_out = "The loss compares identities: train on at least 2."
        yield Finding(
            "one_identity", "error", "all training images show one identity", way_out, _names(train, images.index)
        )
        return
    if len(single):
        share = len(single) / len(images)
        message = f"{len(single)} of {len(images)} training identities have a single image, and no other as a positive"
        way_out = "Add images of these identities, or take them out of the training split."
        yield Finding(
            "single_image", "error" if share == 1 else "warning", message, way_out, _names(train, single), share
        )
    if len(few):
        share = len(few) / len(images)
        message = f"{len(few)} of {len(images)} training identities have fewer than {K} images, which batches repeat"
        way_out = f"Add images, or lower images_per_identity={K}."
        yield Finding(
            "few_images", "warning" if share >= _MANY else "note", message, way_out, _names(train, few), share
        )


def _identities_in_train_and_test(known: pd.DataFrame) -> Iterator[Finding]:
    train, test = (set(known.person_id[known.split.isin(splits)]) for splits in (["train"], _TEST))
    shared = train & test
    if shared:
        message = f"{len(shared)} of {len(test)} test identities are in the training split too: scores will be too good"
        way_out = "Take them out of one split; or, if an id means other people there, give them other ids."
        yield Finding("shared_identities", "warning", message, way_out, _names(known, shared), len(shared) / len(test))


def _listed_twice(catalog: pd.DataFrame) -> Iterator[Finding]:
    again = catalog.image_path[catalog.image_path.duplicated()].unique().tolist()
    if again:
        message = f"files listed more than once ({len(again)} of {catalog.image_path.nunique()})"
        way_out = "Keep one line for each file: the one with the right person and split."
        yield Finding("listed_twice", "warning", message, way_out, again, len(again) / len(catalog))


def _junk_outside_the_gallery(catalog: pd.DataFrame) -> Iterator[Finding]:
    nobody = catalog.image_path[(catalog.split != "gallery") & (catalog.person_id <= DISTRACTOR_ID)].tolist()
    if nobody:
        message = f"images outside the gallery with the id -1 (junk) or 0 (distractor), which is nobody ({len(nobody)})"
        way_out = "Move them into the gallery or away, or give each person an id from 1 on."
        yield Finding("junk_outside_gallery", "warning", message, way_out, nobody, len(nobody) / len(catalog))


def _missing_cameras(catalog: pd.DataFrame, ignore: str, missing_cameras: str) -> Iterator[Finding]:
    missing = catalog[catalog.camera_id.isna()]
    if not len(missing):
        return
    level, message = "note", f"images without a camera id ({len(missing)} of {len(catalog)})"
    way_out = "Give camera ids where they are known: without them batches cannot combine different cameras."
    if missing.split.isin(_TEST).any() and ignore == "same_camera" and missing_cameras == "refuse":
        level = "error"
        message += ": the evaluation has to know which images of a query's person its own camera took"
        way_out = f"{MISSING_CAMERAS_WAYS_OUT.capitalize()}; or let every camera count: ignore=nothing."
    share = len(missing) / len(catalog)
    yield Finding("missing_cameras", level, message, way_out, missing.image_path.tolist(), share)


def _queries_without_match(catalog: pd.DataFrame, ignore: str, missing_cameras: str) -> Iterator[Finding]:
    query, gallery = (catalog[catalog.split == split] for split in _TEST)
    matched = has_match(query, gallery, ignore=ignore, missing_cameras=missing_cameras)
    if matched.all():
        return
    cameras = pd.concat([query, gallery]).camera_id.unique()
    if ignore == "same_camera" and len(cameras) == 1 and query.person_id.isin(gallery.person_id).any():
        camera = names_of(query, "camera_id").iloc[0]
        message = f"one camera id for everything: all {len(query)} queries and {len(gallery)} gallery images have "
        message += f"{camera}, and since images of a query's own camera do not count, no query has a match"
        way_out = "Give real camera ids; where there are none, give queries and gallery different ones, or score with "
        way_out += "ignore=nothing, or ignore=same_file where the gallery holds the queries themselves."
        yield Finding("one_camera", "error", message, way_out)
        return
    other = f" with another {SHARED_NAME[ignore]}" if SHARED_NAME[ignore] else ""
    people = query.person_id[~matched].unique()
    level, message = "warning", f"{len(people)} of {query.person_id.nunique()} identities have queries "
    message += f"({(~matched).sum()} of {len(query)}) without a match in the gallery{other}"
    way_out = "Add such images to the gallery, or take the queries out: evaluation leaves them out and says so."
    if not matched.any():
        level = "error"
        way_out = "Nothing could be scored: check the camera ids, and that a person has one id in query and gallery."
        way_out += " Where cameras are not known, score with ignore=nothing." if ignore == "same_camera" else ""
    yield Finding("no_match", level, message, way_out, _names(query, people), 1 - matched.mean())


def _names(images: pd.DataFrame, person_ids: Iterable) -> list[str]:
    """Returns the names of people, in the order of their ids."""
    people = images[images.person_id.isin(list(person_ids))].drop_duplicates("person_id").sort_values("person_id")
    return names_of(people, "person_id").astype(str).tolist()
