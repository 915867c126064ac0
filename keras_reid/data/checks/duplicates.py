"""Duplicate images: copies and near copies, and whether each is a wrong label, a leak into the test, or harmless."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.checks.findings import Finding
from keras_reid.data.counted import shared_keys

# Two thumbnails with at least this correlation are near copies. On Market-1501 no two images of different people reach
# 0.975. An image saved again at half the size or at JPEG quality 30 stays above 0.99; one cut by 2 of its 128 pixels on
# each side falls below 0.98 in two of three cases, a mirrored one always.
SIMILAR = 0.98

_SPLITS = ("train", "query", "gallery")
_CELLS_AT_ONCE = 2**25  # of the matrix of similarities: 128 MiB
_CANDIDATES_AT_ONCE = 20_000
_COARSE = 32  # dimensions that are enough to tell most pairs of thumbnails apart

# Kind -> level, what is the matter, and what to do; {what} is "a copy" or "a near copy".
_KINDS = {
    "several_people": (
        "warning",
        "images with {what} that is labeled as another identity: one of the two labels is wrong",
        "Look at each pair: give both the right person id, or move one away.",
    ),
    "train_and_test": (
        "warning",
        "training images with {what} in query or gallery, which makes scores too good",
        "Move one of the two away.",
    ),
    "query_and_gallery": (
        "warning",
        "queries with {what} in the gallery that counts as a match and is too easy to find",
        "Take it out of the gallery, or correct the camera ids: under the query's own camera it would not count.",
    ),
    "within_split": (
        "note",
        "images with {what} of the same identity under another name, which adds nothing",
        "Move them away.",
    ),
}


def find_copies(
    images: pd.DataFrame, fingerprints: np.ndarray, thumbnails: np.ndarray, *, ignore: str = "same_camera"
) -> list[Finding]:
    """Finds the same picture under several names: byte for byte, and as a near copy across splits or identities.

    An image with several near copies is named with the most similar one.

    Args:
        images: `[N]` rows of a catalog of the splits train, query and gallery, without junk.
        fingerprints: int64 `[N]`, of the files' bytes.
        thumbnails: uint8 `[N, h, w, 3]`, none of them blank.
        ignore: rule of the evaluation, which tells whether a copy of a query in the gallery counts.
    """
    order = np.argsort(images.split.map(_SPLITS.index).to_numpy(), kind="stable")  # the pairs go from train to gallery
    images, fingerprints = images.iloc[order].reset_index(drop=True), fingerprints[order]
    pairs = _Pairs(images, ignore)
    _, first, group = np.unique(fingerprints, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[group] != np.arange(len(group)))
    findings = pairs.findings("copies", "a copy", first[group[copies]], copies)

    vectors = _unit_vectors(thumbnails[order])
    found, rows = [np.empty((2, 0), np.int64)], np.sort(first)
    train, query, gallery = (rows[images.split.to_numpy()[rows] == name] for name in _SPLITS)
    # No test split is compared with itself: the gallery may hold half a million distractors.
    for left, right in ((train, np.concatenate([query, gallery])), (query, gallery), (train, train)):
        for rows, columns, similarity in _near(vectors, left, right):
            kept = pairs.kinds(rows, columns) != "within_split"
            found.append(_nearest(rows[kept], columns[kept], similarity[kept]))
    return findings + pairs.findings("near_copies", "a near copy", *np.concatenate(found, axis=1))


class _Pairs:
    """Pairs of images that show the same, as rows, the one of the earlier split first; and what that means."""

    def __init__(self, images: pd.DataFrame, ignore: str):
        self._images = images
        self._person, self._split = images.person_id.to_numpy(), images.split.to_numpy()
        self._keys = shared_keys(images, ignore)

    def kinds(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Returns a kind of `_KINDS` for each pair."""
        leak = (self._split[a] == "train") & (self._split[b] != "train")
        # A distractor of the gallery may well be a training identity: nobody searches for it.
        other = (self._person[a] != self._person[b]) & ~(leak & (self._person[b] == DISTRACTOR_ID))
        ignored = False if self._keys is None else self._keys[a] == self._keys[b]
        counted = (self._split[a] == "query") & (self._split[b] == "gallery") & np.logical_not(ignored)
        names = ["several_people", "train_and_test", "query_and_gallery"]
        return np.select([other, leak, counted], names, "within_split")

    def findings(self, prefix: str, what: str, a: np.ndarray, b: np.ndarray) -> list[Finding]:
        kinds, paths, found = self.kinds(a, b), self._images.image_path.to_numpy(), []
        for kind, (level, message, way_out) in _KINDS.items():
            of_kind = np.flatnonzero(kinds == kind)
            if len(of_kind):
                names = [(str(paths[a[pair]]), str(paths[b[pair]])) for pair in of_kind]
                message = f"{message.format(what=what)} ({len(names)} of {len(paths)})"
                found.append(Finding(f"{prefix}_{kind}", level, message, way_out, names, len(names) / len(paths)))
        return found


def _unit_vectors(thumbnails: np.ndarray) -> np.ndarray:
    """Returns float32 `[N, D]` whose products are correlations, which do not depend on brightness and contrast."""
    vectors = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _near(vectors: np.ndarray, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the similar pairs of left and right rows, without missing one: left rows, right rows, correlations.

    Vectors of length 1 with a correlation of at least c have a squared distance of at most 2 - 2 c, and a projection
    never enlarges it. So the few directions in which thumbnails differ most rule out most pairs.
    """
    if not (len(left) and len(right)):
        return
    sample = vectors[np.concatenate([left, right])][:: max(1, (len(left) + len(right)) // 5000)]
    directions = np.linalg.eigh(sample.T @ sample)[1][:, -_COARSE:]
    coarse = vectors @ directions
    half = np.square(coarse).sum(axis=1, keepdims=True) / 2
    one = np.ones_like(half)
    column_side = np.hstack([coarse, one, -half])[right].T
    rows_at_once = max(1, _CELLS_AT_ONCE // len(right))
    for start in tqdm(range(0, len(left), rows_at_once), desc="comparing images", delay=3, disable=None, leave=False):
        part = left[start : start + rows_at_once]
        minus_half_squared_distance = np.hstack([coarse, -half, one])[part] @ column_side
        candidates = np.flatnonzero(minus_half_squared_distance >= SIMILAR - 1 - 1e-5)  # float32 rounds
        for chunk in np.array_split(candidates, len(candidates) // _CANDIDATES_AT_ONCE + 1):
            rows, columns = part[chunk // len(right)], right[chunk % len(right)]
            similarity = np.einsum("nd,nd->n", vectors[rows], vectors[columns])
            kept = (similarity >= SIMILAR) & (rows < columns)
            yield rows[kept], columns[kept], similarity[kept]


def _nearest(rows: np.ndarray, columns: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Returns each row with its most similar column: `[2, n]`."""
    order = np.argsort(-similarity, kind="stable")
    _, first = np.unique(rows[order], return_index=True)
    return np.stack([rows[order][first], columns[order][first]])
