"""A track's name stands for one track of its camera: ids that come back after a gap, or in another recording."""

from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid.tracks.recordings import Recording
from keras_reid.tracks.splitting import split_tracks
from tests.tracks.scene import walk


def recording(camera: str, *walks: pd.DataFrame, start: float = 0.0, fps: float = 10.0) -> Recording:
    boxes = pd.concat(walks).sort_values("frame", kind="stable")
    return Recording(camera, boxes, Path("video.mp4"), start, fps)


def spans(recording: Recording) -> dict[str, tuple[int, int]]:
    return {track: (part.min(), part.max()) for track, part in recording.boxes.groupby("track").frame}


def test_an_id_after_a_long_gap_is_another_track():
    first, second = walk("7", first=0, last=9), walk("7", first=309, last=320)
    (near,), renamed = split_tracks([recording("A", first, second)], split_gap=30)
    assert renamed == 0 and spans(near) == {"7": (0, 320)}  # 300 frames are 30 seconds, no more
    later = walk("7", first=310, last=320), walk("7", first=900, last=901), walk("8", first=0, last=900)
    (far,), renamed = split_tracks([recording("A", first, *later)], split_gap=30)
    assert renamed == 2
    assert spans(far) == {"7": (0, 9), "7+2": (310, 320), "7+3": (900, 901), "8": (0, 900)}
    assert far.boxes.frame.is_monotonic_increasing


def test_each_recording_of_a_camera_counts_anew_in_the_order_of_time():
    late, early = (recording("A", walk("1", first=0, last=5), start=start) for start in (200.0, 100.0))
    other = recording("B", walk("1", first=0, last=5), start=100.0)
    split, renamed = split_tracks([late, early, other])
    assert renamed == 1 and [list(spans(one)) for one in split] == [["1+2"], ["1"], ["1"]]


def test_a_name_that_the_tracker_uses_is_not_given_again():
    walks = walk("7", first=0, last=1), walk("7", first=900, last=901), walk("7+2", first=0, last=901)
    (split,), renamed = split_tracks([recording("A", *walks)], split_gap=30)
    assert renamed == 1 and spans(split) == {"7": (0, 1), "7+3": (900, 901), "7+2": (0, 901)}


def test_a_hundred_thousand_tracks_and_none():
    count = 100_000
    boxes = pd.DataFrame({"track": np.arange(2 * count) % count, "frame": np.arange(2 * count) // 100}).astype(
        {"track": str}
    )
    split, renamed = split_tracks([recording("A", boxes), recording("A", boxes[:0])], split_gap=30)
    assert renamed == count and split[0].boxes.track.nunique() == 2 * count and not len(split[1].boxes)
