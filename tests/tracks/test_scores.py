"""Scores of tracks, against a naive loop over boxes, py-motmetrics fed frame by frame, and by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from keras_reid.errors import ReidError
from keras_reid.tracks.linkers import ablation, ablation_table, nearest_neighbor_linker, oracle_linker
from keras_reid.tracks.linking import link
from keras_reid.tracks.recordings import read_recordings
from keras_reid.tracks.scores import Scene, hota, identity_scores, pair_scores, persons_of, read_scenes, truth_of_tracks
from keras_reid.tracks.splitting import split_tracks
from tests.tracks.planted import tracks_of


def boxes_of(rows):
    """Boxes of 10 x 20 pixels from rows of track, frame and x."""
    frame = pd.DataFrame(rows, columns=["track", "frame", "x"]).astype({"track": str, "x": float})
    return frame.assign(y=0.0, width=10.0, height=20.0)


def scene_of(camera, people, seed, frames=30):
    """People who stand 15 pixels apart, and a tracker that misses some, breaks up others, and invents one."""
    random = np.random.default_rng(seed)
    truth, boxes = [], []
    for place, person in enumerate(people):
        broken = int(random.integers(5, frames))
        for frame in range(frames):
            truth.append((f"p{person}", frame, 15 * place))
            if random.random() < 0.85:
                boxes.append((f"{2 * place + (frame > broken)}", frame, 15 * place + random.uniform(-4, 4)))
    boxes += [("99", frame, 500) for frame in range(4)]
    return Scene(camera, boxes_of(boxes), boxes_of(truth))


def iou(a, b):
    width = max(0.0, min(a.x + a.width, b.x + b.width) - max(a.x, b.x))
    return width * a.height / (a.width * a.height + b.width * b.height - width * a.height)


def naive_identity_scores(scenes, identity_of):
    """IDF1, IDP and IDR: the one-to-one assignment of persons to identities with most frames in which they match."""
    together, boxes, true = {}, 0, 0
    for number, scene in enumerate(scenes):
        boxes, true = boxes + len(scene.boxes), true + len(scene.truth)
        for a, b in itertools.product(scene.boxes.itertuples(), scene.truth.itertuples()):
            if a.frame == b.frame and iou(a, b) >= 0.5:
                key = identity_of[scene.camera, a.track], b.track
                together.setdefault(key, set()).add((number, a.frame))
    rows, columns = (sorted({key[side] for key in together}, key=str) for side in (0, 1))
    counts = np.array([[len(together.get((row, column), ())) for column in columns] for row in rows])
    found = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return 2 * found / (boxes + true), found / boxes, found / true


@pytest.fixture
def scenes():
    return [scene_of("door", [1, 2, 3, 4], 0), scene_of("hall", [3, 1, 5], 1), scene_of("door", [2, 6], 2, frames=12)]


@pytest.fixture
def tracks(scenes):
    """The tracks of the scenes, as two cameras name them: a second recording has tracks of the same camera."""
    scenes[2] = scenes[2]._replace(boxes=scenes[2].boxes.assign(track=scenes[2].boxes.track + "+2"))
    names = [(scene.camera, track) for scene in scenes for track in scene.boxes.track.unique()]
    # Looks of the persons, so that a linker has something to link by.
    looks = np.random.default_rng(3).normal(size=(10, 8))
    made = tracks_of(
        [(camera, 100 * row, 100 * row + 1) for row, (camera, _) in enumerate(names)], np.zeros((len(names), 8))
    )
    made.frame["track"] = [track for _, track in names]
    persons = persons_of(made, scenes)
    made.embeddings[:] = [looks[int(person[1:]) if person else 0] for person in persons]
    return made


def test_identity_scores_are_those_of_a_naive_loop_and_of_motmetrics_fed_frame_by_frame(scenes, tracks):
    motmetrics = pytest.importorskip("motmetrics", reason="NOTICE: no motmetrics here, IDF1 was not counted")
    random = np.random.default_rng(0)
    for _ in range(3):
        identities = random.integers(0, 6, len(tracks))
        identity_of = dict(zip(zip(tracks.frame.camera, tracks.frame.track), identities.tolist()))
        expected = naive_identity_scores(scenes, identity_of)
        assert list(vars(identity_scores(scenes, tracks, identities)).values()) == pytest.approx(expected)
    identities = np.arange(len(tracks))  # nobody is twice in a frame: motmetrics can be fed
    identity_of = dict(zip(zip(tracks.frame.camera, tracks.frame.track), identities.tolist()))
    accumulator, number = motmetrics.MOTAccumulator(), 0
    for scene in scenes:
        for frame in range(30):
            boxes, truth = (list(side[side.frame == frame].itertuples()) for side in (scene.boxes, scene.truth))
            distances = np.array([[1 - iou(a, b) if iou(a, b) >= 0.5 else np.nan for a in boxes] for b in truth])
            ids = [int(b.track[1:]) for b in truth], [identity_of[scene.camera, a.track] for a in boxes]
            accumulator.update(*ids, distances, frameid=(number := number + 1))
    expected = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "idp", "idr"], return_dataframe=False)
    assert list(vars(identity_scores(scenes, tracks, identities)).values()) == pytest.approx(list(expected.values()))


def anna_before_two_cameras():
    """Scenes and tracks of a person of 10 frames in each of two cameras, whose tracker calls her 7 in both."""
    side = boxes_of([("7", frame, 0) for frame in range(10)])
    scenes = [Scene(camera, side, side.assign(track="anna")) for camera in ("door", "hall")]
    tracks = tracks_of([("door", 0, 1), ("hall", 5, 6)], np.zeros((2, 1)))
    tracks.frame["track"] = "7"
    return scenes, tracks


def test_one_id_in_two_cameras_is_one_person():
    """Two ids find half of her boxes, one id all."""
    pytest.importorskip("motmetrics", reason="NOTICE: no motmetrics here, IDF1 was not counted")
    scenes, tracks = anna_before_two_cameras()
    assert identity_scores(scenes, tracks, [1, 2]).idf1 == pytest.approx(0.5)
    assert vars(identity_scores(scenes, tracks, [1, 1])) == {"idf1": 1, "precision": 1, "recall": 1}
    assert persons_of(tracks, scenes).tolist() == ["anna", "anna"]
    with pytest.raises(ReidError, match="holds no box"):
        identity_scores([scenes[0]._replace(truth=scenes[0].truth.iloc[:0])], tracks, [1, 2])


def test_hota_of_one_id_in_two_cameras():
    pytest.importorskip("reid_hota", reason="NOTICE: no reid-hota here, HOTA was not counted")
    scenes, tracks = anna_before_two_cameras()
    assert hota(scenes, tracks, [1, 1]) == pytest.approx(1.0) and hota(scenes, tracks, [1, 2]) < 0.8


def test_a_track_is_whom_most_of_its_boxes_show():
    truth = boxes_of([("anna", frame, 0) for frame in range(10)] + [("bert", frame, 100) for frame in range(10)])
    boxes = [("1", frame, 1 if frame < 6 else 101) for frame in range(10)]  # changes over to bert
    boxes += [("2", frame, 102 if frame < 4 else 300) for frame in range(10)]  # mostly nobody
    boxes += [("3", 3, 6.0)]  # 4 of 16: too far off
    persons = truth_of_tracks(boxes_of(boxes), truth)
    assert persons.fillna("nobody").to_dict() == {"1": "anna", "2": "nobody", "3": "nobody"}
    assert truth_of_tracks(boxes_of(boxes), truth.iloc[:0]).isna().all()


def test_pairs_of_tracks_by_hand():
    """a a a | a b | b: linked 3 + 1, of which 3 are one person; of 6 + 1 true pairs 3 are linked."""
    persons, identities = ["a", "a", "a", "a", "b", "b"], [1, 1, 1, 2, 2, 3]
    found = pair_scores(persons, identities, draws=500)
    assert (found.precision, found.recall, found.linked, found.true) == (3 / 4, 3 / 7, 4, 7)
    assert found.precision_interval == (0.75, 1) and found.recall_interval == (0, 0.5)  # of a and b, a twice, b twice
    nobody = pair_scores([None, None, "a"], [1, 1, 2])
    assert nobody.precision == 0 and np.isnan(nobody.recall) and nobody.linked == 1
    alone = pair_scores(["a", "b"], [1, 2])
    assert np.isnan(alone.precision) and np.isnan(alone.precision_interval[0])
    assert np.isnan(pair_scores([], []).precision)


def test_intervals_hold_what_other_people_would_have_given():
    """Of people with the same odds, 95 % of the intervals should hold the mean of many."""
    random, inside = np.random.default_rng(0), 0
    for seed in range(40):
        persons = np.repeat(np.arange(60), 2)
        identities = np.where(random.random(120) < 0.3, 1000 + np.arange(120), persons)  # 30 % of tracks got lost
        low, high = pair_scores(persons.tolist(), identities, draws=300, seed=seed).recall_interval
        inside += low <= 0.49 <= high
    assert inside >= 34


def test_the_ablation_names_what_linking_gains(scenes, tracks):
    pytest.importorskip("motmetrics", reason="NOTICE: no motmetrics here, IDF1 was not counted")
    scores = ablation(tracks, scenes, threshold=0.5, draws=50)
    before, after, oracle = scores.loc["each camera's own ids"], scores.loc["linked"], scores.iloc[-1]
    assert before.idf1 < after.idf1 <= oracle.idf1 and oracle.pair_precision == oracle.pair_recall == 1
    assert before.identities == len(tracks) and np.isnan(before.pair_precision)
    text = ablation_table(scores)
    assert "IDF1 %" in text and f"{100 * after.idf1:.1f}" in text and "nan" not in text.lower()
    alone = ablation(tracks, scenes, identities=np.arange(len(tracks)), threshold=0.5, draws=50)
    pd.testing.assert_series_equal(alone.loc["linked"], before, check_names=False)
    pd.testing.assert_frame_equal(alone.drop("linked"), scores.drop("linked"))


def test_linkers_to_compare_with():
    assert oracle_linker(["a", None, "a", None]).tolist() == [1, 2, 1, 3]
    tracks = tracks_of([("door", 0, 1)] * 4, [[0.0], [0.1], [0.3], [9.0]])
    assert nearest_neighbor_linker(tracks, 1.0).tolist() == [1, 1, 1, 2]
    assert nearest_neighbor_linker(tracks_of([("door", 0, 1)] * 3, np.zeros((3, 2))), 1.0).tolist() == [1, 1, 1]


def test_the_synthetic_video_s_own_truth(scene):
    """Tracks of a filmed scene with the looks of whom they show: linking finds all of them, their own ids do not."""
    pytest.importorskip("motmetrics", reason="NOTICE: no motmetrics here, IDF1 was not counted")
    recordings, _ = split_tracks(read_recordings(scene / "recordings.csv"))
    scenes = read_scenes(recordings)
    names = [(one.camera, track, part.frame) for one in recordings for track, part in one.boxes.groupby("track")]
    made = tracks_of([(camera, frames.min(), frames.max()) for camera, _, frames in names], np.zeros((len(names), 5)))
    made.frame["track"] = [track for _, track, _ in names]
    persons = persons_of(made, scenes)
    known = {person: row for row, person in enumerate(sorted(set(persons) - {None}))}
    for row, person in enumerate(persons):
        made.embeddings[row] = np.eye(5)[known[person]] if person else 3 + row
    linkers = np.arange(len(made)), link(made, threshold=0.5).identities, oracle_linker(persons)
    before, after, oracle = (identity_scores(scenes, made, identities).idf1 for identities in linkers)
    assert len(known) == 3 and before + 0.1 < after == oracle
