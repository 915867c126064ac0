"""K-reciprocal re-ranking: distances by shared neighbors; and average query expansion.

Re-ranking sees N = Q + G images but few neighbors of each, so everything between the embeddings and the result is
sparse: memory grows with N, and with Q * G only for the result.
"""

from __future__ import annotations

import functools
import numbers
from typing import Any

import numpy as np
from scipy import sparse

from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices, squared_lengths, threads
from keras_reid.evaluation.inputs import check_positive, read_embeddings
from keras_reid.evaluation.neighbors import BLOCK_BYTES, nearest_neighbors, progress_bar, squared_distances
from keras_reid.evaluation.products import centered, have_unit_length, products_with, unit_rows, with_squares

CANCELLED = 1e-6  # Length of a mean of unit vectors below which its direction is rounding error.
BYTES_PER_PAIR = 16  # A value, an index, and the same once more while rows are put together.


def rerank(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    metric: str = "euclidean",
    block_bytes: int = BLOCK_BYTES,
) -> np.ndarray:
    """Returns distances that are small for images with the same neighbors: k-reciprocal encoding.

    Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, with what the authors'
    program adds to the paper. Over all N = Q + G images, queries first:

    1. d(i, j) is the squared Euclidean distance divided by the largest of row i.
    2. R(i, k) are those of the k + 1 images nearest to i, i itself being the first, that have i among theirs.
    3. R*(i) is R(i, k1) and each R(c, k1 / 2) of a member c that has more than two thirds of itself in R(i, k1); k1 / 2
       is rounded, a half to the even number.
    4. V(i) weighs the members j of R*(i) by exp(-d(i, j)), the sum being 1; then V(i) becomes the mean of V over the k2
       images nearest to i.
    5. The Jaccard distance is 1 - sum min(V(q), V(g)) / sum max(V(q), V(g)), and the result
       (1 - lambda_value) * Jaccard + lambda_value * d(q, g).

    Neighbors are those that float64 gives; at equal distance the image with the lower index comes first. So where more
    than k1 images coincide, as from a collapsed network, the order of the images decides which are neighbors.
    The distances of one query depend on the other queries too.

    Args:
      query_embeddings: `[Q, D]`, an array or list of float16, float32, float64 or integers.
      gallery_embeddings: `[G, D]`, the same.
      k1: size of the neighborhoods; with N images or more, everything is everybody's neighbor.
      k2: over how many images V is averaged, the image itself included; 1 averages nothing.
      lambda_value: share of the original distance, 0 to 1.
      metric: "euclidean", or "cosine": the same on embeddings scaled to unit length.
      block_bytes: size of one working block; a few are alive at a time, besides the result.

    Returns:
      float32 `[Q, G]`, from 0 to 1.

    Raises:
      ReidError: if inputs are empty, of different widths, NaN, infinite, or of zero length under "cosine"; or if an
        option is unknown or out of its range.
    """
    check_positive("k1", k1)
    check_positive("k2", k2)
    if isinstance(lambda_value, bool) or not isinstance(lambda_value, numbers.Real) or not 0 <= lambda_value <= 1:
        raise ReidError(
            f"lambda_value={lambda_value!r}: expected a number from 0 to 1, the share of the original distance"
        )
    query, gallery = _read_sides(query_embeddings, gallery_embeddings, metric, block_bytes)
    images = np.concatenate([query, gallery])
    query, gallery = images[: len(query)], images[len(query) :]
    # `around`, as the authors: a half goes to the even number, so that 5 gives 2 and 7 gives 4.
    sizes = [min(size, len(images)) for size in (k1 + 1, int(np.around(k1 / 2)) + 1, k2)]
    found = nearest_neighbors(images, images, max(sizes), block_bytes=block_bytes, description="re-ranking: neighbors")
    lists = _itself_first(found.indices)
    largest = np.where(found.largest > 0, found.largest, 1)  # Where all images are one point, every distance is 0.
    weights = _weights(images, largest, lists[:, : sizes[0]], lists[:, : sizes[1]], block_bytes)
    if k2 > 1:
        weights = _as_matrix(lists[:, : sizes[2]]) @ weights
        weights.data /= sizes[2]
    distances = _original_distances(query, gallery, largest[: len(query)], lambda_value, block_bytes)
    _add_jaccard(distances, weights, 1 - lambda_value, block_bytes)
    return distances


def expand_queries(
    query_embeddings: Any,
    gallery_embeddings: Any,
    *,
    neighbors: int = 5,
    metric: str = "euclidean",
    block_bytes: int = BLOCK_BYTES,
) -> np.ndarray:
    """Returns each query averaged with its nearest gallery embeddings: average query expansion.

    Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for Object Retrieval",
    ICCV 2007. The mean is scaled to unit length where lengths mean nothing: under "cosine", which averages embeddings
    of unit length, and when all embeddings, queries and gallery, have unit length to within 1e-3. A query that its
    neighbors cancel to zero, so that the mean has no direction, stays as it is.

    Args:
      query_embeddings: `[Q, D]`, an array or list of float16, float32, float64 or integers.
      gallery_embeddings: `[G, D]`, the same.
      neighbors: how many gallery embeddings to average with the query; all of them if the gallery holds fewer.
      metric: by which they are nearest, "euclidean" or "cosine".
      block_bytes: size of one working block.

    Returns:
      float32 `[Q, D]`, to be ranked like queries.

    Raises:
      ReidError: as `rerank`.
    """
    check_positive("neighbors", neighbors)
    query, gallery = _read_sides(query_embeddings, gallery_embeddings, metric, block_bytes)
    count = min(neighbors, len(gallery))
    nearest = nearest_neighbors(
        query, gallery, count, block_bytes=block_bytes, description="query expansion: neighbors"
    ).indices
    of_unit_length = metric == "cosine" or have_unit_length(query) and have_unit_length(gallery)
    expanded = np.empty(query.shape, np.float32)
    for part in slices(len(query), block_bytes // (8 * (count + 1) * query.shape[1])):
        mean = (query[part] + gallery[nearest[part]].sum(axis=1, dtype=np.float64)) / (count + 1)
        if of_unit_length:
            lengths = np.sqrt(squared_lengths(mean))[:, None]
            mean = np.where(lengths > CANCELLED, mean / np.maximum(lengths, CANCELLED), query[part])
        expanded[part] = mean
    return expanded


def _read_sides(query: Any, gallery: Any, metric: str, block_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings whose Euclidean distance counts, checked."""
    check_positive("block_bytes", block_bytes)
    query, gallery = read_embeddings(query, gallery, metric)
    return (unit_rows(query), unit_rows(gallery)) if metric == "cosine" else (query, gallery)


# --- Who is whose neighbor ---


def _itself_first(indices: np.ndarray) -> np.ndarray:
    """Moves each image to the head of its own list; where copies of lower index crowd it out, the last one leaves."""
    itself = indices == np.arange(len(indices))[:, None]
    itself[~itself.any(axis=1), -1] = True
    lists = np.take_along_axis(indices, np.argsort(~itself, axis=1, kind="stable"), axis=1)
    lists[:, 0] = np.arange(len(indices))
    return lists


def _as_matrix(lists: np.ndarray) -> sparse.csr_matrix:
    """Returns a sparse float32 `[N, N]` with a one in row i for each index in list i."""
    images, size = lists.shape
    ones = np.ones(lists.size, np.float32)
    return sparse.csr_matrix((ones, lists.ravel(), np.arange(0, lists.size + 1, size)), shape=(images, images))


def _reciprocal(lists: np.ndarray) -> sparse.csr_matrix:
    """Returns a one in row i, column j where i and j are each in the list of the other."""
    nearest = _as_matrix(lists)
    return nearest.multiply(nearest.T).tocsr()


def _weights(
    images: np.ndarray, largest: np.ndarray, lists: np.ndarray, half_lists: np.ndarray, block_bytes: int
) -> sparse.csr_matrix:
    """Returns V before the averaging, sparse float32 `[N, N]`, each row summing to 1."""
    weigh = functools.partial(_weigh_rows, images, largest, _reciprocal(lists), _reciprocal(half_lists))
    # The overlaps of one row with all candidates are at most list times half list many.
    step = block_bytes // (BYTES_PER_PAIR * lists.shape[1] * half_lists.shape[1])
    with threads() as pool:
        return sparse.vstack(list(pool.map(weigh, slices(len(images), min(step, 1024)))), format="csr")


def _weigh_rows(
    images: np.ndarray, largest: np.ndarray, reciprocal: sparse.csr_matrix, half: sparse.csr_matrix, part: slice
) -> sparse.csr_matrix:
    members = reciprocal[part]
    shared = members.multiply(members @ half.T).tocsr()  # How many of each member's own set are members too.
    sizes = np.diff(half.indptr)
    shared.data = (3 * shared.data > 2 * sizes[shared.indices]).astype(np.float32)
    expanded = (members + shared @ half).tocsr()
    expanded.eliminate_zeros()
    rows = np.repeat(np.arange(part.start, part.stop), np.diff(expanded.indptr))
    distances = squared_distances(images, rows, images, expanded.indices)
    weights = np.exp(-distances / largest[rows])
    sums = np.add.reduceat(weights, expanded.indptr[:-1])  # No row is empty: everybody is a member of the own set.
    expanded.data = (weights / sums[rows - part.start]).astype(np.float32)
    return expanded


# --- How far that is ---


def _original_distances(
    query: np.ndarray, gallery: np.ndarray, largest: np.ndarray, share: float, block_bytes: int
) -> np.ndarray:
    """Returns `share` times the squared distance divided by the row's largest, float32 `[Q, G]`."""
    distances = np.zeros((len(query), len(gallery)), np.float32)
    if not share:
        return distances
    prepare = centered(query, gallery)
    columns = with_squares(prepare, gallery, np.float32)
    factors = share / (largest * prepare.scale**2)
    for part in slices(len(query), block_bytes // (4 * len(gallery))):
        block = distances[part]
        lengths = products_with(columns, prepare, query[part], out=block)
        block += lengths[:, None].astype(np.float32)
        block *= factors[part, None].astype(np.float32)
    return distances


def _add_jaccard(distances: np.ndarray, weights: sparse.csr_matrix, share: float, block_bytes: int) -> None:
    """Adds `share` times the Jaccard distance to distances `[Q, G]`, in place."""
    queries = weights[: len(distances)]
    by_member = weights[len(distances) :].T.tocsr()  # Row j: the gallery images with j in their set.
    add = functools.partial(_add_jaccard_rows, distances, queries, by_member, share)
    pairs = np.concatenate([[0], np.cumsum(np.diff(by_member.indptr)[queries.indices])])[queries.indptr]
    with threads() as pool, progress_bar(len(distances), "re-ranking: distances") as bar:
        parts = _parts_of_equal_cost(pairs, block_bytes // BYTES_PER_PAIR)
        for part, _ in zip(parts, pool.map(add, parts)):
            bar.update(part.stop - part.start)


def _parts_of_equal_cost(costs: np.ndarray, limit: int) -> list[slice]:
    """Returns slices of rows that cost no more than the limit, or one row; costs are sums up to each, `[rows + 1]`."""
    parts, start = [], 0
    while start < len(costs) - 1:
        stop = int(np.searchsorted(costs, costs[start] + limit, side="right")) - 1
        parts.append(slice(start, max(stop, start + 1)))
        start = parts[-1].stop
    return parts


def _add_jaccard_rows(
    distances: np.ndarray, queries: sparse.csr_matrix, by_member: sparse.csr_matrix, share: float, part: slice
) -> None:
    rows = queries[part]
    # One line for each member of a query's set, with the gallery images that have this member too.
    minima = by_member[rows.indices]
    minima.data = np.minimum(minima.data, np.repeat(rows.data, np.diff(minima.indptr)))
    to_query = sparse.csr_matrix(
        (np.ones(rows.nnz, np.float32), np.arange(rows.nnz), rows.indptr), shape=(len(rows.indptr) - 1, rows.nnz)
    )
    shared = (to_query @ minima).tocoo()
    # Both sets sum to 1, so the maxima sum to 2 less the minima.
    block = distances[part]
    block += np.float32(share)
    block[shared.row, shared.col] -= np.float32(share) * shared.data / (2 - shared.data)
    np.clip(block, 0, 1, out=block)  # Rounding goes a little beyond.
