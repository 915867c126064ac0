"""Confused identities: likeness against naive loops, planted label errors, and sizes that must not hurt."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.evaluation import Embedded, confused_identities, confusions, pairs
from keras_reid.evaluation.confusions import suggested_corrections


def crowd(seed, people=12, cameras=3, noise=0.5, width=6, metric="euclidean"):
    """One query and two gallery images of each person by each camera, around a place of its own; and distractors."""
    random = np.random.default_rng(seed)
    places = random.normal(size=(people + 1, width))

    def side(of_each, distractors):
        rows = [(person, camera) for person in range(1, people + 1) for camera in range(cameras)] * of_each
        frame = pd.DataFrame(rows + [(0, 0)] * distractors, columns=["person_id", "camera_id"])
        frame["image_path"] = [f"{of_each}/{row}.jpg" for row in range(len(frame))]
        return frame, places[frame.person_id] + noise * random.normal(size=(len(frame), width))

    query, gallery = side(1, 0), side(2, 5)
    return Embedded(*query, *gallery, metric)


def naive_likeness(embedded, distance):
    """Returns the likeness of each pair that counts, as {(query, image): likeness}, and those of one person."""
    query, gallery = (frame[["person_id", "camera_id"]].to_numpy() for frame in (embedded.query, embedded.gallery))
    true = {
        (q, g): distance[q, g]
        for q, g in np.ndindex(distance.shape)
        if query[q, 0] == gallery[g, 0] and query[q, 1] != gallery[g, 1]
    }
    likeness = {}
    for q, g in np.ndindex(distance.shape):
        if query[q, 0] == gallery[g, 0] and (q, g) not in true:
            continue
        share = np.mean([one >= distance[q, g] for one in true.values()])
        views = []
        for side, image in ((0, q), (1, g)):
            own = [one for pair, one in true.items() if pair[side] == image and pair != (q, g)]
            views.append((sum(one >= distance[q, g] for one in own) + 6 * share) / (len(own) + 6))
        likeness[q, g] = np.sqrt(views[0] * views[1])
    return likeness, true


def naive_scores(embedded):
    """Returns the score of each two people, the larger of that of a merge and of all moves."""
    ids = embedded.query.person_id.to_numpy(), embedded.gallery.person_id.to_numpy()
    distance = np.linalg.norm(embedded.query_embeddings[:, None] - embedded.gallery_embeddings, axis=2)
    if embedded.metric == "cosine":
        rows = [
            side / np.linalg.norm(side, axis=1)[:, None]
            for side in (embedded.query_embeddings, embedded.gallery_embeddings)
        ]
        distance = 1 - rows[0] @ rows[1].T
    likeness, true = naive_likeness(embedded, distance)
    scores = {}
    for a, b in itertools.combinations(sorted({*ids[0], *ids[1]} - {0}), 2):
        between = [one for (q, g), one in likeness.items() if {ids[0][q], ids[1][g]} == {a, b}]
        best = sum(between) / (len(between) + 0.5)
        for side in (0, 1):
            for image, person in enumerate(ids[side]):
                if person in (a, b):
                    to = [
                        one
                        for pair, one in likeness.items()
                        if pair[side] == image and ids[1 - side][pair[1 - side]] == a + b - person
                    ]
                    own = [likeness[pair] for pair in true if pair[side] == image]
                    best = max(best, sum(to) / (len(to) + 0.5) - sum(own) / (len(own) + 0.5))
        scores[a, b] = best
    return scores


def with_people(embedded, of_query=(), of_gallery=()):
    """Returns them with other names: {row: person} of either side."""
    sides = {}
    for side, names in (("query", dict(of_query)), ("gallery", dict(of_gallery))):
        frame = getattr(embedded, side).copy()
        frame.loc[list(names), "person_id"] = list(names.values())
        sides[side] = frame
    return Embedded(
        sides["query"], embedded.query_embeddings, sides["gallery"], embedded.gallery_embeddings, embedded.metric
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_scores_are_those_of_naive_loops(metric, monkeypatch):
    monkeypatch.setattr(confusions, "_NEAREST", 1000)
    embedded = crowd(0, people=6, noise=1.0, metric=metric)
    expected = {pair: score for pair, score in naive_scores(embedded).items() if score > 0}
    found = {tuple(sorted((one.first, one.second))): one.score for one in confused_identities(embedded, count=100)}
    assert found.keys() == expected.keys() and len(found) > 10
    for pair, score in found.items():
        assert score == pytest.approx(expected[pair], rel=1e-6)


def planted():
    """Person 3 is called 12 by cameras 1 and 2; gallery image 33, of person 1, 5; person 7 by camera 0 always 9."""
    embedded = crowd(1, people=11, noise=0.3)
    frames = embedded.query, embedded.gallery
    query, gallery = (dict.fromkeys(np.flatnonzero((f.person_id == 3) & (f.camera_id > 0)), 12) for f in frames)
    tracks = [np.flatnonzero((f.person_id == 7) & (f.camera_id == 0)) for f in frames]
    assert embedded.gallery.person_id[33] == 1
    return with_people(embedded, {**query, tracks[0][0]: 9}, {**gallery, 33: 5, **dict.fromkeys(tracks[1], 9)}), tracks


@pytest.mark.parametrize("nearest", [64, 8])
def test_planted_errors_stand_first_and_say_what_to_do(nearest, monkeypatch):
    monkeypatch.setattr(confusions, "_NEAREST", nearest)
    embedded, tracks = planted()
    found = {(one.first, one.second): one for one in confused_identities(embedded, count=3)}
    assert set(found) == {(3, 12), (5, 1), (9, 7)}
    assert [found[pair].suggestion for pair in ((3, 12), (5, 1), (9, 7))] == ["merge", "move", "move"]
    assert found[5, 1].moved == (("gallery", 33),) and found[3, 12].moved == ()
    track = [("query", tracks[0][0]), *(("gallery", row) for row in tracks[1])]
    assert sorted(found[9, 7].moved) == sorted(track)
    for pair in found[5, 1].evidence:
        assert pair.image == 33 and embedded.query.person_id[pair.query] == 1
        distance = np.linalg.norm(embedded.query_embeddings[pair.query] - embedded.gallery_embeddings[33])
        assert pair.distance == pytest.approx(distance)
    distances = [pair.distance for pair in found[3, 12].evidence]
    assert distances == sorted(distances) and len(distances) == 4


def test_suggestions_as_corrections():
    embedded, _ = planted()
    found = {(one.first, one.second): one for one in confused_identities(embedded, count=3)}
    ((one, other, verdict),) = suggested_corrections(embedded, found[3, 12])
    people = pd.concat([embedded.query, embedded.gallery]).set_index("image_path").person_id
    assert {people[one], people[other]} == {3, 12} and verdict == "same"
    same, different = suggested_corrections(embedded, found[5, 1])
    assert (people[same[0]], same[1:]) == (1, ("2/33.jpg", "same"))
    assert (people[different[0]], different[1:]) == (5, ("2/33.jpg", "not the same")) and different[0] != "2/33.jpg"
    assert len(suggested_corrections(embedded, found[9, 7])) == 6


def test_names_and_identities_of_one_image():
    """Person "x" is one image, amid those of "b"; "y" has one query, amid those of "c", and no match."""
    embedded = with_people(crowd(2, people=8, noise=0.2), {8: 21}, {3: 20})
    for frame in (embedded.query, embedded.gallery):
        frame["person_id_name"] = frame.person_id.map(lambda one: {20: "x", 21: "y"}.get(one, chr(96 + one)))
    first, second = confused_identities(embedded, count=2)
    assert {first[:3], second[:3]} == {("x", "b", "merge"), ("y", "c", "merge")}


def test_distractors_are_in_no_pair_and_rules_are_taken():
    embedded = crowd(3)
    embedded = Embedded(
        embedded.query.drop(columns="camera_id"),
        embedded.query_embeddings,
        embedded.gallery,
        embedded.gallery_embeddings,
    )
    with pytest.raises(ReidError, match="query_camera_ids is None"):
        confused_identities(embedded)
    found = confused_identities(embedded, count=1000, ignore="nothing")
    assert found and not any(0 in (one.first, one.second) for one in found)
    with pytest.raises(ReidError, match="count=0"):
        confused_identities(embedded, count=0, ignore="nothing")


@pytest.mark.filterwarnings("error")
def test_a_collapsed_network_and_two_people():
    for embedded in (crowd(4, noise=0.0, width=1), crowd(5, people=2)):
        embedded.gallery_embeddings[:] *= 1 if len(embedded.query) < 10 else 0
        assert all(0 < one.score < 1 for one in confused_identities(embedded))


def test_many_identities_take_little_memory(monkeypatch):
    """3,000 people, a query and a gallery image each: a matrix of pairs of people would take 72 MB."""
    monkeypatch.setattr(pairs, "ROWS_AT_ONCE", 256)
    monkeypatch.setattr(confusions, "_NEAREST", 8)
    random, people = np.random.default_rng(6), 3000
    places = random.normal(size=(people, 4))
    frame = pd.DataFrame({"person_id": np.arange(people) + 1, "camera_id": 1})
    sides = (places + 0.01 * random.normal(size=places.shape) for _ in range(2))
    embedded = Embedded(frame, next(sides), frame.assign(camera_id=2), next(sides))
    tracemalloc.start()
    confused_identities(embedded, count=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
