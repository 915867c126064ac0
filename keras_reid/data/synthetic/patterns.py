"""Patterns on a drawn pedestrian's top: each function covers the canvas, and the caller cuts out the torso."""

from __future__ import annotations

from keras_reid.data.synthetic.brush import Brush


def paint_pattern(cloth: Brush) -> None:
    """Paints the look's pattern in its accent color over a torso in its first color."""
    if cloth.look.pattern != "plain":
        _PAINT[cloth.look.pattern](cloth)


def _paint_stripes(cloth: Brush) -> None:
    step = 0.18 / cloth.look.pattern_count
    for stripe in range(2 * cloth.look.pattern_count):
        top = 0.2 + 2 * step * stripe
        cloth.rectangle(-0.3, top, 0.3, top + step, cloth.look.top_accent)


def _paint_pinstripes(cloth: Brush) -> None:
    half = cloth.width(0.115, 0.06)
    step = 2 * half / cloth.look.pattern_count
    for stripe in range(cloth.look.pattern_count):
        left = -half + step * (stripe + 0.25)
        cloth.rectangle(left, 0.1, left + step / 2, 0.75, cloth.look.top_accent)


def _paint_checks(cloth: Brush) -> None:
    side = 0.3 / cloth.look.pattern_count
    for row in range(int(0.6 / side)):
        for column in range(-int(0.2 / side) - 1, int(0.2 / side) + 1):
            if (row + column) % 2:
                x, y = column * side, 0.15 + row * side
                cloth.rectangle(x, y, x + side, y + side, cloth.look.top_accent)


def _paint_dots(cloth: Brush) -> None:
    step = 0.4 / cloth.look.pattern_count
    for row in range(int(0.6 / step)):
        for column in range(-3, 4):
            center = (column + 0.5 * (row % 2)) * step, 0.2 + row * step
            cloth.ellipse(center, 0.28 * step, 0.28 * step, cloth.look.top_accent)


def _paint_logo(cloth: Brush) -> None:
    # On the chest for an even count, on the back for an odd one: from the other side the top is plain.
    front = 1 if cloth.look.pattern_count % 2 == 0 else -1
    if cloth.facing * front > -0.2:
        center, half = cloth.seen(0, 0.05 * front), 0.02 + 0.055 * max(0.0, cloth.facing * front)
        cloth.rectangle(center - half, 0.24, center + half, 0.36, cloth.look.top_accent)


def _paint_block(cloth: Brush) -> None:
    cloth.rectangle(-0.3, 0.1, 0.3, 0.2 + 0.04 * cloth.look.pattern_count, cloth.look.top_accent)


def _paint_sash(cloth: Brush) -> None:
    top = 0.22 + 0.03 * cloth.look.pattern_count
    cloth.rectangle(-0.3, top, 0.3, top + 0.07, cloth.look.top_accent)


def _paint_open_jacket(cloth: Brush) -> None:
    if cloth.facing > -0.2:
        center, half = cloth.seen(0, 0.07), 0.012 + 0.03 * max(0.0, cloth.facing)
        cloth.rectangle(center - half, 0.1, center + half, 0.75, cloth.look.top_accent)


_PAINT = {
    "stripes": _paint_stripes,
    "pinstripes": _paint_pinstripes,
    "checks": _paint_checks,
    "dots": _paint_dots,
    "logo": _paint_logo,
    "block": _paint_block,
    "sash": _paint_sash,
    "open": _paint_open_jacket,
}
