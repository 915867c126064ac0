"""Crops of a track: what makes a box good, which boxes are chosen, and their pixels; against loops and by hand."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.tracks.crops import box_quality, choose_boxes, covered, cut, safe_name, sharpness
from keras_reid.tracks.cutting import cut_crops
from tests.tracks.scene import walk

SIZES = {"picture_size": (100, 200), "image_size": (20, 10)}


def table(*rows) -> pd.DataFrame:
    """Rows of frame, x, y, width, height, confidence, each of a track of its own."""
    frame = pd.DataFrame(rows, columns=["frame", "x", "y", "width", "height", "confidence"])
    return frame.assign(track=[str(row) for row in range(len(frame))])


def quality(*rows) -> list[float]:
    return box_quality(table(*rows), **SIZES).tolist()


def test_how_much_of_a_box_others_cover():
    random = np.random.default_rng(0)
    places = random.uniform(0, 60, (80, 2)), random.uniform(5, 40, (80, 2))
    boxes = pd.DataFrame(np.concatenate(places, axis=1), columns=["x", "y", "width", "height"])
    boxes["frame"] = np.sort(random.integers(0, 12, 80))
    expected = []
    for one in boxes.itertuples():
        shares = [0.0]
        for other in boxes[boxes.frame == one.frame].itertuples():
            width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            if other.Index != one.Index and width > 0 and height > 0:
                shares.append(width * height / (one.width * one.height))
        expected.append(min(1.0, max(shares)))
    np.testing.assert_allclose(covered(boxes), expected)
    assert max(expected) > 0.5 and min(expected) == 0


def test_what_a_box_promises():
    """20.5 x 50 has the shape of a standing person, 0.41, and more pixels than the network takes, 20 x 10."""
    best = (0, 50, 20, 20.5, 50, 1.0)
    assert quality(best) == [1.0]
    assert quality((0, 50, 20, 20.5, 50, np.nan)) == [1.0]  # a tracker that says no confidence
    assert quality((0, 50, 20, 20.5, 50, 0.5)) == [0.5]
    assert quality((0, 50, 20, 4.1, 10, 1.0)) == pytest.approx([0.41])  # 10 of 20 rows, 4.1 of 10 columns
    assert quality((0, 50, 20, 41, 50, 1.0)) == [0.5]  # twice as wide as a person
    assert quality((0, 0, 20, 20.5, 50, 1.0)) == [0.5]  # ends at the picture's border
    assert quality((0, -10.25, 20, 20.5, 50, 1.0)) == [0.25]  # half of it is outside
    assert quality((0, 300, 20, 20.5, 50, 1.0), (1, -50, -60, 20, 50, 1.0)) == [0.0, 0.0]
    assert quality(best, best) == [1e-6, 1e-6]  # all of it is covered: poor, but no more than that
    assert quality(best, (1, 50, 20, 20.5, 50, 1.0)) == [1.0, 1.0]  # in another frame


@pytest.mark.filterwarnings("error")
def test_boxes_as_large_as_numbers_go_spoil_no_other():
    huge = (0, -1e300, -1e300, 1.5e300, 1.5e300, 1.0)
    found = quality((0, 50, 20, 20.5, 50, 1.0), huge, huge)
    assert 0 < found[0] <= 1 and np.isfinite(found).all()


def test_each_third_of_a_slot_gives_its_best_box():
    boxes = pd.concat([walk("a", first=10, last=129), walk("b", first=50, last=52)]).sort_values("frame", kind="stable")
    promised = np.random.default_rng(1).uniform(0.5, 1, len(boxes))
    chosen = choose_boxes(boxes, promised, crops_per_track=4)
    frames, tracks = boxes.frame.to_numpy(), boxes.track.to_numpy()
    expected = set()
    for third in range(12):  # of 10 frames each
        rows = np.flatnonzero((tracks == "a") & (frames >= 10 + 10 * third) & (frames < 20 + 10 * third))
        expected.add(("a", third // 3, int(rows[promised[rows].argmax()])))
    expected |= {("b", slot, int(row)) for slot, row in zip((0, 1, 2), np.flatnonzero(tracks == "b"))}
    assert set(zip(chosen.track, chosen.slot, chosen.row)) == expected
    assert chosen.frame.is_monotonic_increasing and (frames[chosen.row] == chosen.frame).all()


def test_poor_and_impossible_boxes_are_not_chosen():
    boxes = walk("a", first=0, last=29)
    promised = np.full(30, 0.8)
    promised[10:20] = 0.1  # hidden behind somebody
    promised[20:] = 0.0  # outside the picture
    assert set(choose_boxes(boxes, promised, crops_per_track=3).frame) <= set(range(10))
    only = choose_boxes(boxes.iloc[:1], np.array([1e-6]), crops_per_track=3)  # nothing better is known of this one
    assert only[["row", "slot"]].to_numpy().tolist() == [[0, 0]]
    assert not len(choose_boxes(boxes, np.zeros(30), crops_per_track=3))


def test_a_box_is_cut_inside_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert (cut(picture, (2.2, 3.7, 5.1, 6.0)) == picture[3:10, 2:8]).all()
    assert (cut(picture, (-4, -2, 10, 10)) == picture[:8, :6]).all()
    assert cut(picture, (25, 15, 10, 10)).shape == (5, 5, 3)
    assert cut(picture, (31, 0, 5, 5)) is None and cut(picture, (-9, 0, 5, 5)) is None
    assert not np.shares_memory(cut(picture, (0, 0, 9, 9)), picture)


def test_a_blurred_crop_is_less_sharp():
    from scipy.ndimage import uniform_filter

    crop = np.random.default_rng(0).integers(0, 256, (40, 20, 3), np.uint8)
    blurred = uniform_filter(crop, (5, 5, 1))
    flat = np.full((40, 20, 3), 90, np.uint8)
    values = [sharpness(one, (40, 20)) for one in (crop, blurred, flat)]
    assert 1 > values[0] > values[1] > values[2] == 0
    # Rows of 0 and 10 in turn: the Laplacian is 20 and -20, its variance 400, of 500.
    striped = np.repeat(np.uint8([0, 10] * 9)[:, None, None], 10, axis=1).repeat(3, axis=2)
    assert sharpness(striped, (18, 10)) == pytest.approx(0.8)


def test_the_sharpest_of_a_slot_comes_out_and_nothing_is_kept_after_it():
    boxes, crop = walk("a", first=0, last=5), {}
    chosen = pd.DataFrame(
        {"row": range(6), "frame": range(6), "track": "a", "slot": [0, 0, 0, 1, 1, 1], "quality": 1.0}
    )
    random = np.random.default_rng(0)
    pictures = [random.integers(0, contrast, (60, 80, 3), np.uint8) for contrast in (9, 200, 9, 9, 9, 200)]
    came = [(frame, crops) for frame, crops in cut_crops(enumerate(pictures), boxes, chosen, (20, 8))]
    assert [(frame, [one.frame for one in crops]) for frame, crops in came if crops] == [(2, [1]), (5, [5])]
    crop = came[2][1][0]
    assert (crop.pixels == pictures[1][10:30, 10:18]).all() and 0.9 < crop.quality < 1
    missing = [(frame, pictures[frame]) for frame in (0, 4)]  # a slot whose last picture is missing is decided later
    came = [(frame, [one.frame for one in crops]) for frame, crops in cut_crops(missing, boxes, chosen, (20, 8))]
    assert came == [(0, []), (4, [0]), (5, [4])]


def test_names_of_files_are_safe_and_differ():
    names = ["7", "7+2", "Lobby-1", "cam.1", "../etc", "a/b", "a b", "a_b", "", ".", "x" * 90, "x" * 91, "Tür 😀"]
    safe = [safe_name(name) for name in names]
    assert safe[:4] == names[:4] and len(set(safe)) == len(names)
    assert all(name and "/" not in name and not name.startswith(".") and len(name) < 80 for name in safe)
