"""Synthetic cameras: street, point of view, obstacles, lens and sensor."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from keras_reid.data.synthetic.brush import Placement

_STREET_SIZE = (320, 720)  # larger than a picture: each picture shows another piece of it


@dataclasses.dataclass(frozen=True)
class Camera:
    """Properties of a camera, the same in all its pictures."""

    gains: tuple[float, float, float]
    gamma: float
    contrast: float
    saturation: float
    blur: float
    noise: float
    jpeg_quality: int
    scale: float
    offset: tuple[float, float]
    tilt: float
    stretch: float
    heading: float
    occluder: str
    street: Image.Image


def draw_camera(random: np.random.Generator) -> Camera:
    """Draws a camera and the street that it shows; if anything else draws from `random`, the camera changes."""
    return Camera(
        gains=tuple(np.exp(random.uniform(-0.07, 0.07, 3))),
        gamma=float(np.exp(random.uniform(-0.1, 0.1))),
        contrast=random.uniform(0.85, 1.0),
        saturation=random.uniform(0.8, 1.1),
        blur=random.uniform(0.0, 0.7),
        noise=random.uniform(1.0, 5.0),
        jpeg_quality=int(random.integers(75, 93)),
        scale=random.uniform(0.94, 1.04),
        offset=(random.uniform(-0.03, 0.03), random.uniform(-0.02, 0.02)),
        tilt=random.normal(0, 0.035),
        stretch=random.uniform(1.15, 1.35),
        heading=random.uniform(0, 2 * math.pi),
        occluder=str(random.choice(("pole", "bush", "wall", "none"))),
        street=draw_street(random),
    )


def place(camera: Camera, size: tuple[int, int], random: np.random.Generator) -> Placement:
    """Returns the place of a person on a canvas (height, width), by the camera's view and a detector's jitter."""
    height, width = size
    scale = camera.scale * np.exp(random.normal(0, 0.035)) * height
    return Placement(
        center_x=width * (0.5 + camera.offset[0] + random.normal(0, 0.035)),
        top_y=(height - scale) * 0.5 + height * (camera.offset[1] + random.normal(0, 0.015)),
        scale=float(scale),
        tilt=camera.tilt + random.normal(0, 0.015),
        stretch=camera.stretch,
    )


def cut_background(camera: Camera, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Returns the piece of street behind a person, an RGB image of this size (height, width)."""
    height, width = size
    left = int(random.integers(0, camera.street.width - width + 1))
    top = int(random.integers(0, camera.street.height - height + 1))
    return camera.street.crop((left, top, left + width, top + height))


def occlude(picture: Image.Image, camera: Camera, random: np.random.Generator) -> None:
    """Draws what stands between the camera and the person into an RGB picture: often nothing."""
    if camera.occluder == "none" or random.random() > 0.2:
        return
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    if camera.occluder == "pole":
        left = random.choice((random.uniform(0, 0.3), random.uniform(0.65, 0.9))) * width
        draw.rectangle((left, 0, left + random.uniform(0.07, 0.12) * width, height), fill=(70, 72, 78))
    elif camera.occluder == "bush":
        side = random.choice((-0.1, 1.1))
        draw_leaves(draw, random, (width * side, height * random.uniform(0.75, 1.0)), width * 0.45)
    else:
        top = random.uniform(0.78, 0.92) * height
        draw.rectangle((0, top, width, height), fill=(128, 118, 108))
        draw.rectangle((0, top, width, top + 6), fill=(160, 150, 140))


def expose(picture: Image.Image, camera: Camera, random: np.random.Generator) -> Image.Image:
    """Returns an RGB picture as the camera records it, changed by light, lens and sensor."""
    blurred = picture.filter(ImageFilter.GaussianBlur(camera.blur + random.uniform(0, 0.4)))
    scene = np.asarray(blurred, np.float32) / 255
    gray = scene.mean(axis=2, keepdims=True)
    scene = gray + camera.saturation * (scene - gray)
    light = np.asarray(camera.gains) * np.exp(random.normal(0, 0.03) + random.normal(0, 0.01, 3))
    exposed = np.clip(scene * light.astype(np.float32), 0, 1) ** np.float32(camera.gamma)
    exposed = 0.5 + camera.contrast * (exposed - 0.5)
    noise = random.standard_normal(exposed.shape, dtype=np.float32) * camera.noise
    return Image.fromarray(np.uint8(np.clip(exposed * 255 + noise, 0, 255)))


def draw_street(
    random: np.random.Generator, *, size: tuple[int, int] = _STREET_SIZE, ground: float | None = None
) -> Image.Image:
    """Draws a street, an RGB image of this size (height, width), whose ground begins at this row, or at a drawn one."""
    height, width = size
    street = Image.new("RGB", (width, height), _tone(random, (120, 230)))
    draw, horizon = ImageDraw.Draw(street), height * random.uniform(0.5, 0.75)
    horizon = horizon if ground is None else ground
    kind = random.choice(("houses", "park", "shop", "car_park"))
    if kind in ("houses", "shop"):
        _draw_houses(draw, random, horizon, width, storeys=5 if kind == "houses" else 2)
    draw.rectangle((0, horizon, width, height), fill=_tone(random, (70, 190)))
    _draw_ground(draw, random, horizon, size)
    if kind == "park":
        draw.rectangle((0, horizon, width, height), fill=(85 + int(random.integers(40)), 125, 70))
    for _ in range({"houses": 3, "park": 14, "shop": 2, "car_park": 4}[kind]):
        center = random.uniform(0, width), horizon - random.uniform(-20, 90)
        draw_leaves(draw, random, center, random.uniform(25, 55))
    for _ in range(5 if kind == "car_park" else 1):
        _draw_car(draw, random, random.uniform(-50, width), horizon)
    for _ in range(4):
        left, foot = random.uniform(0, width), horizon + random.uniform(0, 40)
        draw.rectangle((left, 0, left + random.uniform(3, 9), foot), fill=_tone(random, (40, 120)))
    # Muted: a street with colors as strong as the clothes, on half of each picture, would push the mean color and
    # random features below chance, and leave no baseline to compare with.
    haze = Image.new("RGB", street.size, (140, 140, 140))
    return Image.blend(street.filter(ImageFilter.GaussianBlur(1.5)), haze, 0.6)


def _draw_houses(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, horizon: float, width: int, *, storeys: int
) -> None:
    left = -random.uniform(0, 60)
    while left < width:
        right, storey = left + random.uniform(90, 220), horizon / storeys
        draw.rectangle((left, random.uniform(-30, 30), right, horizon), fill=_tone(random, (60, 200), color=35))
        glass, step = _tone(random, (30, 120)), random.uniform(26, 50)
        for row in range(storeys):
            x = left + step * 0.3
            while x + step * 0.6 < right:
                draw.rectangle((x, (row + 0.25) * storey, x + step * 0.6, (row + 0.8) * storey), fill=glass)
                x += step
        left = right


def _draw_ground(draw: ImageDraw.ImageDraw, random: np.random.Generator, horizon: float, size: tuple[int, int]) -> None:
    height, width = size
    line, vanish = _tone(random, (110, 215)), random.uniform(0, width)
    for x in np.linspace(-2 * width, 3 * width, int(random.integers(12, 40))):
        draw.line((vanish, horizon - 20, x, height), fill=line, width=int(random.integers(1, 4)))
    for share in np.linspace(0, 1, int(random.integers(4, 9))) ** 2:
        y = horizon + share * (height - horizon)
        draw.line((0, y, width, y), fill=line, width=2)
    draw.rectangle((0, horizon - 20, width, horizon), fill=_tone(random, (60, 160)))


def draw_leaves(draw: ImageDraw.ImageDraw, random: np.random.Generator, center, radius: float) -> None:
    offsets, sizes, greens = random.normal(0, 0.45, (30, 2)), random.uniform(0.2, 0.4, 30), random.integers(60, 135, 30)
    for (x, y), size, green in zip(offsets, sizes, greens):
        middle_x, middle_y, reach = center[0] + x * radius, center[1] + y * radius, size * radius
        box = (middle_x - reach, middle_y - reach, middle_x + reach, middle_y + reach)
        draw.ellipse(box, fill=(int(green * 0.65), int(green), int(green * 0.5)))


def _draw_car(draw: ImageDraw.ImageDraw, random: np.random.Generator, left: float, bottom: float) -> None:
    paint, top = _tone(random, (40, 230), color=60), bottom - 38
    draw.rounded_rectangle((left, top, left + 130, bottom), 10, fill=paint)
    draw.rounded_rectangle((left + 25, top - 26, left + 105, top + 8), 10, fill=paint)
    draw.rectangle((left + 34, top - 20, left + 96, top), fill=(50, 60, 70))
    for wheel in (left + 28, left + 100):
        draw.ellipse((wheel - 13, bottom - 13, wheel + 13, bottom + 13), fill=(25, 25, 28))


def _tone(random: np.random.Generator, between: tuple[int, int], color: int = 15) -> tuple[int, int, int]:
    """Returns a grayish color with a brightness in this range, off gray by up to `color`."""
    shift = random.integers(-color, color + 1, 3) + random.integers(*between)
    return tuple(int(channel) for channel in np.clip(shift, 0, 255))
