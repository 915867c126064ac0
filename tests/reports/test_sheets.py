"""Sheets of photos: marks, lines and words of what is right, wrong, ignored or missing."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid.evaluation import Embedded, ranked_lists
from keras_reid.reports import plots
from keras_reid.reports.sheets import Cell, draw_ranked_lists, sheet

COLORS = ("red", "lime", "blue", "yellow", "magenta")


@pytest.fixture
def embedded(tmp_path):
    """A query at 0 and gallery images at 1 to 5: ignored, wrong (its file is gone), wrong, wrong, right."""
    paths = []
    for name, color in zip(("q", "a", "gone", "c", "d"), COLORS):
        paths.append(str(tmp_path / f"{name}.png"))
        Image.new("RGB", (32, 64), color).save(paths[-1])
    (tmp_path / "gone.png").unlink()
    (tmp_path / "broken $1$.png").write_bytes(b"no image")
    paths.append(str(tmp_path / "broken $1$.png"))
    names = ["anna", "anna", "<b>$x$</b>", "\u05d3\u05e0\u05d4", "a very long name indeed 2", "anna"]
    frame = pd.DataFrame({"person_id": [1, 1, 2, 3, 4, 1], "person_id_name": names, "image_path": paths})
    frame["camera_id"] = pd.array([1, 1, 2, None, 2, 3], dtype="Int64")
    places = np.arange(6.0)[:, None]
    return Embedded(frame[:1], places[:1], frame[1:].reset_index(drop=True), places[1:])


def test_each_image_says_what_it_is(embedded):
    lists = ranked_lists(embedded, [0], depth=3, missing_cameras="distinct")
    figure = draw_ranked_lists(embedded, lists, title="a $title$", columns=3, notes=["AP 25.0 %"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "a $title$" in texts[0] and not any(text.get_parse_math() for text in figure.axes[0].texts[:5])
    assert [text for text in texts if text[0] in "\u2713\u2717\u2013"] == [
        "\u2013 1.00",
        "\u2717 1, 2.00",
        "\u2717 2, 3.00",
        "\u2713 1st right",  # in a column of its own
    ]
    assert {"AP 25.0 %", "anna", "camera 1", "no camera", "4, 5.00", "<b>$x$</b>"} <= set(texts)
    assert {"photo\nis missing", "photo\ncannot be read"} <= set(texts)
    borders = [patch for patch in figure.axes[0].patches if not patch.get_fill()]
    assert [border.get_linestyle() for border in borders] == ["-", ":", "--", "--", "-"]
    assert len({border.get_edgecolor() for border in borders}) == 4
    photos = [tuple(image.get_array()[5, 5]) for image in figure.axes[0].images]
    assert photos == [(255, 0, 0), (0, 255, 0), (255, 255, 0)]  # query, ignored, and the one after the missing
    colors = np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("RGB")).reshape(-1, 3)
    for color in photos:
        assert (colors == color).all(axis=1).sum() > 20_000  # pixels: nothing covers them


def test_a_list_that_shows_a_right_image_has_no_further_column(embedded):
    lists = ranked_lists(embedded, [0], depth=9, missing_cameras="distinct")
    figure = draw_ranked_lists(embedded, lists, title="all", columns=5)
    assert "\u2713 1st right" not in [text.get_text() for text in figure.axes[0].texts]
    assert len([patch for patch in figure.axes[0].patches if not patch.get_fill()]) == 6


def test_embeddings_without_images_are_empty_boxes():
    frame = pd.DataFrame({"person_id": [1, 1]})
    embedded = Embedded(frame[:1], np.zeros((1, 2)), frame[1:].reset_index(drop=True), np.ones((1, 2)))
    lists = ranked_lists(embedded, [0], ignore="nothing")
    figure = draw_ranked_lists(embedded, lists, title="none")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("no\nphoto") == 2 and not figure.axes[0].images
    assert plots.png(figure)[:4] == b"\x89PNG"
    assert plots.png(sheet("nothing at all", []))[:4] == b"\x89PNG"


def test_nothing_is_painted_over_its_neighbor():
    wide, tall = np.zeros((20, 200, 3), np.uint8), np.zeros((300, 10, 3), np.uint8)
    figure = sheet("shapes", [[Cell((wide, tall), ("W" * 60,)), Cell((tall,)), None, Cell((wide,))]] * 2)
    boxes = [patch.get_bbox() for patch in figure.axes[0].patches if not patch.get_fill()]
    assert len(boxes) == 6
    for number, box in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = box.x1 < other.x0 or other.x1 < box.x0 or box.y1 < other.y0 or other.y1 < box.y0
            assert apart, (box, other)
    for image, box in zip(figure.axes[0].images[:2], boxes[:1] * 2):
        left, right, bottom, top = image.get_extent()
        assert box.x0 <= left < right <= box.x1 and min(box.y0, box.y1) - 1e-9 <= top < bottom <= max(box.y0, box.y1)
        assert (right - left) / (bottom - top) == pytest.approx(image.get_array().shape[1] / image.get_array().shape[0])
