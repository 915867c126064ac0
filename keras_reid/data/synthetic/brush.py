"""Brush of a drawn pedestrian: the few shapes that it is made of, and the pixels of its body's points.

Lengths are in body heights: x to the person's right, y from the crown (0) down to the soles (1), z ahead of the chest.
`seen` turns the body about its spine and gives the position across the picture; shapes take such (across, y) points.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from keras_reid.data.synthetic.looks import Color, Look, Pose, shade

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Place of the body on the canvas: middle, crown and body height in pixels, tilt in radians, and extra width."""

    center_x: float
    top_y: float
    scale: float
    tilt: float
    stretch: float


class Brush:
    """Transparent RGBA canvas in body coordinates."""

    def __init__(self, size: tuple[int, int], look: Look, pose: Pose, placement: Placement):
        """Args: size (height, width) in pixels, the person's look, pose and placement."""
        self.size, self.look, self.pose, self.placement = size, look, pose, placement
        self.image = Image.new("RGBA", (size[1], size[0]))
        self.facing, self.sideways = math.cos(pose.heading), math.sin(pose.heading)
        self._draw = ImageDraw.Draw(self.image)
        self._scale = placement.scale * look.height
        # Short people stand on the same ground as tall ones.
        self._top = placement.top_y + placement.scale * (1 - look.height)
        angle = placement.tilt + pose.lean
        self._cos, self._sin = math.cos(angle), math.sin(angle)

    def seen(self, x: float, z: float) -> float:
        """Returns how far right of the spine the viewer sees a point x to the person's right and z ahead."""
        return z * self.sideways - x * self.facing

    def width(self, across: float, deep: float) -> float:
        """Returns half the visible width of a body with these half widths from the front and from the side."""
        return self.look.girth * math.hypot(across * self.facing, deep * self.sideways)

    def is_far(self, side: int) -> bool:
        """Whether this side of the body (1 right, -1 left) is turned away from the viewer."""
        return side * self.sideways < -0.3

    def pixel(self, point: Point) -> Point:
        """Returns the pixel of a body point; lean and tilt turn the body about its soles."""
        x, up = point[0], 1 - point[1]
        across = (x * self._cos + up * self._sin) * self._scale * self.placement.stretch
        return self.placement.center_x + across, self._top + (1 - up * self._cos + x * self._sin) * self._scale

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        self._draw.polygon([self.pixel(point) for point in points], fill=color)

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), color)

    def ellipse(self, center: Point, half_width: float, half_height: float, color: Color) -> None:
        x, y = self.pixel(center)
        across, down = half_width * self._scale * self.placement.stretch, half_height * self._scale
        self._draw.ellipse((x - across, y - down, x + across, y + down), fill=color)

    def limb(self, points: Sequence[Point], radii: Sequence[float], colors: Sequence[Color]) -> None:
        """Draws a tapered tube through the points, one color for each piece, with shaded edges."""
        for share, tone in ((1.0, 0.85), (0.6, 1.0)):
            for index, color in enumerate(colors):
                ends = [(points[i], radii[i] * share) for i in (index, index + 1)]
                self._tube(*ends, shade(color, tone))

    def _tube(self, start: tuple[Point, float], end: tuple[Point, float], color: Color) -> None:
        (x0, y0), (x1, y1) = start[0], end[0]
        length = math.hypot(x1 - x0, y1 - y0)
        for point, radius in (start, end):
            self.ellipse(point, radius, radius, color)
        if length > 0:
            along_x, along_y = (y1 - y0) / length, (x0 - x1) / length
            corners = ((start, 1), (end, 1), (end, -1), (start, -1))
            self.polygon([(p[0] + s * r * along_x, p[1] + s * r * along_y) for (p, r), s in corners], color)
