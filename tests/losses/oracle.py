"""Every loss by naive loops in float64, from the formulas of the papers alone; nothing is shared with the package."""

import numpy as np


def distances_of(embeddings, metric="euclidean"):
    """All pairs, one by one, float64 `[B, B]`."""
    x = np.asarray(embeddings, np.float64)
    result = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(len(x)):
            if metric == "cosine":
                unit_i, unit_j = x[i] / np.sqrt(x[i] @ x[i]), x[j] / np.sqrt(x[j] @ x[j])
                result[i, j] = ((unit_i - unit_j) ** 2).sum() / 2
            else:
                squared = ((x[i] - x[j]) ** 2).sum()
                result[i, j] = squared if metric == "squared_euclidean" else np.sqrt(squared)
    return result


def penalty(gap, margin):
    return float(np.logaddexp(0, gap)) if margin == "soft" else max(0.0, gap + margin)


def positives(person_ids, a):
    return [b for b in range(len(person_ids)) if b != a and person_ids[b] == person_ids[a]]


def negatives(person_ids, a):
    return [b for b in range(len(person_ids)) if person_ids[b] != person_ids[a]]


def mean(terms):
    return sum(terms) / len(terms) if terms else 0.0


def log_sum(logarithms):
    """log(e^x1 + e^x2 + ...), where no e^x need fit a float."""
    largest = max(logarithms)
    return largest + np.log(sum(np.exp(x - largest) for x in logarithms))


def batch_hard(person_ids, d, margin):
    terms = []
    for a in range(len(person_ids)):
        p, n = positives(person_ids, a), negatives(person_ids, a)
        if p and n:
            terms.append(penalty(max(d[a, i] for i in p) - min(d[a, i] for i in n), margin))
    return mean(terms)


def class_hard(person_ids, d, margin):
    terms = []
    for identity in set(person_ids):
        mine = [a for a in range(len(person_ids)) if person_ids[a] == identity]
        others = [a for a in range(len(person_ids)) if person_ids[a] != identity]
        if len(mine) > 1 and others:
            farthest = max(d[a, p] for a in mine for p in mine if a != p)
            terms.append(penalty(farthest - min(d[a, n] for a in mine for n in others), margin))
    return mean(terms)


def lifted(person_ids, d, margin):
    terms = []
    for a in range(len(person_ids)):
        p, n = positives(person_ids, a), negatives(person_ids, a)
        if p and n:
            m = 0.0 if margin == "soft" else margin
            total = log_sum([d[a, i] for i in p]) + log_sum([m - d[a, i] for i in n])
            terms.append(penalty(total, "soft") if margin == "soft" else max(0.0, total))
    return mean(terms)


def weighted(person_ids, d, margin):
    terms = []
    for a in range(len(person_ids)):
        p, n = positives(person_ids, a), negatives(person_ids, a)
        if p and n:
            far, near = max(d[a, i] for i in p), min(d[a, i] for i in n)
            pull = sum(np.exp(d[a, i] - far) * d[a, i] for i in p) / sum(np.exp(d[a, i] - far) for i in p)
            push = sum(np.exp(near - d[a, i]) * d[a, i] for i in n) / sum(np.exp(near - d[a, i]) for i in n)
            terms.append(penalty(pull - push, margin))
    return mean(terms)


def all_triplets(person_ids, d, margin):
    return [
        penalty(d[a, p] - d[a, n], margin)
        for a in range(len(person_ids))
        for p in positives(person_ids, a)
        for n in negatives(person_ids, a)
    ]


def batch_all(person_ids, d, margin):
    return mean([term for term in all_triplets(person_ids, d, margin) if term > 0])


def batch_all_over_all(person_ids, d, margin):
    return mean(all_triplets(person_ids, d, margin))


def semi_hard(person_ids, d, margin):
    terms = []
    for a in range(len(person_ids)):
        n = [d[a, i] for i in negatives(person_ids, a)]
        for p in positives(person_ids, a) if n else []:
            beyond = [distance for distance in n if distance > d[a, p]]
            terms.append(penalty(d[a, p] - (min(beyond) if beyond else max(n)), margin))
    return mean(terms)


def contrastive(person_ids, d, margin):
    terms = []
    for a in range(len(person_ids)):
        for b in range(a + 1, len(person_ids)):
            same = person_ids[a] == person_ids[b]
            terms.append(d[a, b] ** 2 if same else max(0.0, margin - d[a, b]) ** 2)
    return mean(terms)


def circle(person_ids, embeddings, margin, scale):
    """Sun et al. 2020, equation 4, per anchor, with the self-paced weights of equation 5 and the margins of 8."""
    unit = np.asarray(embeddings, np.float64)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    terms = []
    for a in range(len(person_ids)):
        pull = push = 0.0
        for b in positives(person_ids, a):
            s = float(unit[a] @ unit[b])
            pull += np.exp(-scale * max(0, 1 + margin - s) * (s - (1 - margin)))
        for b in negatives(person_ids, a):
            s = float(unit[a] @ unit[b])
            push += np.exp(scale * max(0, s + margin) * (s - margin))
        if pull and push:
            terms.append(np.log(1 + push * pull))
    return mean(terms)


def numerical_gradient(function, x, step=1e-6):
    """Central differences of a function of float64 numbers."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[place] = step
        gradient[place] = (function(x + change) - function(x - change)) / (2 * step)
    return gradient
