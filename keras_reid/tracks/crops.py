"""Crops of a track: which of its boxes are worth an embedding, and the pixels of each.

A track's time is cut into equal slots, a crop each, so that the crops differ. In a slot a few boxes are chosen by what
the boxes alone tell, and of these the crop is kept that is best with its sharpness, too.
"""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np
import pandas as pd
from PIL import Image

from keras_reid.data.boxes import cut_to_box

_TRIES = 3  # boxes of a slot that are cut out and compared
_WORST = 0.25  # of the quality of a track's best box: a slot with nothing better stays empty
_ASPECT = 0.41  # width / height of a standing person; Dollár et al., Pedestrian Detection, 2012, section 3.1
_BORDER = 2  # pixels: trackers round, and clip boxes to the picture
_CUT = 0.5  # what a box at the picture's border is worth: nobody knows how much of the person lies outside
_LEAST = 1e-6  # of a box with anything in it: a track of poor boxes is better than none
_SHARP = 100.0  # variance of the Laplacian at which a crop is half as good as it can be, of gray levels 0 to 255


@np.errstate(over="ignore", invalid="ignore")  # boxes of numbers that no picture has
def box_quality(boxes: pd.DataFrame, *, picture_size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """Returns how much each box promises, before its pixels are seen: 0 to 1, and 0 for what is outside the picture.

    The product of: confidence; pixels, up to what the network looks at; shape, beside a standing person's; share inside
    the picture, halved where the box ends at its border; and share that no other box covers.

    Args:
        boxes: `[N]` rows sorted by frame: frame, x, y, width, height in pixels, confidence.
        picture_size: (height, width) of the pictures.
        image_size: (height, width) that the network resizes crops to.

    Returns:
        float64 `[N]`.
    """
    left, top, right, bottom = corners(boxes)
    visible_width = np.minimum(right, picture_size[1]) - np.maximum(left, 0)
    visible_height = np.minimum(bottom, picture_size[0]) - np.maximum(top, 0)
    is_seen = (visible_width >= 1) & (visible_height >= 1)
    inside = visible_width * visible_height / (boxes.width * boxes.height).to_numpy()
    at_border = (left < _BORDER) | (top < _BORDER)
    at_border |= (right > picture_size[1] - _BORDER) | (bottom > picture_size[0] - _BORDER)
    pixels = np.minimum(visible_height / image_size[0], visible_width / image_size[1]).clip(0, 1)
    aspect = (boxes.width / boxes.height / _ASPECT).to_numpy()
    confidence = boxes.confidence.fillna(1).clip(0, 1).to_numpy()
    quality = confidence * pixels * np.minimum(aspect, 1 / aspect) * inside * np.where(at_border, _CUT, 1)
    return np.where(is_seen, np.maximum(quality * (1 - covered(boxes)), _LEAST), 0)


def covered(boxes: pd.DataFrame) -> np.ndarray:
    """Returns the largest share of each box that one other box of its frame covers, float64 `[N]`.

    Args:
        boxes: `[N]` rows sorted by frame.
    """
    left, top, right, bottom = corners(boxes)
    frame, area, share = boxes.frame.to_numpy(), (right - left) * (bottom - top), np.zeros(len(boxes))
    for shift in range(1, len(boxes)):
        one = np.flatnonzero(frame[shift:] == frame[:-shift])
        if not len(one):  # nor has any frame a box that is farther away in the table
            break
        other = one + shift
        width = np.minimum(right[one], right[other]) - np.maximum(left[one], left[other])
        height = np.minimum(bottom[one], bottom[other]) - np.maximum(top[one], top[other])
        common = width.clip(0) * height.clip(0)
        for rows in (one, other):
            share[rows] = np.fmax(share[rows], common / area[rows])
    return share.clip(0, 1)


def corners(boxes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns left, top, right and bottom of boxes, float64 `[N]` each."""
    left, top, width, height = (boxes[name].to_numpy(np.float64) for name in ("x", "y", "width", "height"))
    return left, top, left + width, top + height


def choose_boxes(boxes: pd.DataFrame, quality: np.ndarray, *, crops_per_track: int) -> pd.DataFrame:
    """Returns the boxes that are cut out: in each slot of a track's time the best of each third.

    Args:
        boxes: `[N]` rows: track, frame.
        quality: float `[N]`, 0 for what cannot be cut out.
        crops_per_track: slots of each track.

    Returns:
        Rows sorted by frame: row (in `boxes`), frame, track, slot (0 to crops_per_track - 1), quality.
    """
    table = pd.DataFrame(
        {"row": np.arange(len(boxes)), "frame": boxes.frame.to_numpy(), "track": boxes.track.to_numpy()}
    )
    table["quality"] = quality
    table = table[(table.quality > 0) & (table.quality >= _WORST * table.groupby("track").quality.transform("max"))]
    frames = table.groupby("track").frame
    since, length = table.frame - frames.transform("min"), frames.transform("max") - frames.transform("min") + 1
    table["third"] = since * (crops_per_track * _TRIES) // length
    table = table.sort_values(["quality", "frame"], ascending=[False, True], kind="stable")
    table = table.drop_duplicates(["track", "third"]).sort_values("frame", kind="stable")
    return table.assign(slot=table.third // _TRIES)[["row", "frame", "track", "slot", "quality"]].reset_index(drop=True)


def cut(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """Returns what a box, left, top, width and height, touches of a picture, uint8 `[H, W, 3]`; None outside."""
    left, top = map(math.floor, box[:2])
    right, bottom = (math.ceil(start + length) for start, length in zip(box[:2], box[2:]))
    crop = cut_to_box(picture, (left, top, right - left, bottom - top))
    return crop.copy() if crop.size else None  # a view would keep the whole picture


def sharpness(crop: np.ndarray, image_size: tuple[int, int]) -> float:
    """Returns how sharp a crop is at the size that the network sees, 0 to 1: by the variance of its Laplacian.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, 2000: LAP4 with variance.
    """
    gray = np.asarray(
        Image.fromarray(crop).convert("L").resize(image_size[::-1], Image.Resampling.BILINEAR), np.float32
    )
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    variance = float(laplacian.var())
    return variance / (variance + _SHARP)


def safe_name(text: str) -> str:
    """Returns a name of a camera or track for its files; another text gets another name."""
    clean = re.sub(r"[^A-Za-z0-9.+_-]|^\.", "_", text)[:60]
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()
    return clean if clean == text != "" else f"{clean}-{digest}"
