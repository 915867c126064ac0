"""Lettering of pictures: names in any script, by whatever fonts are installed, or a box for each letter of none."""

from __future__ import annotations

import bisect
import itertools
import unicodedata
from collections.abc import Iterable

from matplotlib import font_manager, ft2font

_DEFAULT = "DejaVu Sans"  # comes with matplotlib
_BOX = "\u25a1"
_LONGEST = 40  # letters
_NO_LETTERS = ("Cc", "Cs", "Zl", "Zp")  # what controls a device, half a letter, ends of lines


class Lettering:
    """Labels and fonts for names.

    Args:
        names: all that may stand on a picture.

    Attributes:
        boxed: name -> label of the names that no installed font can write: boxes and a number that tells them apart.
    """

    def __init__(self, names: Iterable[str]):
        names = list(dict.fromkeys(names))
        self._fonts, self._unknown = _fonts_for(set("".join(names)))
        boxed = [name for name in names if self._unknown & set(name)]
        self.boxed = {name: f"{self._written(name)} [{number}]" for number, name in enumerate(boxed, 1)}

    @property
    def style(self) -> dict:
        """Keyword arguments for matplotlib's texts: the fonts, and that $ begins no formula."""
        return {"fontfamily": self._fonts, "parse_math": False}

    def label(self, name: str) -> str:
        """Returns a name as it stands on a picture."""
        return self.boxed.get(name) or self._written(name)

    def _written(self, name: str) -> str:
        name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"
        return "".join(_BOX if letter in self._unknown else letter for letter in name)


def fitted(text: str, letters: int) -> str:
    """Returns a text of at most so many letters, wide ones counted twice: names often differ at their ends."""
    widths = [2 if letter == _BOX or unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= letters:
        return text
    head = bisect.bisect_right(list(itertools.accumulate(widths)), (letters - 1) // 2)
    tail = bisect.bisect_right(list(itertools.accumulate(widths[::-1])), letters // 2)
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"


def _fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Returns the families that have as many of the letters as installed ones can, and the letters left over."""
    fonts, unwritable = [_DEFAULT], {letter for letter in letters if unicodedata.category(letter) in _NO_LETTERS}
    missing = letters - unwritable
    missing -= _written_by(font_manager.findfont(_DEFAULT), missing)
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)) if missing else ():
        # A font of last resort has a box of its own for everything.
        if font.name in fonts or "last" in font.name.lower() or not _written_by(font.fname, missing):
            continue
        family = font_manager.FontProperties(family=[font.name])
        found = _written_by(font_manager.findfont(family, fallback_to_default=False), missing)  # the one that draws
        if found:
            fonts.append(font.name)
            missing -= found
        if not missing:
            break
    return fonts, missing | unwritable


def _written_by(file: str, letters: set[str]) -> set[str]:
    try:
        font = ft2font.FT2Font(file)
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))} if font.scalable else set()
