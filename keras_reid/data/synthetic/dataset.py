"""Synthetic dataset: pictures of drawn people in Market-1501's layout.

Only their appearance tells people apart, not camera or background: every identity passes every camera, and each camera
has its own street, color cast, point of view and obstacles.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from keras_reid.data.catalog import DISTRACTOR_ID, JUNK_ID
from keras_reid.data.readers.market1501 import FOLDERS as MARKET1501_FOLDERS
from keras_reid.data.synthetic import cameras as synthetic_cameras
from keras_reid.data.synthetic.brush import Placement
from keras_reid.data.synthetic.cameras import Camera
from keras_reid.data.synthetic.checks import check_number, new_folder
from keras_reid.data.synthetic.looks import Look, draw_look, draw_pose
from keras_reid.data.synthetic.pedestrians import paint_pedestrian
from keras_reid.data.synthetic.streams import Kind, stream

IMAGE_SIZE = (128, 64)

_PASSER_BY_SHARE = 0.1
# Drawn at twice the size and halved, which softens the hard edges of ImageDraw.
_CANVAS_SIZE = (2 * IMAGE_SIZE[0], 2 * IMAGE_SIZE[1])


class _Picture(NamedTuple):
    folder: str
    person_id: int
    camera_id: int
    image: int


def write_synthetic(
    root: str | os.PathLike, *, identities: int, cameras: int, images_per_camera: int, seed: int
) -> None:
    """Renders a small pedestrian dataset in Market-1501's layout.

    The folders are `bounding_box_train`, `bounding_box_test` and `query`, the files RGB JPEGs, 128 high and 64 wide,
    named `0001_c1s1_000151_01.jpg`. Identities 1 to ceil(identities / 2) are for training. Of each other one, the first
    image of each camera is a query and the rest are gallery. As in Market-1501, the gallery also holds images of
    nobody: one distractor (id 0) and one badly framed junk image (id -1) of each camera.

    The same arguments give the same bytes with the same Pillow and NumPy. An identity looks the same whatever the
    numbers of identities, cameras and images. The dataset is written whole or not at all.

    Args:
        root: folder to create; it may exist if it is empty.
        identities: their number, 4 to 9999.
        cameras: their number, 2 to 9; every identity passes each of them.
        images_per_camera: images of one identity by one camera, 2 to 99.
        seed: from 0; another seed gives other people, cameras and pictures.

    Raises:
        ReidError: a number is out of range, or `root` is not empty or cannot be written.
    """
    check_number("identities", identities, 4, 9999, "half of them train, and a test needs two people to confuse")
    check_number("cameras", cameras, 2, 9, "a query is matched under another camera than its own")
    check_number("images_per_camera", images_per_camera, 2, 99, "the first is the query, the rest are the gallery")
    check_number("seed", seed, 0, 2**63 - 1, "random generators start from such a number")
    pictures = _list_pictures(identities, cameras, images_per_camera)
    with new_folder(root, "dataset") as folder:
        _render_all(folder, pictures, seed)


def _list_pictures(identities: int, cameras: int, images_per_camera: int) -> list[_Picture]:
    training = math.ceil(identities / 2)
    train, query, gallery = (MARKET1501_FOLDERS[split] for split in ("train", "query", "gallery"))
    pictures = []
    for person_id in range(1, identities + 1):
        for camera_id in range(1, cameras + 1):
            for image in range(images_per_camera):
                test = query if image == 0 else gallery
                pictures.append(_Picture(train if person_id <= training else test, person_id, camera_id, image))
    for camera_id in range(1, cameras + 1):
        pictures += [_Picture(gallery, nobody, camera_id, 0) for nobody in (DISTRACTOR_ID, JUNK_ID)]
    return pictures


def _render_all(folder: Path, pictures: list[_Picture], seed: int) -> None:
    # In one process: others would first import the caller's main module again, TensorFlow included.
    for name in MARKET1501_FOLDERS.values():
        (folder / name).mkdir()
    for picture in tqdm(pictures, desc="Rendering pedestrians", unit="image", disable=None):
        image, quality = _render(picture, seed)
        image.save(folder / picture.folder / _file_name(picture, seed), quality=quality)


def _file_name(picture: _Picture, seed: int) -> str:
    """Returns a name like Market-1501's; the frame number grows with the image, which makes names unique."""
    walk = stream(seed, Kind.WALK, picture.person_id, picture.camera_id)
    sequence, first_frame = int(walk.integers(1, 7)), int(walk.integers(1, 90_000))
    frame = first_frame + 25 * picture.image
    detection = 0 if picture.folder == MARKET1501_FOLDERS["query"] else picture.image + 1
    person = f"{picture.person_id:04d}" if picture.person_id >= 0 else str(picture.person_id)
    return f"{person}_c{picture.camera_id}s{sequence}_{frame:06d}_{detection:02d}.jpg"


def _render(picture: _Picture, seed: int) -> tuple[Image.Image, int]:
    """Returns a picture and the JPEG quality of its camera."""
    camera = _camera(seed, picture.camera_id)
    random = stream(seed, Kind.PICTURE, picture.person_id, picture.camera_id, picture.image)
    canvas = synthetic_cameras.cut_background(camera, _CANVAS_SIZE, random)
    placement = synthetic_cameras.place(camera, _CANVAS_SIZE, random)
    if random.random() < _PASSER_BY_SHARE:
        _paint_passer_by(canvas, camera, random)
    if picture.person_id in (DISTRACTOR_ID, JUNK_ID):
        look, placement = draw_look(random), _frame_badly(placement, random)
    else:
        look = _look(seed, picture.person_id)
    _paint(canvas, look, camera, placement, random)
    synthetic_cameras.occlude(canvas, camera, random)
    return synthetic_cameras.expose(canvas.reduce(2), camera, random), camera.jpeg_quality


def _paint(canvas: Image.Image, look: Look, camera: Camera, placement: Placement, random: np.random.Generator) -> None:
    # Most people walk along the street: each camera mostly sees one side of them, and not the same one.
    pose = draw_pose(random, camera.heading + random.normal(0, 0.9))
    person = paint_pedestrian(_CANVAS_SIZE, look, pose, placement, random)
    canvas.paste(person, mask=person)


def _paint_passer_by(canvas: Image.Image, camera: Camera, random: np.random.Generator) -> None:
    """Paints another person behind the main one, half out of the picture."""
    placement = synthetic_cameras.place(camera, _CANVAS_SIZE, random)
    edge = random.choice((-0.05, 1.05)) * _CANVAS_SIZE[1]
    behind = dataclasses.replace(placement, center_x=edge, scale=0.85 * placement.scale)
    _paint(canvas, draw_look(random), camera, behind, random)


def _frame_badly(placement: Placement, random: np.random.Generator) -> Placement:
    """Returns the placement of a false detection, with about half of the person outside."""
    shift = random.choice((-0.45, 0.45)) * _CANVAS_SIZE[1]
    larger = placement.scale * random.uniform(1.0, 1.5)
    return dataclasses.replace(placement, center_x=placement.center_x + shift, scale=larger)


@functools.lru_cache(maxsize=16)
def _camera(seed: int, camera_id: int) -> Camera:
    return synthetic_cameras.draw_camera(stream(seed, Kind.CAMERA, camera_id))


@functools.lru_cache(maxsize=16)
def _look(seed: int, person_id: int) -> Look:
    return draw_look(stream(seed, Kind.IDENTITY, person_id))
