"""Decides how a dataset looks on one page: a batch as training sees it, and people as their cameras see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from keras_reid.data.augmentation import Augmentation
from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.images import decode_image
from keras_reid.data.pipeline import training_dataset
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import tf

_CELL = (128, 64)  # height and width of an image on the page
_GAP, _LINE = 4, 18  # pixels between images, and of a line of text
_MARGIN = 96  # pixels that name the people of a row
_LEAST_WIDTH = 460  # of a page: its title has to fit
_PAGE_SHAPE = 1.5  # width by height
_UNKNOWN = "unknown"  # camera
_PAPER, _INK, _EMPTY = (255, 255, 255), (40, 40, 40), (235, 235, 235)


def draw_training_batch(
    path: str | os.PathLike,
    images: pd.DataFrame,
    *,
    image_size: tuple[int, int],
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    augmentation: Augmentation,
) -> None:
    """Draws the first batch of a run, augmented, K images of an identity side by side under its id.

    Args:
        path: PNG file.
        images: rows of a catalog, for training; each can be read.
        image_size: (height, width) that training resizes to.
        identities_per_batch: P.
        images_per_identity: K.
        seed: of the run.
        augmentation: of the run.
    """
    batches = training_dataset(
        images.image_path,
        images.person_id,
        image_size=image_size,
        identities_per_batch=identities_per_batch,
        images_per_identity=images_per_identity,
        epochs=1,
        seed=seed,
        augmentation=augmentation,
    )
    batch, person_ids = next(iter(batches.take(1).as_numpy_iterator()))
    K, P = images_per_identity, identities_per_batch
    cell = (_CELL[0], max(24, round(_CELL[0] * image_size[1] / image_size[0])))
    width, height = K * (cell[1] + 1) + 3 * _GAP, cell[0] + _LINE + 2 * _GAP
    columns = int(np.clip(round((_PAGE_SHAPE * P * height / width) ** 0.5), 1, P))
    page_size = (max(columns * width + 2 * _GAP, _LEAST_WIDTH), -(-P // columns) * height + _LINE + 4 * _GAP)
    page = Image.new("RGB", page_size, _PAPER)
    draw, font = ImageDraw.Draw(page), _font(12)
    title = f"one training batch, augmented: {P} identities x {K} images of {image_size[0]} x {image_size[1]}"
    _text(draw, (2 * _GAP, _GAP), title, _font(13), page.width - 4 * _GAP)
    for identity in range(P):
        left = 2 * _GAP + identity % columns * width
        top = _LINE + 3 * _GAP + identity // columns * height
        _text(draw, (left, top), f"person {person_ids[identity * K]}", font, width - 3 * _GAP)
        for image in range(K):
            place = (left + image * (cell[1] + 1), top + _LINE)
            page.paste(_fitted(batch[identity * K + image], cell), place)
    _save(page, path)


def draw_across_cameras(
    path: str | os.PathLike, images: pd.DataFrame, *, most_people: int = 10, most_cameras: int = 12
) -> None:
    """Draws people in rows and cameras in columns, the first image of each pair.

    The people seen by most cameras are drawn, those of training and of the test in turn. Images without a camera id
    stand in a column "unknown".

    Args:
        path: PNG file.
        images: rows of a catalog; each can be read.
        most_people: rows at most.
        most_cameras: columns at most.
    """
    people, cameras, paths, total = _choose(images, most_people, most_cameras)
    page_width = max(_MARGIN + len(cameras) * (_CELL[1] + 2 * _GAP) + 2 * _GAP, _LEAST_WIDTH)
    page = Image.new("RGB", (page_width, 2 * _LINE + 4 * _GAP + len(people) * (_CELL[0] + _GAP)), _PAPER)
    draw, font = ImageDraw.Draw(page), _font(12)
    title = f"people across cameras: {len(people)} of {total} people"
    _text(draw, (2 * _GAP, _GAP), title, _font(13), page.width - 4 * _GAP)
    for column, camera in enumerate(cameras):
        left = _MARGIN + column * (_CELL[1] + 2 * _GAP)
        _text(
            draw,
            (left, _LINE + 2 * _GAP),
            camera if camera == _UNKNOWN else f"camera {camera}",
            font,
            _CELL[1] + 2 * _GAP,
        )
        for row, person in enumerate(people):
            place = (left, 2 * _LINE + 3 * _GAP + row * (_CELL[0] + _GAP))
            image = paths.get((*person, camera))
            page.paste(_fitted(_read(image), _CELL) if image is not None else _EMPTY, _box(place, _CELL))
    for row, person in enumerate(people):
        top = 2 * _LINE + 3 * _GAP + row * (_CELL[0] + _GAP)
        _text(draw, (2 * _GAP, top), f"person {person[1]}", font, _MARGIN - 3 * _GAP)
        _text(draw, (2 * _GAP, top + _LINE), person[0], _font(10), _MARGIN - 3 * _GAP)
    _save(page, path)


def _choose(images: pd.DataFrame, most_people: int, most_cameras: int) -> tuple[list, list, pd.Series, int]:
    """Returns (part, person) to draw, cameras to draw, the path of each (part, person, camera), and all people."""
    known = images[(images.person_id > DISTRACTOR_ID) & images.split.isin(["train", "query", "gallery"])]
    known = known.assign(
        camera=known.camera_id.astype("string").fillna(_UNKNOWN),
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


def _read(path: str) -> np.ndarray:
    return decode_image(tf.io.read_file(path)).numpy()


def _fitted(image: np.ndarray, cell: Sequence[int]) -> Image.Image:
    """Returns an image in a cell of (height, width), its shape kept, on gray."""
    picture, page = Image.fromarray(image), Image.new("RGB", (cell[1], cell[0]), _EMPTY)
    scale = min(cell[1] / picture.width, cell[0] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    page.paste(picture.resize(size, Image.BILINEAR), ((cell[1] - size[0]) // 2, (cell[0] - size[1]) // 2))
    return page


def _box(place: tuple[int, int], cell: Sequence[int]) -> tuple[int, int, int, int]:
    return (*place, place[0] + cell[1], place[1] + cell[0])


def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings it along: Pillow's own has one size before version 10.1.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def _text(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, font, width: int) -> None:
    """Writes a line of text, cut off where it would leave its place."""
    if draw.textlength(text, font) > width:
        while text and draw.textlength(f"{text}…", font) > width:
            text = text[:-1]
        text += "…"
    draw.text(place, text, fill=_INK, font=font)


def _save(page: Image.Image, path: str | os.PathLike) -> None:
    with whole_or_not_at_all(path) as temporary:
        page.save(temporary, format="PNG")
