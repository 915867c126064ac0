"""Online links: what is decided when a track ends, against a naive loop, and that the future changes nothing."""

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.tracks import pairs
from keras_reid.tracks.linking import by_end, link, take
from keras_reid.tracks.online import Enrolled, link_online
from tests.tracks.planted import planted, tracks_of
from tests.tracks.test_linking import distance, groups_of, twice_in_one_camera


def naive_online(tracks, threshold):
    groups = []
    for row in by_end(tracks).tolist():
        means = [(np.mean([distance(tracks, row, other) for other in group]), group) for group in groups]
        fits = [
            (mean, group)
            for mean, group in sorted(means, key=lambda one: one[0])
            if mean <= threshold and not twice_in_one_camera(tracks, [*group, row])
        ]
        fits[0][1].append(row) if fits else groups.append([row])
    return {frozenset(group) for group in groups}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_each_track_is_decided_by_those_before_it(metric):
    tracks, _ = planted(people=6, visits=5, cameras=2, noise=0.9, width=3, seed=4, travel=1.0, metric=metric)
    threshold = [1.5, 0.4][metric == "cosine"]
    links = link_online(tracks, threshold=threshold)
    assert groups_of(links.identities) == naive_online(tracks, threshold)
    assert groups_of(links.identities) != groups_of(link(tracks, threshold=threshold).identities)


def test_the_future_changes_nothing(monkeypatch):
    tracks, persons = planted(people=15, visits=4, noise=0.3, seed=2)
    ended = take(tracks, by_end(tracks))
    whole = link_online(ended, threshold=1.5)
    assert 10 < whole.identities.max() < 40
    for count in (1, 7, 40):
        part = link_online(take(ended, np.arange(count)), threshold=1.5)
        assert part.identities.tolist() == whole.identities[:count].tolist()
    monkeypatch.setitem(pairs.near_earlier.__kwdefaults__, "block_bytes", 0)  # blocks of one track
    assert link_online(ended, threshold=1.5).identities.tolist() == whole.identities.tolist()
    clear, persons = planted(people=15, visits=4, noise=0.05, seed=2)
    assert groups_of(link_online(clear, threshold=1.0).identities) == groups_of(persons)


def test_a_link_tells_what_was_nearest_when_the_track_ended():
    rows = [("door", 0, 10), ("door", 0, 12), ("hall", 20, 30), ("hall", 40, 50)]
    links = link_online(tracks_of(rows, [[0.0], [2.0], [0.5], [0.4]]), threshold=1.0)
    assert links.identities.tolist() == [1, 2, 1, 1]
    of = links.links.set_index("start")
    assert of.other_track.tolist() == ["1", "1"] and of.other_camera.tolist() == ["door", "hall"]
    assert of.distance.tolist() == pytest.approx([0.5, 0.1]) and of.next_track.tolist() == ["2", "2"]
    assert of.next_distance.tolist() == pytest.approx([1.5, 1.6])


def test_people_who_are_enrolled_keep_their_identity():
    tracks = tracks_of([("door", 0, 10), ("hall", 20, 30), ("hall", 21, 31)], [[5.0], [0.1], [0.2]])
    enrolled = Enrolled(np.array([7, 7, 3]), np.array([[0.0], [0.1], [9.0]]))
    links = link_online(tracks, threshold=1.0, enrolled=enrolled)
    assert links.identities.tolist() == [8, 7, 9]  # nobody is twice in the hall
    assert links.links[["camera", "track", "other_camera", "other_track"]].values.tolist() == [
        ["hall", "1", "enrolled", "7"]
    ]
    with pytest.raises(ReidError, match="embedding of 1 numbers"):
        link_online(tracks, threshold=1.0, enrolled=Enrolled(np.array([7]), np.zeros((1, 2))))
    assert not len(link_online(tracks_of([], np.zeros((0, 2))), threshold=1.0).identities)
