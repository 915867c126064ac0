"""Walks of a synthetic video: who is before which camera when, where they stand in each frame, and in which pose."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_reid.data.synthetic.looks import Pose
from keras_reid.data.synthetic.views import View

_CYCLE = 1.35  # meters of two steps
_RETURNS = 0.35  # share of ways that people walk once more, later and mostly backwards
_STANDS = 0.25  # share of walks in which somebody stops for a while


@dataclasses.dataclass(frozen=True)
class Walk:
    """A person's walk through one camera's view.

    Attributes:
        person: from 1.
        camera: from 0.
        number: of the person's walks, from 0.
        start: of the first point, seconds from the beginning of the scene.
        points: `[T, 2]`, meters on the ground (x, z), one a frame.
        poses: one a frame.
    """

    person: int
    camera: int
    number: int
    start: float
    points: np.ndarray
    poses: list[Pose]


def draw_walks(
    views: Sequence[View], person: int, seconds: float, fps: float, random: np.random.Generator
) -> list[Walk]:
    """Draws a person's walks before all cameras: one after the other, and perhaps back again.

    Neighboring cameras are so many seconds apart as `_travel_time` says, give or take a fifth.
    """
    walks, moment = [], random.uniform(0, max(seconds - 20, 0.4 * seconds))
    forward = random.random() < 0.5
    while moment < seconds:
        route = _draw_route(len(views), forward, random)
        for before, camera in zip([None, *route], route):
            if before is not None:
                moment += _travel_time(before, camera) * random.uniform(0.8, 1.2)
            walk = _draw_walk(views[camera], (person, camera, len(walks)), moment, fps, random)
            walks.append(walk)
            moment += len(walk.points) / fps
        if random.random() > _RETURNS:
            break
        moment += random.uniform(6, 20)
        forward = forward if random.random() < 0.2 else not forward
    return [walk for walk in walks if walk.start < seconds]


def _draw_route(cameras: int, forward: bool, random: np.random.Generator) -> list[int]:
    """Returns the cameras that a person passes: mostly all of the street, sometimes not its first or last one."""
    first = int(cameras > 2 and random.random() < 0.2)
    last = cameras - int(cameras > 2 and random.random() < 0.2)
    route = list(range(first, max(last, first + 1)))
    return route if forward else route[::-1]


def _travel_time(before: int, after: int) -> float:
    """Returns the usual seconds between leaving one camera's view and entering the next one's."""
    return 2.5 + 1.7 * (min(before, after) % 4)


def _draw_walk(view: View, names: tuple[int, int, int], start: float, fps: float, random: np.random.Generator) -> Walk:
    way = _draw_way(view, random)
    steps = np.hypot(*np.diff(way, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    speed = random.uniform(1.1, 1.6)
    times = along / speed
    if random.random() < _STANDS:  # somewhere in the middle
        where = int(len(times) * random.uniform(0.35, 0.65))
        times[where:] += random.uniform(1.0, 2.5)
    moments = np.arange(0, times[-1], 1 / fps)
    distance = np.interp(moments, times, along)
    points = np.stack([np.interp(distance, along, way[:, axis]) for axis in (0, 1)], axis=1)
    directions = np.stack([np.interp(distance, along, np.gradient(way[:, axis])) for axis in (0, 1)], axis=1)
    pace = np.gradient(distance) * fps / speed if len(distance) > 1 else np.zeros(len(distance))
    return Walk(*names, start, points, _poses(points, directions, distance, pace, random))


def _draw_way(view: View, random: np.random.Generator) -> np.ndarray:
    """Returns a curve on the ground, `[N, 2]`, from out of sight to out of sight, mostly from side to side."""
    side = float(random.choice((-1, 1)))
    depths = random.uniform(view.near, view.far, 3)
    other = side if random.random() < 0.12 else -side  # some turn round and leave where they came from
    ends = np.array([[side * view.half_width(depths[0]), depths[0]], [other * view.half_width(depths[2]), depths[2]]])
    turn = np.array([random.uniform(-0.5, 0.5) * view.half_width(depths[1]), depths[1]])
    share = np.linspace(0, 1, 200)[:, None]
    return (1 - share) ** 2 * ends[0] + 2 * share * (1 - share) * turn + share**2 * ends[1]


def _poses(points, directions, distance, pace, random: np.random.Generator) -> list[Pose]:
    """Returns a pose a frame; the heading is towards the camera's eye, which sees people at the side from the side."""
    sight = np.arctan2(points[:, 0], points[:, 1])
    away = directions[:, 0] * np.sin(sight) + directions[:, 1] * np.cos(sight)
    right = directions[:, 0] * np.cos(sight) - directions[:, 1] * np.sin(sight)
    headings = np.arctan2(right, -away)
    phases = random.uniform(0, 2 * math.pi) + 2 * math.pi * distance / _CYCLE
    strides = 0.06 + random.uniform(0.26, 0.4) * np.clip(pace, 0, 1)
    lean = random.normal(0, 0.02)
    return [Pose(float(h), float(p), float(s), float(lean)) for h, p, s in zip(headings, phases, strides)]
