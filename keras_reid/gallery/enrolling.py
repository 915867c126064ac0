"""Enrolling pictures: images, or those of another gallery, are embedded and added part by part.

What is there already is not embedded again: the key of an entry says which picture it is, not what a network makes of
it. So the same call goes on where it was interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from keras_reid.data.boxes import cut_to_box
from keras_reid.data.places import absolute
from keras_reid.errors import ReidError
from keras_reid.gallery.adding import is_renamed
from keras_reid.gallery.entries import TEXTS, entries_of, times_of
from keras_reid.gallery.gallery import Gallery
from keras_reid.gallery.results import Added

_CHUNK = 2048  # images: an interruption loses at most so many
_PHOTOS_AT_ONCE = 8  # that people are cut out of: each may take megabytes
# What we know of an entry -> the columns of tables that may say it, the first that is there.
_COLUMNS = {
    "identity": ("identity", "person_id_name", "person_id"),
    "camera": ("camera", "camera_id_name", "camera_id"),
    "source": ("source", "image_path"),
    "crop": ("crop",),
    "time": ("time",),
    "until": ("until",),
    "box": ("box",),
}


def known_of(frame: pd.DataFrame, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns what a table says of its rows, as `Gallery.add` takes it; what is given holds for all rows instead.

    The columns are identity or person_id, camera or camera_id, source or image_path, time, until, box and crop.
    """
    found = {
        name: frame[next(column for column in columns if column in frame)]
        for name, columns in _COLUMNS.items()
        if any(column in frame for column in columns)
    }
    return {**found, **{name: value for name, value in (given or {}).items() if value is not None}}


def known_of_images(frame: pd.DataFrame, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same of a list of images: where a column names another source, as a recording, the images are its crops."""
    images = frame.image_path.map(lambda path: absolute(str(path)))
    return known_of(frame.assign(**{"crop" if "source" in frame else "image_path": images}), given)


def enroll(
    gallery: Gallery,
    artifact: Any,
    images: pd.Series,
    known: Mapping[str, Any],
    *,
    batch_size: int = 64,
    on_error: str = "stop",
) -> tuple[Added, list[str]]:
    """Embeds images and adds them, some thousands at a time; those that are there already are passed over.

    An entry with a box and without a crop is embedded from that part of its image, which is its source.

    Args:
        gallery: opened with the artifact.
        artifact: embeds the images.
        images: `[N]` paths.
        known: of each image, as for `Gallery.add`.
        batch_size: images at once.
        on_error: "stop" at an image that cannot be read, or "skip" it.

    Returns:
        What was added, and the images that were left out.

    Raises:
        ReidError: an image cannot be read, or its box lies outside of it, under "stop"; all of them; or as
            `Gallery.add`.
    """
    entries = entries_of(np.zeros((len(images), 1), np.float32), **known)
    held = entries.key.map(gallery.known_keys(entries.key.tolist()))
    todo = np.flatnonzero(held.isna().to_numpy(bool) | is_renamed(held, entries.identity))
    added, skipped = Added(known=len(images) - len(todo)), []
    if added.known:
        print(f"{added.known} of {len(images)} images are in the gallery already")
    with tqdm(total=len(todo), desc="enroll", unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(todo), _CHUNK):
            rows = todo[start : start + _CHUNK]
            paths, boxes = images.iloc[rows].tolist(), _boxes_to_cut(entries.iloc[rows])
            pictures = _pictures(paths, boxes, batch_size, skip=on_error == "skip")
            embeddings, readable = _embed(gallery, artifact, pictures, len(rows), on_error, bar, start)
            skipped += images.iloc[rows[~readable]].tolist()
            part = entries.iloc[rows[readable]]
            if len(part):
                columns = {name: part[name].tolist() for name in TEXTS}
                columns |= {name: times_of(part[name]).tolist() for name in ("time", "until")}
                added += gallery.add(embeddings[readable], **columns)
    if len(todo) and len(skipped) == len(todo):
        raise ReidError(f"none of the {len(todo)} images can be read, such as {skipped[0]!r}: expected images.")
    return added, skipped


def _boxes_to_cut(entries: pd.DataFrame) -> list[str]:
    """Returns the box of each entry whose image is the whole source, "" for the others."""
    return entries.box.where(entries.crop == "", "").tolist()


def _pictures(
    paths: list[str], boxes: list[str], batch_size: int, *, skip: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | list[np.ndarray]]]:
    """Yields positions and images of those that can be read, cut to their boxes where they have one."""
    from keras_reid.data.pipeline import image_batches  # TensorFlow

    if not any(boxes):
        yield from image_batches(paths, batch_size=batch_size, skip_undecodable=skip)
        return
    at_once = min(batch_size, _PHOTOS_AT_ONCE)
    for positions, photos in image_batches(paths, batch_size=at_once, skip_undecodable=skip):
        images = [_cut(photo, boxes[position]) for position, photo in zip(positions, photos)]
        inside = [number for number, image in enumerate(images) if image.size]
        if len(inside) < len(images) and not skip:
            position = positions[next(number for number, image in enumerate(images) if not image.size)]
            height, width = photos.shape[1:3]
            raise ReidError(
                f"box={boxes[position]} lies outside of {paths[position]!r}, which is {width} x {height}: expected "
                "left, top, width and height in pixels of the upright photo."
            )
        yield positions[inside], [images[number] for number in inside]


def _cut(photo: np.ndarray, box: str) -> np.ndarray:
    return cut_to_box(photo, [float(number) for number in box.split(",")]) if box else photo


def _embed(
    gallery: Gallery, artifact: Any, pictures: Iterator, count: int, on_error: str, bar: tqdm, done: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings, `[count, D]`, and which of them there are, bool `[count]`."""
    embeddings = np.zeros((count, artifact.metadata["embedding_size"]), np.float32)
    readable = np.zeros(count, bool)
    try:
        for positions, images in pictures:
            embeddings[positions] = artifact.embed(images, gallery.test_time_augmentation)
            readable[positions] = True
            bar.update(len(positions))
    except KeyboardInterrupt:
        print(f"{done} images are enrolled: the same command goes on there.", file=sys.stderr)
        raise
    except ReidError as error:  # an image that cannot be read
        advice = "" if on_error == "skip" else " Or leave them out: on_error=skip."
        raise ReidError(f"{error}{advice} {done} images are enrolled and kept.") from error
    bar.update(int((~readable).sum()))
    return embeddings, readable
