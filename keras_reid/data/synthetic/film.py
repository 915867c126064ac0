"""Film of a synthetic camera: frames with the people of a scene, and where each stands and how much of it is seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from keras_reid.data.synthetic.brush import Placement
from keras_reid.data.synthetic.cameras import Camera
from keras_reid.data.synthetic.looks import Look
from keras_reid.data.synthetic.pedestrians import paint_pedestrian
from keras_reid.data.synthetic.streams import Kind, stream
from keras_reid.data.synthetic.views import PERSON, SIZE, View
from keras_reid.data.synthetic.walks import Walk

_FINER = 2  # people are painted so many times larger and reduced, which softens the hard edges of ImageDraw
_BOX_SHAPE = 0.46  # a box's width in heights, as a detector of people draws it


def shoot(
    view: View, walks: Sequence[Walk], looks: dict[int, Look], *, frames: int, fps: float, seed: int, camera: int
) -> Iterator[tuple[Image.Image, list[tuple]]]:
    """Yields each frame of one camera, an RGB image of `views.SIZE`, with its people.

    They are tuples of person, x, y, width, height (of the box in pixels, which may leave the picture) and visibility,
    the share of the body that is seen.
    """
    look_through = _Lens(view.camera, stream(seed, Kind.VIDEO_NOISE, camera))
    coming, present = sorted(walks, key=lambda walk: -walk.start), []
    for frame in range(frames):
        while coming and round(coming[-1].start * fps) <= frame:
            present.append(coming.pop())
        places = [(walk, frame - round(walk.start * fps)) for walk in present]
        places = [(walk, place) for walk, place in places if place < len(walk.points)]
        present = [walk for walk, _ in places]
        picture, people = _draw_frame(view, places, looks, seed)
        yield look_through(picture), people


def _draw_frame(view: View, present: list, looks: dict[int, Look], seed: int) -> tuple[Image.Image, list[tuple]]:
    """Returns a frame before it passes the lens, painted from far to near, and its people."""
    picture, owners = view.street.copy(), np.zeros(SIZE, np.int32)
    bodies, boxes = {}, {}
    standing = [(one.z, one) for one in view.obstacles] + [
        (walk.points[place][1], (walk, place)) for walk, place in present
    ]
    for _, thing in sorted(standing, key=lambda pair: -pair[0]):
        if isinstance(thing, tuple):
            walk, place = thing
            bodies[walk.person] = _paint_person(picture, owners, view, walk, place, looks[walk.person], seed)
            boxes[walk.person] = _box(view, walk.points[place], looks[walk.person])
        else:
            picture.paste(thing.picture, thing.corner, mask=thing.picture)
            _own(owners, thing.body, thing.corner, 0)
    seen = np.bincount(owners.ravel(), minlength=max(bodies, default=0) + 1)
    return picture, [(person, *boxes[person], seen[person] / bodies[person]) for person in sorted(bodies)]


def _box(view: View, point: np.ndarray, look: Look) -> tuple[float, float, float, float]:
    across, foot = view.pixel(*point)
    height = 1.05 * look.height * PERSON * view.focal_length / point[1]
    width = _BOX_SHAPE * height
    return across - width / 2, foot + 0.03 * height - height, width, height


def _paint_person(picture, owners, view: View, walk: Walk, place: int, look: Look, seed: int) -> int:
    """Paints a person into a frame and among the owners of its pixels; returns how many pixels a whole body has."""
    across, foot = view.pixel(*walk.points[place])
    tall = PERSON * view.focal_length / walk.points[place][1]
    height, width = int(1.12 * tall) + 2, int(0.9 * tall) + 2
    left, top = int(np.floor(across - width / 2)), int(np.floor(foot - 1.05 * tall))
    scale = _FINER * tall
    placement = Placement(_FINER * (across - left), _FINER * (foot - top) - scale, scale, 0.0, view.camera.stretch)
    # One generator a walk: the folds of the cloth move with the person, not from frame to frame.
    folds = stream(seed, Kind.VIDEO_PERSON, walk.person, walk.number)
    size = _FINER * height, _FINER * width
    person = paint_pedestrian(size, look, walk.poses[place], placement, folds).reduce(_FINER)
    _cast_shadow(picture, across, foot, 0.16 * tall)
    picture.paste(person, (left, top), mask=person)
    body = np.asarray(person.getchannel("A")) > 127
    _own(owners, body, (left, top), walk.person)
    return int(body.sum())


def _own(owners: np.ndarray, body: np.ndarray, corner: tuple[int, int], owner: int) -> None:
    """Makes the pixels of a body, bool `[H, W]` with its left upper corner, an owner's, as far as a frame has them."""
    left, top = corner
    part = owners[max(top, 0) : max(top + body.shape[0], 0), max(left, 0) : max(left + body.shape[1], 0)]
    part[body[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]] = owner


def _cast_shadow(picture: Image.Image, across: float, foot: float, reach: float) -> None:
    shadow = Image.new("L", (int(2.6 * reach), int(0.7 * reach) + 1))
    ImageDraw.Draw(shadow).ellipse((0, 0, shadow.width - 1, shadow.height - 1), fill=70)
    corner = int(across - shadow.width / 2), int(foot - shadow.height / 2)
    picture.paste((25, 25, 30), (*corner, corner[0] + shadow.width, corner[1] + shadow.height), mask=shadow)


class _Lens:
    """Lens and sensor of a camera, as in `cameras.expose`, but ten times faster: by tables, and noise drawn once."""

    _MARGIN = 64

    def __init__(self, camera: Camera, random: np.random.Generator):
        level = np.arange(256) / 255
        light = [np.clip(level * gain, 0, 1) ** camera.gamma for gain in camera.gains]
        tones = [0.5 + camera.contrast * (one - 0.5) for one in light]
        self._table = [int(value) for one in tones for value in np.clip(one * 255, 0, 255).round()]
        gray, color = (1 - camera.saturation) / 3, camera.saturation
        self._colors = [value for row in range(3) for value in (*(gray + color * (row == c) for c in range(3)), 0)]
        side = math.exp(-0.5 / (camera.blur + 0.2) ** 2)
        self._blur = ImageFilter.Kernel((3, 3), np.outer((side, 1, side), (side, 1, side)).ravel().tolist())
        grain = random.normal(0, camera.noise, (SIZE[0] + self._MARGIN, SIZE[1] + self._MARGIN, 3))
        self._grain, self._random = grain.round().astype(np.int16), random

    def __call__(self, picture: Image.Image) -> Image.Image:
        toned = picture.filter(self._blur).convert("RGB", self._colors).point(self._table)
        top, left = self._random.integers(0, self._MARGIN, 2)
        noisy = np.asarray(toned, np.int16) + self._grain[top : top + SIZE[0], left : left + SIZE[1]]
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


COLUMNS = ("frame", "person", "x", "y", "width", "height", "visibility")


def people_table(rows: list[tuple]) -> pd.DataFrame:
    """Returns the people of all frames, a row each: frame from 0, person, box and visibility."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"frame": "int64", "person": "int64"})
