"""Patterns on a drawn pedestrian's top: they cover the canvas, and the caller cuts out the torso."""

from __future__ import annotations

from collections.abc import Iterator

from keras_reid.data.synthetic.brush import Brush


def paint_pattern(cloth: Brush) -> None:
    """Paints the look's pattern in its accent color over a torso in its first color."""
    for left, top, right, bottom in _rectangles(cloth, cloth.look.pattern, cloth.look.pattern_count):
        cloth.rectangle(left, top, right, bottom, cloth.look.top_accent)
    if cloth.look.pattern == "dots":
        step = 0.4 / cloth.look.pattern_count
        for row in range(int(0.6 / step)):
            for column in range(-3, 4):
                center = (column + 0.5 * (row % 2)) * step, 0.2 + row * step
                cloth.ellipse(center, 0.28 * step, 0.28 * step, cloth.look.top_accent)


def _rectangles(cloth: Brush, pattern: str, count: int) -> Iterator[tuple[float, float, float, float]]:
    """Yields left, top, right and bottom of each rectangle that a pattern is made of."""
    if pattern == "stripes":
        step = 0.18 / count
        for stripe in range(2 * count):
            top = 0.2 + 2 * step * stripe
            yield -0.3, top, 0.3, top + step
    elif pattern == "pinstripes":
        half = cloth.width(0.115, 0.06)
        step = 2 * half / count
        for stripe in range(count):
            left = -half + step * (stripe + 0.25)
            yield left, 0.1, left + step / 2, 0.75
    elif pattern == "checks":
        side = 0.3 / count
        for row in range(int(0.6 / side)):
            for column in range(-int(0.2 / side) - 1, int(0.2 / side) + 1):
                if (row + column) % 2:
                    x, y = column * side, 0.15 + row * side
                    yield x, y, x + side, y + side
    elif pattern == "logo":
        # On the chest for an even count, on the back for an odd one: from the other side the top is plain.
        front = 1 if count % 2 == 0 else -1
        if cloth.facing * front > -0.2:
            center, half = cloth.seen(0, 0.05 * front), 0.02 + 0.055 * max(0.0, cloth.facing * front)
            yield center - half, 0.24, center + half, 0.36
    elif pattern == "block":
        yield -0.3, 0.1, 0.3, 0.2 + 0.04 * count
    elif pattern == "sash":
        top = 0.22 + 0.03 * count
        yield -0.3, top, 0.3, top + 0.07
    elif pattern == "open" and cloth.facing > -0.2:
        center, half = cloth.seen(0, 0.07), 0.012 + 0.03 * max(0.0, cloth.facing)
        yield center - half, 0.1, center + half, 0.75
