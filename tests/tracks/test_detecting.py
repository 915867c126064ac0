"""Detection as a demonstration: what the detector finds becomes tracks, and what is missing is named."""

import numpy as np
import pytest
from PIL import Image

from keras_reid.errors import ReidError
from keras_reid.tracks import detecting
from keras_reid.tracks.recordings import read_recordings, recordings_of


@pytest.fixture
def frames(tmp_path):
    for number in range(1, 7):
        Image.new("RGB", (320, 180)).save(tmp_path / f"{number:06d}.png")
    return tmp_path


def test_two_people_who_cross_the_picture_are_two_tracks(frames, monkeypatch):
    """One walks right by 5 pixels a frame, one stands: 6 frames each, one numbered once it is seen twice."""
    supervision = pytest.importorskip("supervision")
    moments = iter(range(6))

    def found(*_):
        left = 20 + 5 * next(moments)
        corners = np.array([[left, 30, left + 40, 120], [200, 30, 240, 120]], np.float32)
        return supervision.Detections(xyxy=corners, confidence=np.array([0.9, 0.8]), class_id=np.zeros(2, int))

    pytest.importorskip("cv2")
    monkeypatch.setattr(detecting, "_detections", found)
    (one,) = recordings_of(frames=frames, camera="door", fps=10, detect=frames / "boxes")
    assert one.camera == "door" and set(one.boxes.track) == {"1", "2"} and not one.left_out
    walker = one.boxes[one.boxes.x < 100]
    assert walker.track.nunique() == 1 and walker.x.tolist() == [20 + 5 * frame for frame in walker.frame]
    assert walker.frame.tolist()[-1] == 5 and len(walker) >= 4 and walker.width.eq(40).all()
    monkeypatch.setattr(detecting, "detect", None)  # they are found once
    (again,) = recordings_of(frames=frames, camera="door", fps=10, detect=frames / "boxes")
    assert again.boxes.equals(one.boxes)


def nobody():
    return detecting.pd.DataFrame({name: [] for name in detecting.COLUMNS}).astype(detecting.COLUMNS)


def test_a_picture_of_nobody_has_no_boxes(frames):
    pytest.importorskip("supervision")
    pytest.importorskip("cv2")
    for number in range(2, 7):  # one takes a third of a second
        (frames / f"{number:06d}.png").unlink()
    boxes = detecting.detect(frames, fps=10)
    assert list(boxes) == list(detecting.COLUMNS) and not len(boxes)


def test_a_table_without_boxes_is_refused_unless_people_are_to_be_found(frames, monkeypatch):
    (frames / "recordings.csv").write_text("camera,frames,fps\ndoor,.,10\n")
    with pytest.raises(ReidError, match="has no column boxes"):
        read_recordings(frames / "recordings.csv")
    with pytest.raises(ReidError, match="boxes= is missing"):
        recordings_of(frames=frames, fps=10)
    monkeypatch.setattr(detecting, "detect", lambda frames, *, fps: nobody())
    (one,) = read_recordings(frames / "recordings.csv", detect=frames / "boxes")
    assert one.fps == 10 and len(one.boxes) == 0 and one.source.path.parent == frames / "boxes"


def test_without_the_extra_the_way_to_get_it_is_said(frames, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(ReidError, match=r"pip install 'keras_reid\[detect\]'"):
        detecting.detect(frames, fps=10)
