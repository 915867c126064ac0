"""Views of a synthetic video: what a fixed camera sees of a street, in which perspective, and what hides people there.

Ground points are in meters from the camera: x to the right, z ahead. The camera looks level, so a point at height h
above the ground lies (camera height - h) * focal length / z below the horizon.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from keras_reid.data.synthetic.cameras import Camera, draw_camera, draw_leaves, draw_street

SIZE = (270, 480)  # of a frame, (height, width)
PERSON = 1.75  # meters, of a look of height 1
_TALLEST, _SHORTEST = 126, 70  # pixels of such a person, nearest and farthest
_LOWEST_FOOT = 262
_HAZE = (140, 140, 140)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Something that stands on the street: its RGBA picture hides who walks farther than `z` meters away.

    Attributes:
        z: its distance.
        corner: column and row of the picture's left upper corner in a frame.
        picture: RGBA.
        body: bool `[H, W]`, where it hides what is behind.
    """

    z: float
    corner: tuple[int, int]
    picture: Image.Image
    body: np.ndarray


@dataclasses.dataclass(frozen=True)
class View:
    """What one camera sees: its properties, perspective, street and obstacles; people walk from `near` to `far`."""

    camera: Camera
    focal_length: float
    height: float
    horizon: float
    near: float
    far: float
    street: Image.Image
    obstacles: tuple[Obstacle, ...]

    def pixel(self, x: float, z: float) -> tuple[float, float]:
        """Returns column and row of a point on the ground."""
        return SIZE[1] / 2 + self.focal_length * x / z, self.horizon + self.focal_length * self.height / z

    def half_width(self, z: float) -> float:
        """Returns how many meters right of the middle a body of that distance is out of sight."""
        return (SIZE[1] / 2) * z / self.focal_length + 0.6


def draw_view(random: np.random.Generator, number: int) -> View:
    """Draws the view of camera `number`; if anything else draws from `random`, it changes."""
    camera = draw_camera(random)
    focal, height, horizon = random.uniform(370, 430), random.uniform(2.1, 2.6), random.uniform(42, 66)
    near = max(PERSON * focal / _TALLEST, height * focal / (_LOWEST_FOOT - horizon))
    far = PERSON * focal / _SHORTEST
    ground = horizon + height * focal / (far + 1.0)
    street = draw_street(random, size=SIZE, ground=ground)
    view = View(camera, focal, height, horizon, near, far, street, ())
    kinds = (("kiosk", "pole"), ("bush", "pole"), ("van",), ("bush", "kiosk"), ("pole", "van"))[number % 5]
    side = float(random.choice((-1, 1)))
    obstacles = tuple(_draw_obstacle(view, kind, side * (-1) ** place, random) for place, kind in enumerate(kinds))
    return dataclasses.replace(view, obstacles=tuple(sorted(obstacles, key=lambda one: -one.z)))


def _draw_obstacle(view: View, kind: str, side: float, random: np.random.Generator) -> Obstacle:
    z = view.near + random.uniform(0.15, 0.5) * (view.far - view.near)
    middle, foot = view.pixel(side * random.uniform(0.15, 0.6) * (view.half_width(z) - 0.6), z)
    meter = view.focal_length / z
    picture = Image.new("RGBA", (SIZE[1], SIZE[0]))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((middle - 0.6 * meter, foot - 5, middle + 0.6 * meter, foot + 4), fill=(30, 30, 30, 90))
    {"kiosk": _draw_kiosk, "bush": _draw_bush, "van": _draw_van, "pole": _draw_pole}[kind](
        draw, random, middle, foot, meter
    )
    muted = Image.blend(picture.convert("RGB").filter(ImageFilter.GaussianBlur(0.7)), _haze(picture.size), 0.4)
    muted.putalpha(picture.getchannel("A"))
    muted = muted.crop(box := picture.getbbox())
    return Obstacle(z, box[:2], muted, np.asarray(muted.getchannel("A")) > 127)


def _haze(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, _HAZE)


def _draw_kiosk(draw: ImageDraw.ImageDraw, random: np.random.Generator, middle, foot, meter) -> None:
    half, top, paint = 0.5 * meter, foot - 2.3 * meter, _paint(random)
    draw.rectangle((middle - half, top, middle + half, foot), fill=paint)
    draw.rectangle((middle - 0.8 * half, top + 0.5 * meter, middle + 0.8 * half, foot - 0.9 * meter), fill=(52, 60, 70))
    draw.rectangle((middle - 1.25 * half, top - 4, middle + 1.25 * half, top + 0.22 * meter), fill=(205, 200, 190))


def _draw_bush(draw: ImageDraw.ImageDraw, random: np.random.Generator, middle, foot, meter) -> None:
    for across in (-0.45, 0.0, 0.45):
        draw_leaves(draw, random, (middle + across * meter, foot - 0.45 * meter), 0.62 * meter)


def _draw_van(draw: ImageDraw.ImageDraw, random: np.random.Generator, middle, foot, meter) -> None:
    half, paint = 1.05 * meter, _paint(random)
    body = (middle - half, foot - 1.75 * meter, middle + half, foot - 0.22 * meter)
    draw.rounded_rectangle(body, 0.2 * meter, fill=paint)
    draw.rectangle((middle - 0.85 * half, foot - 1.55 * meter, middle + 0.85 * half, foot - meter), fill=(48, 56, 66))
    draw.rectangle((middle - 0.04 * half, foot - 1.6 * meter, middle + 0.04 * half, foot - 0.4 * meter), fill=paint)
    for wheel in (middle - 0.65 * half, middle + 0.65 * half):
        draw.ellipse((wheel - 0.3 * meter, foot - 0.55 * meter, wheel + 0.3 * meter, foot + 3), fill=(24, 24, 27))


def _draw_pole(draw: ImageDraw.ImageDraw, random: np.random.Generator, middle, foot, meter) -> None:
    half = 0.09 * meter
    draw.rectangle((middle - half, 0, middle + half, foot), fill=(88, 90, 94))
    draw.rectangle((middle - 2 * half, foot - 0.3 * meter, middle + 2 * half, foot), fill=(70, 72, 76))


def _paint(random: np.random.Generator) -> tuple[int, int, int]:
    shift = random.integers(-55, 56, 3) + random.integers(90, 190)
    return tuple(int(channel) for channel in np.clip(shift, 20, 235))
