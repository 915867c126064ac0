"""Random streams: a generator for each thing that is drawn, so that none depends on which others are drawn."""

from __future__ import annotations

import enum

import numpy as np


class Kind(enum.IntEnum):
    """What a stream draws: identity 3 and camera 3 have streams of their own, and so have a video's people."""

    IDENTITY = 0
    CAMERA = 1
    PICTURE = 2
    WALK = 3
    VIDEO_PERSON = 4
    VIDEO_CAMERA = 5
    VIDEO_WALKS = 6
    VIDEO_NOISE = 7
    VIDEO_TRACKER = 8


def stream(seed: int, kind: Kind, *numbers: int) -> np.random.Generator:
    """Returns the generator of one thing, by its kind and its numbers from -1."""
    return np.random.default_rng((seed, int(kind), *(number + 1 for number in numbers)))
