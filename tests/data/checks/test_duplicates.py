"""Near copies against a loop over all pairs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.checks import duplicates

SPLITS = ("train", "query", "gallery")


def random_images(count: int) -> tuple:
    """Images of 4 people and of nobody; half of them are another image with a little noise."""
    random = np.random.default_rng(0)
    thumbnails = random.integers(0, 256, (count, 16, 8, 3))
    for copy in range(0, count, 2):
        noise = random.normal(0, random.uniform(5, 20), (16, 8, 3))
        thumbnails[copy] = np.clip(thumbnails[random.integers(count)] + noise, 0, 255)
    frame = pd.DataFrame(
        {
            "image_path": [f"{n}.jpg" for n in range(count)],
            "person_id": random.integers(0, 5, count),
            "camera_id": random.integers(1, 3, count),
            "split": random.choice(SPLITS, count),
        }
    )
    return frame, thumbnails.astype(np.uint8)


@pytest.mark.parametrize("cells", [2**25, 100])
def test_no_near_copy_is_missed_and_none_is_made_up(monkeypatch, cells):
    """The slow way: every pair, its correlation, and what it would mean."""
    monkeypatch.setattr(duplicates, "_CELLS_AT_ONCE", cells)
    frame, thumbnails = random_images(150)
    correlation, rows, expected = np.corrcoef(thumbnails.reshape(150, -1)), list(frame.itertuples()), {}
    for a, b in itertools.permutations(range(150), 2):
        one, other = rows[a], rows[b]
        if SPLITS.index(one.split) > SPLITS.index(other.split) or (one.split == other.split and a > b):
            continue
        if correlation[a, b] < duplicates.SIMILAR or one.split == other.split != "train":
            continue
        leak = one.split == "train" != other.split
        if one.person_id != other.person_id and not (leak and other.person_id == 0):
            kind = "several_people"
        elif leak:
            kind = "train_and_test"
        elif (one.split, other.split) == ("query", "gallery") and one.camera_id != other.camera_id:
            kind = "query_and_gallery"
        else:
            continue
        expected.setdefault(kind, set()).add((one.image_path, other.image_path))
    findings = duplicates.find_copies(frame, np.arange(len(frame)), thumbnails)
    found = {finding.kind[len("near_copies_") :]: set(finding.names) for finding in findings}
    assert set(found) == set(expected) and all(found[kind] <= expected[kind] for kind in found)
    # An image is named with its most similar one: each left image of a pair is there, if not every pair of it.
    assert {a for pairs in found.values() for a, _ in pairs} == {a for pairs in expected.values() for a, _ in pairs}
    assert sum(map(len, expected.values())) > 20
