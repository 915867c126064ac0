"""Contact sheets of a dataset: a batch as training sees it, and people as their cameras see them."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_reid.data.augmentation import Augmentation
from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.checks.lettering import Lettering
from keras_reid.data.decoding import decode_image
from keras_reid.data.ids import as_names, names_of
from keras_reid.data.pipeline import training_dataset
from keras_reid.data.sampling import IdentityBatches
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import tf

_DPI = 100
_IMAGE_HEIGHT, _LINE = 1.28, 0.2  # inches: of an image on the page, and of a line of text
_PAGE_SHAPE = 1.5  # width by height
_UNKNOWN = ""  # camera, which no name is
_COLUMN = 10  # letters that fit above a camera's images
_EMPTY = "0.92"  # a light gray


def draw_contact_sheets(
    folder: str | os.PathLike,
    catalog: pd.DataFrame,
    *,
    image_size: tuple[int, int],
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    augmentation: Augmentation,
    lettering: Lettering | None = None,
) -> list[Path]:
    """Draws training_batch.png, where at least two identities train, and across_cameras.png into a folder.

    Args:
        folder: made if it is not there.
        catalog: of images that can be read.
        image_size: (height, width) that training resizes to.
        identities_per_batch: P; fewer where fewer identities train.
        images_per_identity: K.
        seed: of the batch.
        augmentation: of training.
        lettering: `lettering_of` the catalog, or of one that holds it.

    Returns:
        The paths of the pictures.
    """
    lettering = lettering or lettering_of(catalog)
    batch, cameras = (Path(folder, name) for name in ("training_batch.png", "across_cameras.png"))
    train = catalog[catalog.split == "train"]
    P = min(identities_per_batch, train.person_id.nunique())
    if P >= 2:
        batches = IdentityBatches(train, identities_per_batch=P, images_per_identity=images_per_identity, seed=seed)
        draw_training_batch(batch, batches, image_size=image_size, augmentation=augmentation, lettering=lettering)
    draw_across_cameras(cameras, catalog, lettering=lettering)
    return [batch, cameras] if P >= 2 else [cameras]


def lettering_of(catalog: pd.DataFrame) -> Lettering:
    """Returns the lettering for the names of all people and cameras of a catalog."""
    ids = [as_names(names_of(catalog, column)).dropna().unique() for column in ("person_id", "camera_id")]
    return Lettering(name for names in ids for name in names)


def draw_training_batch(
    path: str | os.PathLike,
    batches: IdentityBatches,
    *,
    image_size: tuple[int, int],
    augmentation: Augmentation,
    lettering: Lettering | None = None,
) -> None:
    """Draws the first batch of a run into a PNG file, K augmented images of an identity side by side under its name."""
    lettering = lettering or lettering_of(batches.images)
    names = dict(zip(batches.images.person_id, as_names(names_of(batches.images, "person_id"))))
    dataset = training_dataset(batches, image_size=image_size, epochs=1, augmentation=augmentation)
    images, person_ids = next(iter(dataset.take(1).as_numpy_iterator()))
    P, K = batches.identities_per_batch, batches.images_per_identity
    width = max(_IMAGE_HEIGHT * K * image_size[1] / image_size[0], 3 * _LINE)
    columns = int(np.clip(round((_PAGE_SHAPE * P * (_IMAGE_HEIGHT + _LINE) / width) ** 0.5), 1, P))
    title = f"one training batch, augmented: {P} identities x {K} images of {image_size[0]} x {image_size[1]}"
    figure, axes = _page(title, -(-P // columns), columns, width=width)
    for n, place in enumerate(axes.flat):
        if n < P:
            name = lettering.label(names[person_ids[n * K]])
            place.set_title(f"person {name}", fontsize=8, loc="left", **lettering.style)
            place.imshow(np.concatenate(images[n * K : (n + 1) * K], axis=1))
        else:
            place.set_axis_off()
    _save(figure, path)


def draw_across_cameras(
    path: str | os.PathLike,
    images: pd.DataFrame,
    *,
    most_people: int = 10,
    most_cameras: int = 12,
    lettering: Lettering | None = None,
) -> None:
    """Draws people in rows and cameras in columns of a PNG file, the first image of each pair.

    The people seen by most cameras are drawn, those of training and of the test in turn; who is in both has two rows.
    Images without a camera id stand in a column "unknown".
    """
    lettering = lettering or lettering_of(images)
    names = dict(zip(images.person_id, as_names(names_of(images, "person_id"))))
    people, cameras, paths, total = _choose(images, most_people, most_cameras)
    title = f"people across cameras: {len({person for _, person in people})} of {total} people"
    labels = [f"camera {lettering.label(camera)}" if camera else "unknown" for camera in cameras]
    labels = [textwrap.wrap(label, _COLUMN, max_lines=3, placeholder="\u2026") for label in labels]
    lines = max(map(len, labels), default=1)
    figure, axes = _page(title, len(people), len(cameras), width=_IMAGE_HEIGHT / 2, lines=lines)
    for place, label in zip(axes[:1].flat, labels):
        place.set_title("\n".join(label), fontsize=8, **lettering.style)
    for row, (part, person) in zip(axes, people):
        label = f"person {lettering.label(names[person])}\n{part}"
        row[0].set_ylabel(label, fontsize=8, rotation="horizontal", ha="right", va="center", **lettering.style)
        for place, camera in zip(row, cameras):
            if (part, person, camera) in paths:
                place.imshow(decode_image(tf.io.read_file(paths[part, person, camera])).numpy())
    _save(figure, path)


def _page(title: str, rows: int, columns: int, *, width: float, lines: int = 1) -> tuple[Figure, np.ndarray]:
    """Returns a page and its places `[rows, columns]` for images of this width, in inches; there may be none.

    Between the page's title and the first row is room for so many lines.
    """
    height = max(rows, 1) * (_IMAGE_HEIGHT + _LINE)
    figure = Figure(figsize=(max(columns, 1) * width, height), dpi=_DPI)
    # Above and left of the figure: the page is cut to what stands on it when it is saved.
    figure.text(0, 1 + (1 + lines) * _LINE / height, title, fontsize=10)
    if not rows:
        return figure, np.empty((0, 0), object)
    grid = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.05, "hspace": _LINE / _IMAGE_HEIGHT}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)
    for place in axes.flat:
        # An image of another shape keeps it, and gray fills the place.
        place.set(xticks=[], yticks=[], facecolor=_EMPTY, box_aspect=_IMAGE_HEIGHT / width, adjustable="datalim")
        place.spines[:].set_visible(False)
    return figure, axes


def _choose(images: pd.DataFrame, most_people: int, most_cameras: int) -> tuple[list, list, pd.Series, int]:
    """Returns (part, person) to draw, cameras to draw, the path of each (part, person, camera), and all people."""
    known = images[(images.person_id > DISTRACTOR_ID) & images.split.isin(["train", "query", "gallery"])]
    known = known.assign(
        camera=as_names(names_of(known, "camera_id")).fillna(_UNKNOWN),
        part=np.where(known.split == "train", "train", "test"),
    )
    cameras = known.groupby("camera").person_id.nunique().sort_values(ascending=False, kind="stable")
    cameras = sorted(cameras.index[:most_cameras], key=lambda name: (len(name), name))
    first = known[known.camera.isin(cameras)].drop_duplicates(["part", "person_id", "camera"])
    seen_by = first.groupby(["part", "person_id"]).size().sort_values(ascending=False, kind="stable")
    turn = seen_by.groupby("part").cumcount().sort_values(kind="stable")
    people = sorted(turn.index[:most_people])
    paths = first.set_index(["part", "person_id", "camera"]).image_path
    return people, cameras, paths, known.person_id.nunique()


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with whole_or_not_at_all(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png", bbox_inches="tight")
