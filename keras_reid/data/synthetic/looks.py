"""Looks of drawn pedestrians (clothes, build, hair, skin, bag), and their poses in a picture."""

from __future__ import annotations

import colorsys
import dataclasses
import math

import numpy as np

Color = tuple[int, int, int]

_SKIN = ((255, 224, 196), (240, 200, 165), (215, 165, 120), (165, 112, 72), (110, 72, 48), (75, 48, 34))
# Black twice: the most frequent color of hair.
_DARK_HAIR = ((20, 18, 18), (20, 18, 18), (52, 34, 24), (92, 60, 36))
_HAIR = (*_DARK_HAIR, (150, 110, 60), (215, 180, 115), (150, 60, 30), (150, 150, 150))
_GRAYS = ((18, 18, 22), (45, 45, 50), (95, 95, 98), (150, 150, 150), (205, 205, 205), (245, 245, 245))
_NEUTRAL = (*_GRAYS, (190, 165, 125))
_DENIM = ((25, 32, 58), (45, 65, 110), (90, 120, 165))

_PATTERNS = ("plain", "plain", "stripes", "pinstripes", "checks", "dots", "logo", "block", "sash", "open")
_BAGS = ("none", "none", "backpack", "backpack", "shoulder", "hand")


@dataclasses.dataclass(frozen=True)
class Look:
    """Appearance of a person, the same by every camera.

    `height` and `girth` are relative to the usual ones, `hem` is the end of the top in body heights below the crown,
    `sleeve` and `leg_cover` are the shares of arm and leg under cloth, `bag_side` is 1 for the person's right.
    """

    height: float
    girth: float
    skin: Color
    hair: Color
    hair_length: float
    hat: Color | None
    top: Color
    top_accent: Color
    pattern: str
    pattern_count: int
    sleeve: float
    hem: float
    legs: Color
    skirt: bool
    leg_cover: float
    shoes: Color
    bag: str
    bag_color: Color
    bag_side: int


@dataclasses.dataclass(frozen=True)
class Pose:
    """One moment of a walk: heading (0 towards the viewer), phase, reach of the stride and lean, all in radians."""

    heading: float
    phase: float
    stride: float
    lean: float


def draw_look(random: np.random.Generator) -> Look:
    """Draws a person's clothes, build, hair, skin and bag; if anything else draws from `random`, the person changes."""
    top = _cloth_color(random, neutral=0.25, denim=0.05)
    skirt, matching = random.random() < 0.2, random.random() < 0.35
    legs = _cloth_color(random, neutral=0.35, denim=0.2)
    return Look(
        height=random.uniform(0.86, 1.0),
        girth=random.uniform(0.82, 1.28),
        skin=jitter(random, _SKIN[random.integers(len(_SKIN))], 8),
        hair=jitter(random, _HAIR[random.integers(len(_HAIR))], 10),
        hair_length=float(random.choice((0.0, 0.25, 0.5, 1.0, 1.6))),
        hat=_cloth_color(random, neutral=0.4, denim=0.1) if random.random() < 0.15 else None,
        top=top,
        top_accent=_contrasting(random, top),
        pattern=str(random.choice(_PATTERNS)),
        pattern_count=int(random.integers(3, 8)),
        sleeve=float(random.choice((0.0, 0.5, 1.0, 1.0))),
        hem=float(random.choice((0.50, 0.53, 0.56, 0.68))),
        legs=jitter(random, top, 30) if matching else legs,
        skirt=skirt,
        leg_cover=random.uniform(0.3, 0.8) if skirt else float(random.choice((0.5, 0.75, 1.0, 1.0, 1.0))),
        shoes=_cloth_color(random, neutral=0.6, denim=0.0),
        bag=str(random.choice(_BAGS)),
        bag_color=_cloth_color(random, neutral=0.3, denim=0.1),
        bag_side=int(random.choice((-1, 1))),
    )


def draw_pose(random: np.random.Generator, heading: float) -> Pose:
    """Draws one moment of a walk; heading in radians: 0 is towards the viewer, pi/2 to the viewer's right."""
    phase, stride = random.uniform(0, 2 * math.pi), random.uniform(0.15, 0.5)
    return Pose(heading, phase, stride, lean=random.normal(0, 0.025))


def jitter(random: np.random.Generator, color: Color, spread: int) -> Color:
    """Returns the color with each channel moved by up to `spread`, within 0..255."""
    shift = random.integers(-spread, spread + 1, 3)
    return tuple(int(min(255, max(0, channel + move))) for channel, move in zip(color, shift))


def shade(color: Color, tone: float) -> Color:
    """Returns the color under this share of the light."""
    return tuple(int(channel * tone) for channel in color)


def _cloth_color(random: np.random.Generator, *, neutral: float, denim: float) -> Color:
    """Returns the color of a cloth; `neutral` and `denim` are the shares of grays and blues among all clothes."""
    kind = random.random()
    if kind < neutral:
        return jitter(random, _NEUTRAL[random.integers(len(_NEUTRAL))], 8)
    if kind < neutral + denim:
        return jitter(random, _DENIM[random.integers(len(_DENIM))], 8)
    hue, saturation, value = random.random(), random.uniform(0.45, 0.95), random.uniform(0.35, 0.95)
    return tuple(int(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))


def _contrasting(random: np.random.Generator, color: Color) -> Color:
    """Returns a second cloth color unlike the first: the farthest of three draws."""
    draws = [_cloth_color(random, neutral=0.4, denim=0.05) for _ in range(3)]
    return max(draws, key=lambda other: sum(abs(a - b) for a, b in zip(color, other)))
