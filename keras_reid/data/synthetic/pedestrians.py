"""Painting of a pedestrian, from the back of the body to the front, limb by limb, then folds and light."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from keras_reid.data.synthetic.brush import Brush, Placement, Point
from keras_reid.data.synthetic.looks import Look, Pose, shade
from keras_reid.data.synthetic.patterns import paint_pattern

_HIP, _THIGH, _SHIN = 0.50, 0.235, 0.235
_SHOULDER, _UPPER_ARM, _FOREARM = 0.22, 0.15, 0.15


def paint_pedestrian(
    size: tuple[int, int], look: Look, pose: Pose, placement: Placement, random: np.random.Generator
) -> Image.Image:
    """Returns one person as an RGBA image of this size (height, width), alpha 255 on the person and 0 elsewhere.

    `random`, the picture's generator, draws the folds of the cloth and the light.
    """
    brush = Brush(size, look, pose, placement)
    far, near = (-1, 1) if brush.sideways > 0 else (1, -1)
    if brush.facing >= 0:
        _paint_behind_spine(brush)
    _paint_arm(brush, far)
    _paint_leg(brush, far)
    _paint_leg(brush, near)
    brush.limb(((0, 0.18), (brush.seen(0, 0.012), 0.12)), (0.03, 0.028), (look.skin,))  # the neck
    _paint_hips(brush)
    _paint_torso(brush)
    _paint_head(brush)
    if brush.facing < 0:
        _paint_behind_spine(brush)
    _paint_arm(brush, near)
    _paint_straps(brush)
    return _fold(brush.image, random)


def _swing(brush: Brush, side: int) -> tuple[float, float]:
    """Returns the angles of the thigh and the shin on this side, in radians, positive ahead."""
    phase = brush.pose.phase + (0 if side > 0 else math.pi)
    thigh = brush.pose.stride * math.sin(phase)
    return thigh, thigh - brush.pose.stride * (0.25 + 0.75 * max(0.0, math.cos(phase)))


def _jointed(brush: Brush, xs, start_y: float, lengths, angles) -> tuple[Point, Point, Point]:
    """Returns the three visible points of a limb that hangs from `start_y` and bends once; xs to the person's right."""
    middle_z, middle_y = lengths[0] * math.sin(angles[0]), start_y + lengths[0] * math.cos(angles[0])
    end_z, end_y = middle_z + lengths[1] * math.sin(angles[1]), middle_y + lengths[1] * math.cos(angles[1])
    return (brush.seen(xs[0], 0), start_y), (brush.seen(xs[1], middle_z), middle_y), (brush.seen(xs[2], end_z), end_y)


def _paint_leg(brush: Brush, side: int) -> None:
    look, light = brush.look, 0.75 if brush.is_far(side) else 1.0
    x, angles = side * 0.045 * look.girth, _swing(brush, side)
    hip, knee, ankle = _jointed(brush, (x, x, x), _HIP, (_THIGH, _SHIN), angles)
    toes = ankle[0] + brush.seen(0, 0.055), ankle[1] + 0.018
    brush.limb((ankle, toes), (0.024, 0.02), (shade(look.shoes, light),))
    share = max(0.0, look.leg_cover * 2 - 1)
    cuff = knee[0] + share * (ankle[0] - knee[0]), knee[1] + share * (ankle[1] - knee[1])
    thigh, calf, foot = 0.047 * look.girth, 0.034 * look.girth, 0.024 * look.girth
    skin, cloth = shade(look.skin, light), shade(look.skin if look.skirt else look.legs, light)
    # Upwards: the cuff lies over the skin.
    radii = (foot, calf + share * (foot - calf), calf, thigh)
    brush.limb((ankle, cuff, knee, hip), radii, (cloth if share == 1 else skin, cloth, cloth))


def _paint_arm(brush: Brush, side: int) -> None:
    look, light = brush.look, 0.75 if brush.is_far(side) else 0.95
    swing = 0.9 * _swing(brush, -side)[0]
    x = side * 0.105 * look.girth
    joints = _jointed(brush, (x, 1.25 * x, 1.3 * x), _SHOULDER, (_UPPER_ARM, _FOREARM), (swing, swing + 0.3))
    skin = shade(look.skin, light)
    cloth = shade(look.top_accent if look.pattern == "block" else look.top, light)
    hand = joints[-1]
    brush.ellipse(hand, 0.02, 0.024, skin)
    radii = (0.019, 0.024 * look.girth, 0.034 * look.girth)
    brush.limb(joints[::-1], radii, (cloth if look.sleeve == 1 else skin, cloth if look.sleeve > 0 else skin))
    if side == look.bag_side and look.bag == "hand":
        _paint_bag(brush, hand[0], hand[1] + 0.075)
    if side == look.bag_side and look.bag == "shoulder" and not brush.is_far(side):
        _paint_bag(brush, brush.seen(1.15 * x, 0.02), 0.49)


def _paint_hips(brush: Brush) -> None:
    look = brush.look
    if look.skirt:
        hem, waist = _HIP + look.leg_cover * 0.42, brush.width(0.085, 0.065)
        edge = waist + 0.03 + 0.05 * look.leg_cover
        brush.polygon(((-waist, 0.46), (waist, 0.46), (edge, hem), (-edge, hem)), look.legs)
    else:
        hips = brush.width(0.088, 0.07)
        brush.rectangle(-hips, 0.45, hips, 0.55, look.legs)


def _paint_torso(brush: Brush) -> None:
    shoulders, waist, hem = brush.width(0.115, 0.06), brush.width(0.092, 0.068), brush.width(0.098, 0.074)
    half = ((0.035, 0.16), (shoulders, 0.195), (0.97 * shoulders, 0.27), (waist, 0.40), (hem, brush.look.hem))
    outline = [*half, *((-x, y) for x, y in reversed(half))]
    mask = Image.new("L", brush.image.size)
    ImageDraw.Draw(mask).polygon([brush.pixel(point) for point in outline], fill=255)
    cloth = Brush(brush.size, brush.look, brush.pose, brush.placement)
    cloth.polygon(outline, brush.look.top)
    paint_pattern(cloth)
    brush.image.paste(cloth.image, mask=mask)


def _paint_head(brush: Brush) -> None:
    look, center = brush.look, brush.seen(0, 0.012)
    brush.ellipse((center, 0.075), 0.053, 0.068, look.hair if look.hair_length > 0 else look.skin)
    if brush.facing > -0.35:
        half = 0.043 - 0.012 * abs(brush.sideways)
        brush.ellipse((center + 0.018 * brush.sideways, 0.09), half, 0.053, look.skin)
        brush.ellipse((center + 0.03 * brush.sideways, 0.083), half * 0.7, 0.006, shade(look.skin, 0.6))
    if look.hat:
        brush.ellipse((center, 0.045), 0.058, 0.045, look.hat)
        brush.ellipse((center + 0.04 * brush.sideways, 0.068), 0.062, 0.014, shade(look.hat, 0.8))


def _paint_behind_spine(brush: Brush) -> None:
    """Paints long hair and the backpack: behind the torso when the person faces the viewer, else in front of it."""
    look = brush.look
    if look.bag == "backpack":
        center, half = brush.seen(0, -0.085 * look.girth), math.hypot(0.095 * brush.facing, 0.055 * brush.sideways)
        brush.ellipse((center, 0.23), half * 0.9, 0.05, look.bag_color)
        brush.rectangle(center - half, 0.22, center + half, 0.43, look.bag_color)
        brush.rectangle(center - half * 0.95, 0.34, center + half * 0.95, 0.44, shade(look.bag_color, 0.75))
    if look.hair_length > 0.3:
        center = brush.seen(0, -0.025)
        brush.limb(((center, 0.08), (center, 0.10 + 0.1 * look.hair_length)), (0.055, 0.05), (look.hair,))


def _paint_straps(brush: Brush) -> None:
    look = brush.look
    if look.bag == "backpack" and brush.facing > 0.3:
        for side in (-1, 1):
            x = side * 0.065 * look.girth * brush.facing
            brush.limb(((x, 0.175), (1.1 * x, 0.36)), (0.012, 0.012), (look.bag_color,))
    if look.bag == "shoulder":
        bag = brush.seen(look.bag_side * 0.12 * look.girth, 0.02)
        other = brush.seen(-look.bag_side * 0.07 * look.girth, 0)
        brush.limb(((other, 0.175), (bag, 0.44)), (0.011, 0.011), (shade(look.bag_color, 0.8),))


def _paint_bag(brush: Brush, x: float, y: float) -> None:
    brush.rectangle(x - 0.065, y - 0.055, x + 0.065, y + 0.055, brush.look.bag_color)
    brush.rectangle(x - 0.065, y - 0.055, x + 0.065, y - 0.02, shade(brush.look.bag_color, 0.7))


def _fold(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Returns the person under smooth light and shade: folds, and a lamp at one side."""
    side = np.linspace(-1, 1, 5)[None, :] * random.uniform(-0.15, 0.15)
    light = 0.9 + side + random.normal(0, 0.09, (11, 5))
    small = Image.fromarray(np.uint8(np.clip(light, 0.5, 1.0) * 255))
    tone = small.resize(image.size, Image.Resampling.BICUBIC)
    opaque = Image.new("L", image.size, 255)
    return ImageChops.multiply(image, Image.merge("RGBA", (tone, tone, tone, opaque)))
