"""Retrieval scores by the book: sort the whole gallery, walk down the list, one image at a time. Slow, for tests."""

from fractions import Fraction

import numpy as np


def exact_distance(query, image, metric):
    """An exact rational number in the order of the metric, so that ties are ties and nothing else is."""
    query, image = ([Fraction(float(value)) for value in row] for row in (query, image))
    if metric == "euclidean":
        return sum((a - b) ** 2 for a, b in zip(query, image))
    product = sum(a * b for a, b in zip(query, image))
    squared_cosine = product**2 / (sum(a * a for a in query) * sum(b * b for b in image))
    return -squared_cosine if product > 0 else squared_cosine


def float64_distance(query, image, metric):
    query, image = np.asarray(query, np.float64), np.asarray(image, np.float64)
    if metric == "euclidean":
        return float(np.linalg.norm(query - image))
    return 1 - float(query @ image / (np.linalg.norm(query) * np.linalg.norm(image)))


def walk(list_of_hits):
    """Scores one ranked list, True at a true match, as the official Market-1501 script walks it."""
    hits_in_all = sum(list_of_hits)
    old_precision, old_recall, found = 1.0, 0.0, 0
    rectangle = trapezoid = 0.0
    first = last = 0
    for rank, is_hit in enumerate(list_of_hits, start=1):
        if is_hit:
            found += 1
            first = first or rank
            last = rank
            rectangle += found / rank / hits_in_all
        precision, recall = found / rank, found / hits_in_all
        trapezoid += (recall - old_recall) * (old_precision + precision) / 2
        old_precision, old_recall = precision, recall
    return rectangle, trapezoid, first, hits_in_all / last


def evaluate(query, gallery, *, metric="euclidean", ignore="same_camera", ranks=50, distance=exact_distance):
    """Returns what `RetrievalResult` holds, as a dict; a side is (embeddings, person_ids, camera_ids)."""
    rows = []
    for embedding, person, camera in zip(*query):
        ranked = []
        for image, other_person, other_camera in zip(*gallery):
            if other_person == -1 or (ignore == "same_camera" and (other_person, other_camera) == (person, camera)):
                continue
            # False sorts before True: at one distance the wrong images come first.
            ranked.append((distance(embedding, image, metric), bool(other_person == person)))
        hits = [is_hit for _, is_hit in sorted(ranked)]
        rows.append(walk(hits) if any(hits) else (np.nan, np.nan, 0, np.nan))
    precision, trapezoid, first, penalty = (np.array(column) for column in zip(*rows))
    scored = [rank for rank in first if rank > 0]
    return {
        "average_precision": precision,
        "average_precision_trapezoid": trapezoid,
        "first_match_rank": first,
        "inverse_negative_penalty": penalty,
        "skipped_queries": [index for index, rank in enumerate(first) if rank == 0],
        "cmc": [sum(rank <= k for rank in scored) / len(scored) for k in range(1, ranks + 1)],
        "mean_average_precision": np.nanmean(precision),
        "mean_average_precision_trapezoid": np.nanmean(trapezoid),
        "mean_inverse_negative_penalty": np.nanmean(penalty),
    }


def open_set(query, gallery, people, enrolled, metric, rates):
    """Scores drawn galleries, lists of person ids, by the definition: one query, one gallery and one image at a time.

    Returns rank 1 and, for each rate, the distance that is one false alarm too many, the share of false alarms and the
    two rates below it; and how many queries of strangers and of enrolled people there are in the mean.
    """
    strangers, found, who = [], [], set()
    for row, (one, person, camera) in enumerate(zip(query, people["query_person_ids"], people["query_camera_ids"])):
        images = zip(gallery, people["gallery_person_ids"], people["gallery_camera_ids"])
        to_images = [(float64_distance(one, image, metric), other, seen) for image, other, seen in images]
        for drawn in enrolled:
            own, nearest = np.inf, np.inf
            for far, other, seen in to_images:
                if other == person and other in drawn and seen != camera:
                    own = min(own, far)
                if other != person and other in drawn:
                    nearest = min(nearest, far)
            if person != -1 and person not in drawn:
                strangers.append(nearest)
                who.add(row)
            elif person != -1 and own < np.inf:
                found.append((own, own < nearest))
    strangers, points = sorted(strangers), {"rank1": np.mean([right for _, right in found])}
    for rate in rates:
        if len(who) * rate < 1:
            points[rate] = None
            continue
        limit = strangers[int(rate * len(strangers) + 1e-9)]
        points[rate] = (
            limit,
            np.mean([far < limit for far in strangers]),
            np.mean([own < limit and right for own, right in found]),
            np.mean([own < limit for own, _ in found]),
        )
    return points, len(strangers) / len(enrolled), len(found) / len(enrolled)
