"""Links of tracks, against naive average linkage and by hand."""

import itertools

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from keras_reid.errors import ReidError
from keras_reid.tracks import linking, pairs, reassignment
from keras_reid.tracks.linking import link
from keras_reid.tracks.online import link_online
from keras_reid.tracks.travel_times import TravelTimes, learn_travel_times, read_travel_times
from tests.tracks.planted import planted, tracks_of


def distance(tracks, one, other):
    a, b = (tracks.embeddings[row].astype(np.float64) for row in (one, other))
    if tracks.metric == "cosine":
        return 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    return np.sqrt(((a - b) ** 2).sum())


def twice_in_one_camera(tracks, group):
    """Whether a person would be in two places of one camera: more than a frame at the ends is shared."""
    for one, other in itertools.combinations(group, 2):
        a, b = tracks.frame.iloc[one], tracks.frame.iloc[other]
        if a.camera == b.camera and (max(a.start, b.start) < min(a.end, b.end) or a.start == b.start):
            return True
    return False


def twice_at_all(tracks, group):
    """The same where the cameras see no place in common: nobody is in two of them at one time."""
    times = tracks.frame[["start", "end"]].to_numpy()
    pairs = itertools.combinations(group, 2)
    return twice_in_one_camera(tracks, group) or any(
        max(times[a, 0], times[b, 0]) < min(times[a, 1], times[b, 1]) for a, b in pairs
    )


def naive_average_linkage(tracks, threshold, refuse):
    """Average linkage in O(n^3): of all pairs of groups that may merge, the nearest does, again and again."""
    groups = [[row] for row in range(len(tracks))]
    apart = [[distance(tracks, one, other) for other in range(len(tracks))] for one in range(len(tracks))]
    while True:
        best = None
        for one, other in itertools.combinations(groups, 2):
            mean = sum(apart[a][b] for a in one for b in other) / (len(one) * len(other))
            if mean <= threshold and (best is None or mean < best[0]) and not refuse(tracks, one + other):
                best = mean, one, other
        if best is None:
            return {frozenset(group) for group in groups}
        groups = [group for group in groups if group not in best[1:]] + [best[1] + best[2]]


def groups_of(identities):
    return {frozenset(np.flatnonzero(identities == one).tolist()) for one in set(identities.tolist())}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_links_are_those_of_naive_average_linkage_with_constraints(metric, monkeypatch):
    refused = refused_elsewhere = 0
    monkeypatch.setattr(linking, "reassign", lambda groups, *others: groups)  # which follows
    for seed in range(4):
        # So noisy that the constraints have much to refuse.
        tracks, _ = planted(people=5, visits=5, cameras=2, noise=0.9, width=3, seed=seed, travel=1.0, metric=metric)
        threshold = [1.5, 0.4][metric == "cosine"]
        expected = naive_average_linkage(tracks, threshold, twice_in_one_camera)
        assert groups_of(link(tracks, threshold=threshold).identities) == expected
        apart = naive_average_linkage(tracks, threshold, twice_at_all)
        assert groups_of(link(tracks, threshold=threshold, overlapping=()).identities) == apart
        refused_elsewhere += apart != expected
        refused += expected != groups_of(link(tracks, threshold=threshold, cannot_link=False).identities)
    assert refused >= 2 and refused_elsewhere  # the constraints were at work


def test_without_constraints_the_links_are_scipy_s():
    tracks, _ = planted(people=12, visits=6, noise=0.8, width=4, seed=3)
    links = link(tracks, threshold=1.6, cannot_link=False, overlapping=())
    expected = fcluster(linkage(tracks.embeddings.astype(float), "average"), 1.6, "distance")
    assert groups_of(links.identities) == groups_of(expected) and 3 < len(set(expected)) < 72


def test_a_middle_track_does_not_bring_two_together_that_are_seen_at_one_time():
    """A-B 1.0, B-C 1.1, A-C 2.1; A and C are in one camera at one time: B goes to the nearer one, C stays alone."""
    rows = [("door", 0, 10), ("hall", 20, 30), ("door", 5, 15)]
    tracks = tracks_of(rows, [[0.0], [1.0], [2.1]])
    links = link(tracks, threshold=2.0)
    assert links.identities.tolist() == [1, 1, 2]
    link_of_b = links.links.set_index(["camera", "track"]).loc["hall", "1"]
    assert (link_of_b.other_camera, link_of_b.other_track, link_of_b.next_track) == ("door", "1", "2")
    assert link_of_b.distance == pytest.approx(1.0) and link_of_b.next_distance == pytest.approx(1.1)
    # A, whose only other track is seen beside it, has no alternative.
    link_of_a = links.links.set_index(["camera", "track"]).loc["door", "1"]
    assert link_of_a.next_track is None and np.isnan(link_of_a.next_distance)
    assert len(links.links) == 2 and link(tracks, threshold=2.0, cannot_link=False).identities.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "second, linked",
    [
        ((10.0, 20.0), True),  # a frame is shared where the tracker changed its number
        ((9.96, 20.0), False),
        ((5.0, 5.0), False),  # one box amid the other track
        ((0.0, 0.0), False),  # one box in its first frame
        ((10.0, 10.0), True),
        ((-5.0, 25.0), False),
    ],
)
def test_what_overlaps_in_one_camera(second, linked):
    tracks = tracks_of([("door", 0, 10), ("door", *second)], [[0.0], [0.0]])
    assert (len(set(link(tracks, threshold=1.0).identities)) == 1) == linked
    tracks = tracks_of([("door", 0, 10), ("hall", *second)], [[0.0], [0.0]])
    assert len(set(link(tracks, threshold=1.0).identities)) == 1  # two cameras may see one place


def test_two_tracks_of_one_box_in_one_frame_are_two_people():
    assert link(tracks_of([("door", 3, 3)] * 2, [[0.0], [0.0]]), threshold=1.0).identities.tolist() == [1, 2]


def test_travel_times_rule_out_who_was_too_fast_or_too_slow():
    windows = TravelTimes({("door", "hall"): (10, 30), ("hall", "door"): (10, 30)})
    for start, linked in ((5, False), (14.9, False), (15, True), (35, True), (35.1, False)):
        tracks = tracks_of([("door", 0, 5), ("hall", start, start + 5)], [[0.0], [0.0]])
        assert (len(set(link(tracks, threshold=1.0, travel_times=windows).identities)) == 1) == linked
    # The most counts from one camera to the next one: whoever came by the hall took longer to come back.
    rows = [("door", 0, 5), ("hall", 25, 30), ("door", 50, 55), ("hall", 75, 80)]
    tracks = tracks_of(rows, [[0.0], [0.3], [0.1], [0.2]])
    assert link(tracks, threshold=1.0, travel_times=windows).identities.tolist() == [1, 1, 1, 1]
    late = tracks_of([rows[0], rows[3]], [[0.0], [0.2]])
    assert link(late, threshold=1.0, travel_times=windows).identities.tolist() == [1, 2]


def test_travel_times_are_learned_from_confident_links():
    tracks, persons = planted(people=60, visits=4, cameras=3, noise=0.05, seed=1, travel=20.0)
    learned = learn_travel_times(tracks, threshold=1.0).windows
    for one in range(3):
        low, high = learned[f"camera {one}", f"camera {(one + 1) % 3}"]  # everyone walks this way, 18 to 22 seconds
        assert 10 < low < 18.5 and 21.5 < high < 30
    assert link(tracks, threshold=1.0).identities.max() == 60 == len(set(persons.tolist()))


def test_a_file_of_travel_times(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("camera_a,camera_b,minimum_seconds,maximum_seconds\n1,2,5,60\n2,1,7,60\n2,hall,-3,9\n")
    windows = read_travel_times(path).windows
    assert windows == {("1", "2"): (5, 60), ("2", "1"): (7, 60), ("2", "hall"): (-3, 9), ("hall", "2"): (-3, 9)}
    for row, words in (
        ("1,2,60,5", "the minimum is above"),
        ("1,1,0,5", "between two cameras"),
        ("1,2,,5", "not complete"),
        ("1,2,1,5\n1, 2 ,1,5", "again"),
    ):
        path.write_text(f"camera_a,camera_b,minimum_seconds,maximum_seconds\n{row}\n")
        with pytest.raises(ReidError, match=words):
            read_travel_times(path)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_moments_at_which_nobody_is_near_another_group_change_nothing(monkeypatch, metric):
    moved = 0
    for seed in range(4):
        tracks, _ = planted(people=12, travel=-4.0, noise=0.5, seed=seed, metric=metric)  # cameras overlap
        threshold = 2.5 if metric == "euclidean" else 0.4
        quick = link(tracks, threshold=threshold).identities
        with monkeypatch.context() as patch:
            patch.setattr(reassignment._Moments, "_is_any_near", lambda *moment: True)
            np.testing.assert_array_equal(link(tracks, threshold=threshold).identities, quick)
            patch.setattr(linking, "reassign", lambda groups, *others: groups)
            moved += (link(tracks, threshold=threshold).identities != quick).any()
    assert moved


def test_overlapping_cameras_get_their_best_partners_all_at_once():
    """The nearest, a1-b1 (1.2), leaves a2 and b2 alone, at 2.0; a1-b2 (1.5) and a2-b1 (1.3) are better for all."""
    rows = [("a", 0, 10), ("a", 0.5, 10), ("b", 0, 10), ("b", 0.5, 10)]
    tracks = tracks_of(rows, [[0.0, 0], [2.5, 0], [1.2, 0], [-1.5, 0]])
    apart = link(tracks, threshold=2.0, overlapping=())  # they see no place in common
    assert apart.identities.tolist() == [1, 3, 2, 4]
    assert link(tracks, threshold=1.25).identities.tolist() == [1, 2, 1, 3]  # only a1-b1 is near enough
    assert link(tracks, threshold=2.0, overlapping=[("a", "b")]).identities.tolist() == [1, 2, 2, 1]
    assert link(tracks, threshold=2.0).identities.tolist() == [1, 2, 2, 1]  # found by itself: a1 and b1 overlap
    # What cannot be one person stays apart here, too.
    apart = link(tracks, threshold=2.0, different=[(0, 3)]).identities
    assert apart.tolist() == [1, 2, 1, 3]


def test_what_people_said_is_kept():
    rows = [("door", 0, 10), ("hall", 20, 30), ("door", 50, 60), ("hall", 70, 80)]
    tracks = tracks_of(rows, [[0.0], [0.1], [0.2], [9.0]])
    assert link(tracks, threshold=1.0).identities.tolist() == [1, 1, 1, 2]
    parted = link(tracks, threshold=1.0, different=[(0, 1)])
    assert parted.identities.tolist() == [1, 2, 2, 3] and parted.links.next_track.tolist() == ["2", "1"]
    assert link(tracks, threshold=1.0, different=[(1, 0)], same=[(0, 3)]).identities.tolist() == [1, 2, 2, 1]
    with pytest.raises(ReidError, match="track '2' of camera 'hall' and track '1' of camera 'hall' are said"):
        link(tracks, threshold=1.0, different=[(0, 1)], same=[(0, 3), (3, 1)])
    beside = tracks_of([("door", 0, 10), ("door", 5, 15)], [[0.0], [0.0]])
    with pytest.raises(ReidError, match="at one time in one camera"):
        link(beside, threshold=1.0, same=[(0, 1)])


def test_few_tracks_and_no_threshold():
    none = tracks_of([], np.zeros((0, 4)))
    assert link(none, threshold=1.0).identities.tolist() == [] and not len(link(none, threshold=1.0).links)
    one = tracks_of([("door", 0, 1)], [[1.0, 0]], threshold=0.5)
    assert link(one).identities.tolist() == [1] and link(one).threshold == 0.5
    with pytest.raises(ReidError, match="no threshold is known.*threshold=NUMBER"):
        link(tracks_of([("door", 0, 1)], [[1.0]]))
    with pytest.raises(ReidError, match="threshold=-1"):
        link(one, threshold=-1)


def test_an_embedding_that_is_none_is_named():
    for embeddings, metric in (([[1.0], [np.nan]], "euclidean"), ([[1.0], [0.0]], "cosine")):
        tracks = tracks_of([("door", 0, 9), ("hall", 2, 3)], embeddings, metric=metric)
        for linker in (link, link_online):
            with pytest.raises(ReidError, match="1 tracks have an embedding .* track '1' of camera 'hall'"):
                linker(tracks, threshold=1.0)


def test_where_people_were():
    tracks = tracks_of([("door", 0, 10), ("hall", 20, 30), ("door", 50, 55)], [[0.0], [0.1], [0.2]])
    table = link(tracks, threshold=1.0).where(tracks)
    assert table.values.tolist() == [[1, "door", 0.0, 55.0, 15.0, 2], [1, "hall", 20.0, 30.0, 10.0, 1]]


def test_many_tracks_are_compared_in_blocks_and_few_of_them_are_kept(monkeypatch):
    tracks, persons = planted(people=40, visits=6, cameras=4, noise=0.1, seed=5)
    whole = link(tracks, threshold=1.2)
    monkeypatch.setattr(pairs, "MOST_PAIRS", 0)  # no more than 32 of each track
    monkeypatch.setattr(
        "keras_reid.tracks.pairs.near_earlier.__kwdefaults__",
        {**pairs.near_earlier.__kwdefaults__, "block_bytes": 9000},
    )
    few = link(tracks, threshold=1.2)
    assert few.identities.tolist() == whole.identities.tolist() and groups_of(whole.identities) == groups_of(persons)
    same = tracks_of([("a", 2 * row, 2 * row + 1) for row in range(100)], np.ones((100, 4)))
    assert link(same, threshold=1.0).identities.max() == 1  # a collapsed network
