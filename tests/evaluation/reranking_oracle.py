"""k-reciprocal re-ranking by the book: dense float64 matrices, sets, one image at a time. Slow, for tests."""

import numpy as np


def squared_distances(rows, others):
    return np.array([[float(((a - b) ** 2).sum()) for b in others] for a in rows])


def as_compared(embeddings, metric):
    rows = np.array(embeddings, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows


def ranked_neighbors(distances):
    """For each image all images, the nearest first; itself before everything, then the lower index of equals."""
    everyone = range(len(distances))
    return [sorted(everyone, key=lambda j: (j != i, distances[i][j], j)) for i in everyone]


def reciprocal_set(ranking, image, k):
    nearest = ranking[image][: k + 1]
    return {other for other in nearest if image in ranking[other][: k + 1]}


def expanded_set(ranking, image, k1):
    own = reciprocal_set(ranking, image, k1)
    expanded = set(own)
    for candidate in own:
        candidates_own = reciprocal_set(ranking, candidate, round(k1 / 2))
        if 3 * len(candidates_own & own) > 2 * len(candidates_own):
            expanded |= candidates_own
    return expanded


def rerank(query, gallery, k1=20, k2=6, lambda_value=0.3, metric="euclidean"):
    images = np.concatenate([as_compared(query, metric), as_compared(gallery, metric)])
    distances = squared_distances(images, images)
    ranking = ranked_neighbors(distances)
    for row in distances:
        row /= row.max() or 1
    weights = np.zeros_like(distances)
    for i in range(len(images)):
        for j in expanded_set(ranking, i, k1):
            weights[i, j] = np.exp(-distances[i, j])
        weights[i] /= weights[i].sum()
    weights = np.array([weights[ranking[i][:k2]].mean(axis=0) for i in range(len(images))])
    result = np.empty((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            mine, its = weights[i], weights[len(query) + j]
            jaccard = 1 - np.minimum(mine, its).sum() / np.maximum(mine, its).sum()
            result[i, j] = (1 - lambda_value) * jaccard + lambda_value * distances[i, len(query) + j]
    return result
