"""Confused identities: likely label errors, one person under two names or an image under somebody else's.

The likeness of two images says how often true matches are farther apart: of those of the one image, and of those of the
other. It needs no threshold, and an image that is like few others is compared with its own matches. Two identities that
are one person have a mean likeness of one half; an image with the wrong name is like its true identity, not like the
one that it is labeled as.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from keras_reid.data.catalog import DISTRACTOR_ID
from keras_reid.data.ids import names_of
from keras_reid.data.regrouping import NOT_THE_SAME, SAME
from keras_reid.evaluation.blocks import threads
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.inputs import check_positive
from keras_reid.evaluation.pairs import Pairs
from keras_reid.evaluation.threshold_errors import Pair

MERGE, MOVE = "merge", "move"
_NEAREST = 64  # impostor images of each query that are compared; all others count as unlike
_DOUBT = 0.5  # pairs of likeness 0 that are added to those there are: one pair alone proves less than many
_OTHERS = 6  # true matches of anybody that are added to an image's own, which may be few
_NEARLY = 0.75  # where all images fit another identity nearly as well as the best of them, all are that person
_EVIDENCE = 4


class ConfusedIdentities(NamedTuple):
    """Two identities that are likely one person, or one of which likely holds images of the other."""

    first: Any  # person_id, as it came
    second: Any
    suggestion: str  # MERGE: both are one person; MOVE: the `moved` images of the first show the second
    score: float  # 0 to 1, about 0.5 for a label error: mean likeness, for MOVE of an image and less that to the first
    moved: tuple[tuple[str, int], ...]  # for MOVE: "query" or "gallery", and the row there; the most likely first
    evidence: tuple[Pair, ...]  # the nearest pairs of their images, for MOVE those of `moved`; a few


def confused_identities(embedded: Embedded, *, count: int = 20, **rules: str) -> list[ConfusedIdentities]:
    """Finds the pairs of identities that are most likely label errors.

    Args:
        embedded: query and gallery.
        count: how many pairs are returned at most.
        **rules: `ignore` and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
        The pairs, the most likely first. Distractors (id 0) and junk (id -1) are in none. Memory grows with the number
        of images, not with that of pairs of identities.

    Raises:
        ReidError: as `evaluate_retrieval`.
    """
    check_positive("count", count)
    pairs = embedded.pairs(**rules)
    likeness = _Likeness(pairs)
    moves = likeness.moves()
    found = pd.concat([likeness.merges().assign(suggestion=MERGE), moves.assign(suggestion=MOVE)], ignore_index=True)
    found["low"], found["high"] = found[["first", "second"]].min(axis=1), found[["first", "second"]].max(axis=1)
    found["best"] = found.groupby(["low", "high"]).score.transform("max")
    found = found[found.score >= found.best.where(found.suggestion == MOVE, _NEARLY * found.best)]
    found = found.sort_values(["best", "low", "high"], ascending=[False, True, True], kind="stable")
    names = pd.concat([names_of(frame, "person_id") for frame in (embedded.query, embedded.gallery)]).tolist()
    confused = []
    for one in found.drop_duplicates(["low", "high"]).head(count).itertuples():
        first, second = likeness.images_of(one.first), likeness.images_of(one.second)
        of_both = moves[(moves["first"] == one.first) & (moves["second"] == one.second)]
        of_both = of_both[of_both.score >= one.score / 2].sort_values("score", ascending=False, kind="stable")
        moved = of_both.image.tolist() if one.suggestion == MOVE else []
        confused.append(
            ConfusedIdentities(
                names[first[0]],
                names[second[0]],
                one.suggestion,
                float(one.best),
                tuple(likeness.side_and_row(image) for image in moved),
                likeness.nearest(moved or first, second),
            )
        )
    return confused


def suggested_corrections(embedded: Embedded, confused: ConfusedIdentities) -> list[tuple[str, str, str]]:
    """Returns the corrections that follow a suggestion: image_path, other_path and verdict of each.

    An image that moves is "the same" as one of the identity that it joins, and "not the same" as one that stays.
    """
    query, gallery, nearest = embedded.query, embedded.gallery, confused.evidence[0]
    pair = query.image_path.iloc[nearest.query], gallery.image_path.iloc[nearest.image]
    if confused.suggestion == MERGE:
        return [(*pair, SAME)]
    moved = [getattr(embedded, side).image_path.iloc[row] for side, row in confused.moved]
    joins = pair[0] if pair[1] in moved else pair[1]
    of_first = [frame.image_path[names_of(frame, "person_id") == confused.first] for frame in (query, gallery)]
    stay = [path for path in pd.concat(of_first) if path not in moved][:1]
    return [(joins, path, SAME) for path in moved] + [(one, path, NOT_THE_SAME) for one in stay for path in moved]


class _Likeness:
    """Likeness of queries to gallery images; both are numbered through as images, queries first.

    Identities are codes from 0.
    """

    def __init__(self, pairs: Pairs):
        self._pairs, matches = pairs, pairs.matches
        ids = np.concatenate([pairs.of_query.person_ids, pairs.of_gallery.person_ids])
        distinct, identity = np.unique(ids, return_inverse=True)
        self._is_person, self._identity = distinct > DISTRACTOR_ID, identity
        self._queries, counted = len(pairs.query), np.zeros(len(ids))
        counted[pairs.counted] = counted[self._queries + matches.order] = 1
        members = sparse.csr_matrix((counted, (np.arange(len(ids)), identity)), (len(ids), len(distinct)))
        self._members = members[: self._queries], members[self._queries :]
        self._sizes = tuple(np.asarray(side.sum(axis=0)).ravel() for side in self._members)
        self._true = _joined(list(pairs.genuine()))
        other = self._nearest_others()
        likeness = np.sqrt(np.prod([_shares(self._true, other, side) for side in (0, 1)], axis=0))
        rows = [np.concatenate(both) for both in zip(self._true[:2], other[:2])]
        self._likeness = sparse.csr_matrix((likeness, rows), (self._queries, len(pairs.gallery)))

    def merges(self) -> pd.DataFrame:
        """Returns the mean likeness of the images of two identities; the first is the one with fewer images."""
        query, gallery = self._members
        sums = (query.T @ self._likeness @ gallery).tocsr()
        sums = sparse.triu(sums + sums.T, 1).tocoo()
        a, b = sums.row, sums.col
        compared = self._sizes[0][a] * self._sizes[1][b] + self._sizes[0][b] * self._sizes[1][a]
        fewer = sum(self._sizes)[a] <= sum(self._sizes)[b]
        first, second = np.where(fewer, a, b), np.where(fewer, b, a)
        return self._people(first=first, second=second, score=sums.data / (compared + _DOUBT))

    def moves(self) -> pd.DataFrame:
        """Returns how much more each image is like another identity, the second, than like its own, the first.

        An image without a true match is like its own identity as far as one can tell: it moves with all others alone.
        """
        frames = []
        for side, likeness in enumerate((self._likeness, self._likeness.T)):
            start, others = side * self._queries, 1 - side
            sums = (likeness @ self._members[others]).tocoo()
            own = self._identity[start + sums.row]
            is_own = sums.col == own
            fit = np.zeros(likeness.shape[0])
            fit[sums.row[is_own]] = sums.data[is_own]
            matches = np.bincount(self._true[side], minlength=len(fit))
            fit = np.where(matches, fit / (matches + _DOUBT), np.inf)
            score = sums.data / (self._sizes[others][sums.col] + _DOUBT) - fit[sums.row]
            frame = self._people(first=own, second=sums.col, score=score, image=start + sums.row)
            frames.append(frame[frame["first"] != frame["second"]])
        return pd.concat(frames, ignore_index=True)

    def images_of(self, identity: int) -> np.ndarray:
        return np.flatnonzero(self._identity == identity)

    def side_and_row(self, image: int) -> tuple[str, int]:
        return ("query", image) if image < self._queries else ("gallery", image - self._queries)

    def nearest(self, some: np.ndarray | list[int], others: np.ndarray) -> tuple[Pair, ...]:
        """Returns the nearest pairs of a query and a gallery image, one of `some` and one of `others`."""
        found = []
        for queries, images in ((np.asarray(some), others), (others, np.asarray(some))):
            queries, images = queries[queries < self._queries], images[images >= self._queries] - self._queries
            among = self._likeness[queries][:, images].tocoo()
            found.append((queries[among.row], images[among.col]))
        queries, images = (np.concatenate(both) for both in zip(*found))
        distances = self._pairs.distances(self._pairs.squared(queries, images))
        order = np.lexsort((images, queries, distances))[:_EVIDENCE]
        return tuple(Pair(int(queries[one]), int(images[one]), float(distances[one])) for one in order)

    def _people(self, **columns: np.ndarray) -> pd.DataFrame:
        """Returns a frame of pairs of people, without those that are less like each other than their own."""
        frame = pd.DataFrame(columns)
        return frame[self._is_person[frame["first"]] & self._is_person[frame["second"]] & (frame.score > 0)]

    def _nearest_others(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns queries, gallery images and squared distances of the nearest impostor pairs of each query."""
        nearest = np.full((self._queries, 0), 0), np.full((self._queries, 0), np.inf)
        with threads() as pool:
            for images, squared in pool.map(self._nearest_in, self._pairs.impostor_parts()):
                nearest = _nearest_columns(*(np.concatenate(both, axis=1) for both in zip(nearest, (images, squared))))
        images, squared = nearest
        queries, places = np.nonzero(squared <= self._true[2].max())  # no true match is farther
        return queries, images[queries, places], squared[queries, places]

    def _nearest_in(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the nearest gallery images of a part, and their squared distances, `[Q, n]` each."""
        width = min(_NEAREST, part.stop - part.start)
        images, squared = np.zeros((self._queries, width), np.int64), np.full((self._queries, width), np.inf)
        for queries, found, distances in self._pairs.impostor(part):
            images[queries], squared[queries] = _nearest_columns(np.broadcast_to(found, distances.shape), distances)
        return images, squared


def _nearest_columns(images: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest images of each row, and their squared distances."""
    if squared.shape[1] > _NEAREST:
        nearest = np.argpartition(squared, _NEAREST - 1, axis=1)[:, :_NEAREST]
        images, squared = (np.take_along_axis(both, nearest, axis=1) for both in (images, squared))
    return images, squared


def _joined(blocks: list[tuple]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(part) for part in zip(*blocks))


def _shares(true: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...], side: int) -> np.ndarray:
    """Returns which share of an image's true matches is not nearer than each pair, of `true` and then of `other`.

    Args:
        true: queries, gallery images and squared distances of all true matches, `[M]` each.
        other: the same of impostor pairs, `[N]` each.
        side: 0 where the image is the query, 1 where it is the gallery image.

    Returns:
        float64 `[M + N]`. A true match is compared with the others alone.
    """
    anchor, squared = (np.concatenate([true[part], other[part]]) for part in (side, 2))
    is_true = np.arange(len(anchor)) < len(true[2])
    everybody = np.sort(true[2])
    share = 1 - np.searchsorted(everybody, squared, side="left") / len(everybody)
    # Sorted by image and distance, others first at equal ones, the true matches so far are the nearer ones.
    order = np.lexsort((is_true, squared, anchor))
    so_far = np.cumsum(is_true[order])
    starts = np.flatnonzero(np.diff(anchor[order], prepend=-1))
    before = np.repeat(so_far[starts] - is_true[order][starts], np.diff(starts, append=len(order)))
    nearer = np.empty(len(order), np.int64)
    nearer[order] = so_far - is_true[order] - before
    matches = np.bincount(true[side], minlength=anchor.max() + 1)[anchor]
    farther = matches - nearer - is_true
    return (farther + _OTHERS * share) / (matches - is_true + _OTHERS)
