"""Lettering of pictures: what an installed font has is written, for the rest stands a box."""

import warnings

import pytest
from matplotlib.figure import Figure

from keras_reid.data.checks import lettering
from keras_reid.data.checks.lettering import Lettering, fitted

PRIVATE = "\ue9a7"  # for private use: no font of this machine says what it is
NAMES = [
    "anna",
    "$x_2$",
    "\u0410\u043d\u043d\u0430",
    "\u0622\u0646\u0627",
    f"a{PRIVATE}{PRIVATE}",
    f"{PRIVATE}b",
    "c\td\n",
]


def test_what_no_font_has_is_boxes_and_a_number():
    letters = Lettering(NAMES)
    assert letters.boxed == {NAMES[4]: "a\u25a1\u25a1 [1]", NAMES[5]: "\u25a1b [2]", NAMES[6]: "c\u25a1d\u25a1 [3]"}
    assert [letters.label(name) for name in NAMES] == [*NAMES[:4], *letters.boxed.values()]
    assert letters.style["fontfamily"] == ["DejaVu Sans"]  # it has Cyrillic and Arabic letters


def test_a_long_name_is_cut():
    assert Lettering(["x" * 40]).label("x" * 40) == "x" * 40
    assert Lettering(["x" * 41]).label("x" * 41) == "x" * 39 + "\u2026"


def test_another_font_is_taken_where_it_has_the_letters(monkeypatch):
    """cmr10, which comes with matplotlib too, stands for an installed font of another script."""
    monkeypatch.setattr(
        lettering, "_written_by", lambda file, letters: letters & set(PRIVATE if "cmr10" in str(file) else "ab")
    )
    letters = Lettering([f"a{PRIVATE}", "bc"])
    assert letters.style["fontfamily"] == ["DejaVu Sans", "cmr10"] and letters.boxed == {"bc": "b\u25a1 [1]"}


@pytest.mark.parametrize("names", [NAMES, ["\U0001f600", "\u674e\u96f7", "\ud800", "a\u0301", "\u200d", "\u0e2a"], []])
def test_whatever_is_written_matplotlib_does_not_complain(names, tmp_path):
    letters, figure = Lettering(names), Figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row, name in enumerate(names):
            figure.text(0, row / 10, letters.label(name), **letters.style)
        figure.savefig(tmp_path / "page.png")


def test_long_names_keep_both_ends():
    assert fitted("short", 8) == "short"
    assert fitted("person number 17", 9) == "pers\u2026r 17"
    assert fitted("\u4e2d" * 10, 8) == "\u4e2d\u2026\u4e2d\u4e2d"  # wide letters count twice
