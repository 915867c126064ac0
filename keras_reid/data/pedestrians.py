"""What a drawn pedestrian looks like: a look per identity, a pose per picture, and the brush that paints both.

Lengths are in body heights: x to the right of the spine, y from the crown (0) down to the soles (1), z ahead of the
chest. A heading of 0 faces the viewer, pi/2 walks to the viewer's right, pi shows the back.
"""

from __future__ import annotations

import colorsys
import dataclasses
import math
from typing import Optional

import numpy as np
from PIL import Image, ImageChops, ImageDraw

Colour = tuple[int, int, int]

_SKIN = ((255, 224, 196), (240, 200, 165), (215, 165, 120), (165, 112, 72), (110, 72, 48), (75, 48, 34))
_HAIR = ((20, 18, 18), (20, 18, 18), (52, 34, 24), (92, 60, 36), (150, 110, 60), (215, 180, 115), (150, 60, 30), (150, 150, 150))
_NEUTRAL = ((18, 18, 22), (45, 45, 50), (95, 95, 98), (150, 150, 150), (205, 205, 205), (245, 245, 245), (190, 165, 125))
_DENIM = ((25, 32, 58), (45, 65, 110), (90, 120, 165))
_PATTERNS = ("plain", "plain", "stripes", "pinstripes", "checks", "dots", "logo", "block", "sash", "open")
_BAGS = ("none", "none", "backpack", "backpack", "shoulder", "hand")

_HIP, _THIGH, _SHIN = 0.50, 0.235, 0.235
_SHOULDER, _UPPER_ARM, _FOREARM = 0.205, 0.16, 0.15


@dataclasses.dataclass(frozen=True)
class Look:
    """All that stays the same about one person, whichever camera sees them."""

    height: float
    girth: float
    skin: Colour
    hair: Colour
    hair_length: float
    hat: Optional[Colour]
    top: Colour
    top_accent: Colour
    pattern: str
    pattern_count: int
    sleeve: float
    hem: float
    legs: Colour
    skirt: bool
    leg_cover: float
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_side: int


@dataclasses.dataclass(frozen=True)
class Pose:
    """One moment of a walk: heading and lean in radians, the phase of the step, and the reach of the limbs."""

    heading: float
    phase: float
    stride: float
    lean: float


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the body lands on the canvas: crown and pixels per body height, tilt in radians, width over height."""

    centre_x: float
    top_y: float
    scale: float
    tilt: float
    stretch: float


def draw_look(random: np.random.Generator) -> Look:
    """Draws one person's clothes, build, hair, skin and bag.

    Args:
      random: the identity's own generator; nothing else may draw from it, or the person changes.

    Returns:
      The look, which no picture alters.
    """
    top = _cloth_colour(random, neutral=0.25, denim=0.05)
    skirt = random.random() < 0.2
    matched = random.random() < 0.35
    return Look(
        height=random.uniform(0.86, 1.0),
        girth=random.uniform(0.82, 1.28),
        skin=_jitter(random, _SKIN[random.integers(len(_SKIN))], 8),
        hair=_jitter(random, _HAIR[random.integers(len(_HAIR))], 10),
        hair_length=float(random.choice((0.0, 0.25, 0.5, 1.0, 1.6))),
        hat=_cloth_colour(random, neutral=0.4, denim=0.1) if random.random() < 0.15 else None,
        top=top,
        top_accent=_contrasting(random, top),
        pattern=str(random.choice(_PATTERNS)),
        pattern_count=int(random.integers(3, 8)),
        sleeve=float(random.choice((0.1, 0.45, 1.0, 1.0))),
        hem=float(random.choice((0.50, 0.53, 0.56, 0.68))),
        legs=_jitter(random, top, 30) if matched else _cloth_colour(random, neutral=0.35, denim=0.2),
        skirt=skirt,
        leg_cover=random.uniform(0.3, 0.8) if skirt else float(random.choice((0.4, 0.75, 1.0, 1.0, 1.0))),
        shoes=_cloth_colour(random, neutral=0.6, denim=0.0),
        bag=str(random.choice(_BAGS)),
        bag_colour=_cloth_colour(random, neutral=0.3, denim=0.1),
        bag_side=int(random.choice((-1, 1))),
    )


def draw_pose(random: np.random.Generator, heading: float) -> Pose:
    """Draws one moment of a walk.

    Args:
      random: the picture's generator.
      heading: where the person walks, in radians; 0 is towards the viewer.

    Returns:
      The pose.
    """
    return Pose(
        heading=heading,
        phase=random.uniform(0, 2 * math.pi),
        stride=random.uniform(0.15, 0.5),
        lean=random.normal(0, 0.025),
    )


def paint_pedestrian(
    size: tuple[int, int], look: Look, pose: Pose, placement: Placement, random: np.random.Generator
) -> Image.Image:
    """Paints one person on a transparent canvas.

    Args:
      size: (height, width) of the canvas in pixels.
      look: who it is.
      pose: how they walk.
      placement: where they stand on the canvas.
      random: the picture's generator, for the folds of the cloth and the light.

    Returns:
      An RGBA image of that size, alpha 255 on the person and 0 elsewhere.
    """
    brush = _Brush(size, look, pose, placement)
    facing = math.cos(pose.heading)
    near, far = (1, -1) if math.sin(pose.heading) < 0 else (-1, 1)
    if facing >= 0:
        _paint_back_of_body(brush)
    _paint_arm(brush, far)
    _paint_leg(brush, far)
    _paint_leg(brush, near)
    _paint_torso(brush)
    if facing < 0:
        _paint_back_of_body(brush)
    _paint_head(brush)
    _paint_arm(brush, near)
    _paint_carried_bag(brush)
    return _fold(brush.image, random)


class _Brush:
    """An RGBA canvas that takes body coordinates."""

    def __init__(self, size: tuple[int, int], look: Look, pose: Pose, placement: Placement):
        self.image = Image.new("RGBA", (size[1], size[0]))
        self.draw = ImageDraw.Draw(self.image)
        self.look, self.pose = look, pose
        self.facing, self.sideways = math.cos(pose.heading), math.sin(pose.heading)
        self._placement = placement
        self._scale = placement.scale * look.height
        self._top = placement.top_y + placement.scale * (1 - look.height)
        angle = placement.tilt + pose.lean
        self._cos, self._sin = math.cos(angle), math.sin(angle)

    def seen(self, x: float, z: float) -> float:
        """The x at which the viewer sees a point that lies x beside and z ahead of the spine."""
        return z * self.sideways - x * self.facing

    def width(self, across: float, deep: float) -> float:
        """Half the width at which the viewer sees a body of these two half widths."""
        return self.look.girth * math.hypot(across * self.facing, deep * self.sideways)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Canvas pixel of a body point; lean and tilt turn the body about its soles."""
        up = 1 - y
        across = (x * self._cos + up * self._sin) * self._scale * self._placement.stretch
        return self._placement.centre_x + across, self._top + (1 - up * self._cos + x * self._sin) * self._scale

    def polygon(self, points, colour: Colour) -> None:
        self.draw.polygon([self.pixel(*point) for point in points], fill=colour)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: Colour) -> None:
        centre_x, centre_y = self.pixel(x, y)
        across, down = half_width * self._scale * self._placement.stretch, half_height * self._scale
        self.draw.ellipse((centre_x - across, centre_y - down, centre_x + across, centre_y + down), fill=colour)

    def limb(self, start, end, radii: tuple[float, float], colour: Colour) -> None:
        """A tapered tube between two body points, darker on one side."""
        length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
        across = (end[1] - start[1]) / length, (start[0] - end[0]) / length
        for share, tone in ((1.0, 0.8), (0.55, 1.0)):
            fill = _shade(colour, tone)
            sides = [
                (point[0] + sign * across[0] * radius * share, point[1] + sign * across[1] * radius * share)
                for point, radius, sign in ((start, radii[0], 1), (end, radii[1], 1), (end, radii[1], -1), (start, radii[0], -1))
            ]
            self.ellipse(*start, radii[0] * share, radii[0] * share, fill)
            self.ellipse(*end, radii[1] * share, radii[1] * share, fill)
            self.polygon(sides, fill)


def _swing(brush: _Brush, side: int) -> float:
    """Angle of the leg on this side, in radians, positive ahead; the arm on the other side has the same."""
    return brush.pose.stride * math.sin(brush.pose.phase + (0 if side > 0 else math.pi))


def _paint_leg(brush: _Brush, side: int) -> None:
    look, swing = brush.look, _swing(brush, side)
    bend = swing - brush.pose.stride * (0.25 + 0.75 * max(0.0, math.cos(brush.pose.phase + (0 if side > 0 else math.pi))))
    x, girth = side * 0.045 * look.girth, look.girth
    knee_z, knee_y = _THIGH * math.sin(swing), _HIP + _THIGH * math.cos(swing)
    foot_z, foot_y = knee_z + _SHIN * math.sin(bend), knee_y + _SHIN * math.cos(bend)
    hip, knee, foot = ((brush.seen(x, 0), _HIP), (brush.seen(x, knee_z), knee_y), (brush.seen(x, foot_z), foot_y))
    toes = (brush.seen(x, foot_z + 0.055), foot_y + 0.018)
    far = 0.75 if side * brush.sideways > 0.3 else 1.0
    skin, cloth = _shade(look.skin, far), _shade(look.legs, far)
    brush.limb(foot, toes, (0.024, 0.02), _shade(look.shoes, far))
    cover = 0.0 if look.skirt else look.leg_cover
    thigh, calf = 0.047 * girth, 0.034 * girth
    brush.limb(hip, knee, (thigh, calf), skin if cover == 0 else cloth)
    brush.limb(knee, foot, (calf, 0.024 * girth), cloth if cover == 1 else skin)
    if 0.5 < cover < 1:
        share = cover * 2 - 1
        shin = (knee[0] + share * (foot[0] - knee[0]), knee[1] + share * (foot[1] - knee[1]))
        brush.limb(knee, shin, (calf, calf), cloth)


def _paint_arm(brush: _Brush, side: int) -> None:
    look, swing = brush.look, _swing(brush, -side) * 0.9
    elbow_z, elbow_y = _UPPER_ARM * math.sin(swing), _SHOULDER + _UPPER_ARM * math.cos(swing)
    hand_z, hand_y = elbow_z + _FOREARM * math.sin(swing + 0.3), elbow_y + _FOREARM * math.cos(swing + 0.3)
    x, girth = side * 0.105 * look.girth, look.girth
    shoulder = (brush.seen(x, 0), _SHOULDER + 0.015)
    elbow, hand = (brush.seen(x * 1.25, elbow_z), elbow_y), (brush.seen(x * 1.3, hand_z), hand_y)
    far = 0.75 if side * brush.sideways > 0.3 else 1.0
    skin = _shade(look.skin, far)
    cloth = _shade(look.top_accent if look.pattern == "block" else look.top, far * 0.93)
    brush.limb(elbow, hand, (0.023 * girth, 0.019), cloth if look.sleeve == 1 else skin)
    brush.limb(shoulder, elbow, (0.034 * girth, 0.025 * girth), cloth if look.sleeve > 0.2 else skin)
    brush.ellipse(*hand, 0.02, 0.024, skin)
    if look.bag == "hand" and side == look.bag_side:
        _paint_box(brush, hand[0], hand_y + 0.075, 0.06, 0.055)


def _paint_torso(brush: _Brush) -> None:
    look = brush.look
    if look.skirt:
        hem = _HIP + look.leg_cover * 0.42
        waist, edge = brush.width(0.085, 0.065), brush.width(0.085, 0.065) + 0.03 + 0.05 * look.leg_cover
        brush.polygon(((-waist, 0.46), (waist, 0.46), (edge, hem), (-edge, hem)), look.legs)
    else:
        hips = brush.width(0.088, 0.07)
        brush.polygon(((-hips, 0.45), (hips, 0.45), (hips, 0.55), (-hips, 0.55)), look.legs)
    shoulders, waist, hem = brush.width(0.115, 0.06), brush.width(0.092, 0.068), brush.width(0.098, 0.074)
    outline = (
        (-0.035, 0.16), (0.035, 0.16), (shoulders, 0.195), (shoulders * 0.97, 0.27), (waist, 0.40), (hem, look.hem),
        (-hem, look.hem), (-waist, 0.40), (-shoulders * 0.97, 0.27), (-shoulders, 0.195),
    )
    mask = Image.new("L", brush.image.size)
    ImageDraw.Draw(mask).polygon([brush.pixel(*point) for point in outline], fill=255)
    cloth = _Brush((brush.image.height, brush.image.width), look, brush.pose, brush._placement)
    cloth.polygon(outline, look.top)
    _PAINT_PATTERN.get(look.pattern, _paint_plain)(cloth)
    brush.image.paste(cloth.image, mask=mask)


def _paint_plain(cloth: _Brush) -> None:
    """The torso is already one colour."""


def _paint_stripes(cloth: _Brush) -> None:
    step = 0.36 / (2 * cloth.look.pattern_count)
    for stripe in range(2 * cloth.look.pattern_count + 4):
        top = 0.2 + 2 * step * stripe
        cloth.polygon(((-0.3, top), (0.3, top), (0.3, top + step), (-0.3, top + step)), cloth.look.top_accent)


def _paint_pinstripes(cloth: _Brush) -> None:
    half, step = cloth.width(0.115, 0.06), 2 * cloth.width(0.115, 0.06) / cloth.look.pattern_count
    for stripe in range(cloth.look.pattern_count):
        left = -half + step * (stripe + 0.25)
        cloth.polygon(((left, 0.1), (left + step / 2, 0.1), (left + step / 2, 0.75), (left, 0.75)), cloth.look.top_accent)


def _paint_checks(cloth: _Brush) -> None:
    side = 0.3 / cloth.look.pattern_count
    for row in range(int(0.6 / side)):
        for column in range(-int(0.2 / side) - 1, int(0.2 / side) + 1):
            if (row + column) % 2:
                x, y = column * side, 0.15 + row * side
                cloth.polygon(((x, y), (x + side, y), (x + side, y + side), (x, y + side)), cloth.look.top_accent)


def _paint_dots(cloth: _Brush) -> None:
    step = 0.4 / cloth.look.pattern_count
    for row in range(int(0.6 / step)):
        for column in range(-3, 4):
            cloth.ellipse((column + 0.5 * (row % 2)) * step, 0.2 + row * step, step * 0.28, step * 0.28, cloth.look.top_accent)


def _paint_logo(cloth: _Brush) -> None:
    # On the chest for an even count and on the back for an odd one: seen from the other side the top is plain.
    front = 1 if cloth.look.pattern_count % 2 == 0 else -1
    if cloth.facing * front > -0.2:
        centre, half = cloth.seen(0, 0.05 * front), 0.02 + 0.055 * max(0.0, cloth.facing * front)
        cloth.polygon(((centre - half, 0.24), (centre + half, 0.24), (centre + half, 0.36), (centre - half, 0.36)), cloth.look.top_accent)


def _paint_block(cloth: _Brush) -> None:
    edge = 0.2 + 0.04 * cloth.look.pattern_count
    cloth.polygon(((-0.3, 0.1), (0.3, 0.1), (0.3, edge), (-0.3, edge)), cloth.look.top_accent)


def _paint_sash(cloth: _Brush) -> None:
    edge = 0.22 + 0.03 * cloth.look.pattern_count
    cloth.polygon(((-0.3, edge), (0.3, edge), (0.3, edge + 0.07), (-0.3, edge + 0.07)), cloth.look.top_accent)


def _paint_open_jacket(cloth: _Brush) -> None:
    if cloth.facing > -0.2:
        centre, half = cloth.seen(0, 0.07), 0.012 + 0.03 * max(0.0, cloth.facing)
        cloth.polygon(((centre - half, 0.1), (centre + half, 0.1), (centre + half * 1.3, 0.75), (centre - half * 1.3, 0.75)), cloth.look.top_accent)


_PAINT_PATTERN = {
    "stripes": _paint_stripes,
    "pinstripes": _paint_pinstripes,
    "checks": _paint_checks,
    "dots": _paint_dots,
    "logo": _paint_logo,
    "block": _paint_block,
    "sash": _paint_sash,
    "open": _paint_open_jacket,
}


def _paint_back_of_body(brush: _Brush) -> None:
    """Long hair and the backpack: behind the torso when the person faces the viewer, in front of it otherwise."""
    look = brush.look
    if look.bag == "backpack":
        centre, half = brush.seen(0, -0.085 * look.girth), math.hypot(0.095 * brush.facing, 0.055 * brush.sideways)
        brush.ellipse(centre, 0.23, half * 0.9, 0.05, look.bag_colour)
        brush.polygon(((centre - half, 0.22), (centre + half, 0.22), (centre + half, 0.43), (centre - half, 0.43)), look.bag_colour)
        lower = _shade(look.bag_colour, 0.75)
        brush.polygon(((centre - half, 0.34), (centre + half, 0.34), (centre + half * 0.9, 0.44), (centre - half * 0.9, 0.44)), lower)
    if look.hair_length > 0.3:
        centre, bottom = brush.seen(0, -0.025), 0.10 + 0.1 * look.hair_length
        brush.limb((centre, 0.08), (centre, bottom), (0.055, 0.05), look.hair)


def _paint_head(brush: _Brush) -> None:
    look, centre = brush.look, brush.seen(0, 0.012)
    brush.limb((0, 0.18), (centre, 0.12), (0.03, 0.028), look.skin)
    brush.ellipse(centre, 0.075, 0.053, 0.068, look.hair if look.hair_length > 0 else look.skin)
    if brush.facing > -0.35:
        half = 0.043 - 0.012 * abs(brush.sideways)
        brush.ellipse(centre + 0.018 * brush.sideways, 0.09, half, 0.053, look.skin)
        brush.ellipse(centre + 0.03 * brush.sideways, 0.112, half * 0.4, 0.006, _shade(look.skin, 0.65))
    if look.hat:
        brush.ellipse(centre, 0.045, 0.058, 0.045, look.hat)
        brush.ellipse(centre + 0.04 * brush.sideways, 0.068, 0.062, 0.014, _shade(look.hat, 0.8))
    if look.bag == "backpack" and brush.facing > 0.3:
        for side in (-1, 1):
            x = side * 0.065 * look.girth * brush.facing
            brush.limb((x, 0.175), (x * 1.1, 0.36), (0.012, 0.012), look.bag_colour)


def _paint_carried_bag(brush: _Brush) -> None:
    look = brush.look
    if look.bag != "shoulder":
        return
    x, other = brush.seen(look.bag_side * 0.12 * look.girth, 0.02), brush.seen(-look.bag_side * 0.07 * look.girth, 0)
    brush.limb((other, 0.175), (x, 0.44), (0.011, 0.011), _shade(look.bag_colour, 0.8))
    # On the far side of the body only the strap shows.
    if look.bag_side * brush.sideways < 0.5:
        _paint_box(brush, x, 0.49, 0.065, 0.055)


def _paint_box(brush: _Brush, x: float, y: float, half_width: float, half_height: float) -> None:
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    brush.polygon([(x + a * half_width, y + b * half_height) for a, b in corners], brush.look.bag_colour)
    flap = _shade(brush.look.bag_colour, 0.7)
    brush.polygon([(x + a * half_width, y + b * half_height * 0.3 - half_height * 0.5) for a, b in corners], flap)


def _fold(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Multiplies smooth light and shade over the person: folds, and a lamp at one side."""
    side = np.linspace(-1, 1, 5)[None, :] * random.uniform(-0.15, 0.15)
    light = 0.9 + side + random.normal(0, 0.09, (11, 5))
    small = Image.fromarray(np.uint8(np.clip(light, 0.5, 1.0) * 255))
    shade = small.resize(image.size, Image.Resampling.BICUBIC)
    white = Image.new("L", image.size, 255)
    return ImageChops.multiply(image, Image.merge("RGBA", (shade, shade, shade, white)))


def _cloth_colour(random: np.random.Generator, *, neutral: float, denim: float) -> Colour:
    """A cloth's colour; `neutral` and `denim` are the shares of greys and of blues among all clothes."""
    kind = random.random()
    if kind < neutral:
        return _jitter(random, _NEUTRAL[random.integers(len(_NEUTRAL))], 8)
    if kind < neutral + denim:
        return _jitter(random, _DENIM[random.integers(len(_DENIM))], 8)
    return _hue_colour(random.random(), random.uniform(0.45, 0.95), random.uniform(0.35, 0.95))


def _contrasting(random: np.random.Generator, colour: Colour) -> Colour:
    """A second cloth colour that can be told from the first: the farthest of three draws."""
    draws = [_cloth_colour(random, neutral=0.4, denim=0.05) for _ in range(3)]
    return max(draws, key=lambda other: sum(abs(a - b) for a, b in zip(colour, other)))


def _hue_colour(hue: float, saturation: float, value: float) -> Colour:
    return tuple(int(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))


def _jitter(random: np.random.Generator, colour: Colour, spread: int) -> Colour:
    shift = random.integers(-spread, spread + 1, 3)
    return tuple(int(min(255, max(0, channel + move))) for channel, move in zip(colour, shift))


def _shade(colour: Colour, tone: float) -> Colour:
    return tuple(int(channel * tone) for channel in colour)
