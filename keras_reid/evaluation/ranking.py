"""Retrieval evaluation: where the images of a query's identity stand in its ranked gallery; mAP, CMC and mINP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from keras_reid.data import counted
from keras_reid.data.catalog import JUNK_ID
from keras_reid.data.counted import Matches, People
from keras_reid.errors import ReidError
from keras_reid.evaluation.counting import match_ranks, ranks_in_matrix
from keras_reid.evaluation.inputs import check_positive, read_embeddings, read_people
from keras_reid.evaluation.results import RetrievalResult, score_ranks

BLOCK_BYTES = 64 << 20  # A block that leaves the cache costs little; a smaller one makes the matrix product slower.


def evaluate_retrieval(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    query_person_ids: Any,
    gallery_person_ids: Any,
    query_camera_ids: Any = None,
    gallery_camera_ids: Any = None,
    query_tracklet_ids: Any = None,
    gallery_tracklet_ids: Any = None,
    query_files: Any = None,
    gallery_files: Any = None,
    metric: str = "euclidean",
    ignore: str = "same_camera",
    missing_cameras: str = "refuse",
    ranks: int = 50,
    block_bytes: int = BLOCK_BYTES,
) -> RetrievalResult:
    """Ranks the gallery for each query and scores where the images of the same person stand: mAP, CMC and mINP.

    Market-1501's rules (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015): a gallery image
    with the query's person *and* camera is ignored; id -1 is junk and never counted; id 0 (Market's distractors) is an
    id like any other, so it is a wrong image for every query of another id. mINP is from Ye et al., "Deep Learning for
    Person Re-identification: A Survey and Outlook", arXiv 2001.04193.

    Ties: a wrong image at the same distance as a true match counts as closer, so that a collapsed network, which puts
    everything at one distance, gets the worst score and not a lucky one. True matches at equal distances take
    consecutive ranks. Two distances are equal when they differ by no more than the rounding error of a float64
    product, about 1e-13 of the squared lengths: an exact tie is never missed, whatever the block size.

    Args:
      query_embeddings: `[Q, D]`, an array or list of float16, float32, float64 or integers.
      gallery_embeddings: `[G, D]`, the same.
      query_person_ids: integers or strings `[Q]`. Strings are compared exactly; "-1" is junk as -1 is.
      gallery_person_ids: `[G]`, of the same kind.
      query_camera_ids: integers or strings `[Q]`, pandas NA or NaN where not known; read under
        `ignore="same_camera"` only.
      gallery_camera_ids: `[G]`, the same.
      query_tracklet_ids: integers or strings `[Q]`; read under `ignore="same_tracklet"` only.
      gallery_tracklet_ids: integers or strings `[G]`, the same.
      query_files: names of the image files `[Q]`; read under `ignore="same_file"` only.
      gallery_files: `[G]`, the same.
      metric: "euclidean" or "cosine".
      ignore: which gallery images of the query's person are left out of its ranking: "same_camera", the rule above;
        "same_tracklet", those of the query's own track; "same_file", the query itself, where the gallery holds it;
        "nothing", so that every image of the same person is a true match, the query's own file too.
      missing_cameras: what a camera that is not known means under "same_camera": "refuse", an error; "distinct", a
        camera of its own, so that nothing is ignored on its account; "leave_out": such a gallery image does not count
        and such a query is skipped.
      ranks: length of the CMC curve.
      block_bytes: about the size of one working block; a few of them are alive at a time.

    Returns:
      A `RetrievalResult`; a query without a valid match is in no mean and is listed in `skipped_queries`.

    Raises:
      ReidError: if inputs are empty, of different lengths or widths, NaN, infinite, or of zero length under "cosine";
        if ids are neither integers nor strings, or of two kinds; if an option is unknown; or if no query has a valid
        match.
    """
    check_positive("ranks", ranks)
    check_positive("block_bytes", block_bytes)
    query, gallery = read_embeddings(query_embeddings, gallery_embeddings, metric)
    people = read_people(
        len(query),
        len(gallery),
        query_person_ids=query_person_ids,
        gallery_person_ids=gallery_person_ids,
        query_camera_ids=query_camera_ids,
        gallery_camera_ids=gallery_camera_ids,
        query_tracklet_ids=query_tracklet_ids,
        gallery_tracklet_ids=gallery_tracklet_ids,
        query_files=query_files,
        gallery_files=gallery_files,
        ignore=ignore,
        missing_cameras=missing_cameras,
    )
    matches = find_matches(*people, ignore)
    found_at = match_ranks(query, gallery, matches, metric=metric, block_bytes=block_bytes)
    return score_ranks(matches, found_at, metric=metric, ignore=ignore, ranks=ranks)


def evaluate_distances(
    distances: np.ndarray, *, metric: str = "given", ignore: str = "same_camera", ranks: int = 50, **people: Any
) -> RetrievalResult:
    """Scores distances that are there already, such as those of `rerank`, as `evaluate_retrieval` scores embeddings.

    Args:
      distances: float `[Q, G]`, finite.
      metric: named in the result.
      ignore: as in `evaluate_retrieval`.
      ranks: length of the CMC curve.
      **people: ids of query and gallery and `missing_cameras`, as in `evaluate_retrieval`.

    Returns:
      A `RetrievalResult`; wrong images at exactly the distance of a true match count as closer.

    Raises:
      ReidError: as `evaluate_retrieval`.
    """
    check_positive("ranks", ranks)
    try:
        distances = np.asarray(distances)
    except ValueError as error:
        raise ReidError(f"distances: expected rows of one length, got {error}") from error
    if distances.ndim != 2 or distances.dtype.kind not in "fiu" or not distances.size:
        raise ReidError(f"distances are {distances.dtype} {list(distances.shape)}: expected numbers [queries, gallery]")
    distances = distances if distances.dtype.kind == "f" else distances.astype(np.float64)
    if not np.isfinite([distances.min(), distances.max()]).all():
        raise ReidError("distances hold NaN or inf: expected finite numbers. Look at the embeddings")
    matches = find_matches(*read_people(*distances.shape, ignore=ignore, **people), ignore)
    return score_ranks(matches, ranks_in_matrix(distances, matches), metric=metric, ignore=ignore, ranks=ranks)


class NoMatch(ReidError):
    """No query has a true match in the gallery."""

    def __init__(self, query: People, gallery: People, matches: Matches, ignore: str):
        super().__init__(_why_all_skipped(query, gallery, matches, ignore))
        self._query, self._gallery, self._rest = query, gallery, (matches, ignore)

    def named(self, query: dict[str, np.ndarray], gallery: dict[str, np.ndarray]) -> NoMatch:
        """Returns the error with `given_ids` and `given_keys` of both sides in place of their codes."""
        return NoMatch(self._query._replace(**query), self._gallery._replace(**gallery), *self._rest)


def find_matches(query: People, gallery: People, ignore: str) -> Matches:
    """Returns which gallery images count for which query; NoMatch, with the usual cause, where none has a match."""
    matches = counted.find_matches(query, gallery)
    if not len(matches.query):
        raise NoMatch(query, gallery, matches, ignore)
    return matches


def _why_all_skipped(query: People, gallery: People, matches: Matches, ignore: str) -> str:
    start = f"none of the {len(query.person_ids)} queries has a true match in the gallery (ignore={ignore!r}): "
    if not len(matches.order):
        junk, unknown = int((gallery.person_ids == JUNK_ID).sum()), int((~gallery.counted).sum())
        if unknown:
            return (
                f"{start}{unknown} of {len(gallery.person_ids)} gallery images have no camera id and are left out, "
                f"{junk} have id -1, junk. Use missing_cameras=distinct or ignore=nothing"
            )
        of_all = f"all {junk}" if junk == len(gallery.person_ids) else f"{junk} of {len(gallery.person_ids)}"
        return f"{start}{of_all} gallery images have id -1, junk. Check gallery_person_ids"
    if (matches.first == matches.last).all():
        return (
            f"{start}query ids {_examples(query.person_ids, query.given_ids)} and gallery ids "
            f"{_examples(gallery.person_ids, gallery.given_ids)} share no person. Check that both come from "
            "the same split and the same coding of names to ids"
        )
    if not query.counted.any():
        return f"{start}no query has a camera id. Use missing_cameras=distinct or ignore=nothing"
    key = counted.SHARED_NAME[ignore]
    of_query, of_gallery = (_examples(side.keys, side.given_keys) for side in (query, gallery))
    seen = f" (query cameras {of_query}, gallery cameras {of_gallery})"
    return (
        f"{start}every gallery image of a query's person has the query's {key} too, and such images are ignored. The "
        f"usual cause is one {key} for everything{seen if key == 'camera id' else ''}. Give real {key}s, or use "
        "ignore=nothing, or ignore=same_file where the gallery holds the queries themselves"
    )


def _examples(ids: np.ndarray, given: np.ndarray | None = None) -> str:
    """Returns the first few of some ids, as they were given."""
    given = ids if given is None else given
    distinct = np.unique(given[~pd.isna(given)])
    return ", ".join(str(value) for value in distinct[:5]) + (", ..." if len(distinct) > 5 else "")
