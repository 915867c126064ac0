"""Cutting: one pass over the pictures of a recording, forward; of each slot of a track the best crop comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_reid.tracks.crops import cut, sharpness


class Crop(NamedTuple):
    """A person cut out of a picture."""

    track: str
    frame: int
    quality: float  # 0 to 1
    pixels: np.ndarray  # uint8 [height, width, 3] RGB


def cut_crops(
    pictures: Iterable[tuple[int, np.ndarray]], boxes: pd.DataFrame, chosen: pd.DataFrame, image_size: tuple[int, int]
) -> Iterator[tuple[int, list[Crop]]]:
    """Yields, after each picture, its number and the crops that are decided by then.

    It keeps one crop for each slot that is open at a time: memory does not grow with the length of a recording.

    Args:
        pictures: number and uint8 `[H, W, 3]` RGB, by rising numbers; those that are missing do not come.
        boxes: `[N]` rows: x, y, width, height.
        chosen: what `choose_boxes` chose of them.
        image_size: (height, width) that the network resizes crops to.
    """
    places, numbers = boxes[["x", "y", "width", "height"]].to_numpy(np.float64), chosen.frame.to_numpy()
    rows, qualities = chosen.row.to_numpy(), chosen.quality.to_numpy()
    slots = list(zip(chosen.track, chosen.slot))
    ends = chosen.groupby(["track", "slot"], sort=False).frame.max().sort_values(kind="stable")
    waiting, best = list(zip(ends.index, ends.tolist()))[::-1], {}
    for number, picture in pictures:
        first, last = np.searchsorted(numbers, [number, number + 1])
        for one in range(first, last):
            pixels = cut(picture, places[rows[one]])
            if pixels is not None:
                crop = Crop(slots[one][0], int(number), qualities[one] * sharpness(pixels, image_size), pixels)
                best[slots[one]] = max(best.get(slots[one], crop), crop, key=lambda crop: crop.quality)
        decided = []
        while waiting and waiting[-1][1] <= number:
            decided.append(best.pop(waiting.pop()[0], None))
        yield int(number), [crop for crop in decided if crop is not None]
    if best:  # the pictures ended early
        yield int(numbers[-1]), sorted(best.values(), key=lambda crop: crop.frame)
