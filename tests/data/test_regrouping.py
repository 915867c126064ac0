"""Regrouping: people placed by hand, and what must hold whatever is said."""

import itertools

import numpy as np
import pytest

from keras_reid.data.regrouping import regroup
from keras_reid.errors import ReidError


def regrouped(labels: str, same: str = "", different: str = "") -> str:
    """`regrouped("aab", "02", "01")`: images 0 and 1 are of a, 2 is of b; 0 and 2 are the same, 0 and 1 are not."""
    pairs = ([tuple(map(int, pair)) for pair in text.split()] for text in (same, different))
    return " ".join(regroup(list(labels), [f"{row}.jpg" for row in range(len(labels))], *pairs))


@pytest.mark.parametrize(
    ("labels", "same", "different", "expected"),
    [
        ("aabb", "", "", "a a b b"),
        ("aabbb", "02", "", "b b b b b"),  # all of both, under the name with more images
        ("aabb", "20", "", "a a a a"),  # as many: the first of the dataset
        ("aabbcc", "02 45 35", "", "a a a a a a"),  # a chain
        ("aab", "01", "", "a a b"),  # says what the labels say
        ("aab", "", "02", "a a b"),
        ("aaaa", "", "03", "a a a a-2"),  # nothing more is known: the hit leaves
        ("aaaa", "", "30", "a-2 a a a"),
        ("aaaa", "", "10 20 30", "a-2 a a a"),  # three against one
        ("aaaa", "", "01 02 03", "a-2 a a a"),  # also where it was the query
        ("aaaaa", "34", "03", "a-2 a a a a"),  # fewer images leave
        ("aaaaaa", "01 45", "14 05", "a a a a a-2 a-2"),  # as many: the hits leave, together
        ("aaaa", "", "01 02 12", "a a-2 a-3 a"),
        ("aaabbb", "03", "34", "a a a a b b"),  # one image of b shows a: said by what it is not
        ("aaabbb", "03", "04", "a a a a b b"),
        ("aaabbb", "03", "05 15", "a a a a b b"),  # or by a and b being two people; the hit moves
        ("aaabbb", "30", "25", "b a a b b b"),
        ("aaabbb", "03 04", "15", "b a a b b b"),  # an image of a that two of b are the same as moves, not these two
        ("aabbcc", "02 24", "13 35 15", "a a a b a c"),
        ("ab", "", "01", "a b"),
    ],
)
def test_who_is_who(labels, same, different, expected):
    assert regrouped(labels, same, different) == expected


def test_a_new_name_is_new():
    assert regroup(["a", "a", "a-2"], ["x"] * 3, [], [(0, 1)]) == ["a", "a-3", "a-2"]


@pytest.mark.parametrize(
    ("same", "different", "message"),
    [
        ("01 12", "02", "'0.jpg' and '2.jpg' are 'not the same', but also 'same' through '1.jpg'"),
        ("01", "01", "'0.jpg' and '1.jpg' are 'not the same', but also 'same'. Look"),
        ("01 12 23", "30", "'3.jpg' and '0.jpg' are 'not the same', but also 'same' through '2.jpg'"),
        ("", "22", "'2.jpg' is said to be 'not the same' as itself"),
    ],
)
def test_contradictions_name_the_images(same, different, message):
    with pytest.raises(ReidError, match=message):
        regrouped("aabb", same, different)


def test_whatever_is_said_holds_afterwards():
    """300 random sets of verdicts on 12 images: what is the same is together, what is not is apart, the rest stays."""
    random, refusals = np.random.default_rng(0), 0
    for _ in range(300):
        labels = random.choice(list("abcd"), 12).tolist()
        drawn = random.permutation(list(itertools.combinations(range(12), 2)))[: random.integers(1, 12)].tolist()
        cut = random.integers(0, len(drawn) + 1)
        same, different = ([tuple(pair) for pair in some] for some in (drawn[:cut], drawn[cut:]))
        try:
            names = regroup(labels, ["x"] * 12, same, different)
        except ReidError:
            refusals += 1
            continue
        assert all(names[a] == names[b] for a, b in same)
        assert all(names[a] != names[b] for a, b in different)
        silent = set(range(12)) - {image for pair in drawn for image in pair}
        for a, b in itertools.combinations(silent, 2):
            assert (names[a] == names[b]) or labels[a] != labels[b]
        assert names == regroup(labels, ["x"] * 12, same, different)
    assert 0 < refusals < 150
