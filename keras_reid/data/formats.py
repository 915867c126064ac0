"""Image formats: which files are images, by the endings of their names, and what a file is by its first bytes."""

from __future__ import annotations

import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable

# Format that is read, as Pillow calls it -> the endings of its files.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
_USUAL = (".jpg", ".jpeg", ".png", ".bmp")  # first in messages
IMAGE_SUFFIXES = tuple(dict.fromkeys((*_USUAL, *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes))))
ENDING = rf"(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"  # of an image's name, for patterns that ignore case
IN_WORDS = "JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF, JPEG 2000 or PPM"

HEAD = 24  # bytes in which the format shows
_FIRST_BYTES = {
    rb"\xff\xd8\xff": "JPEG",
    rb"\x89PNG": "PNG",
    rb"BM": "BMP",
    rb"GIF8": "GIF",
    rb"RIFF....WEBP": "WebP",
    rb"II\*\x00|MM\x00\*": "TIFF",
    rb"....ftypavi[fs]": "AVIF",
    rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51": "JPEG2000",
    rb"P[1-6]\s": "PPM",
    rb"....ftyp": "HEIC or video",
    rb"%PDF": "PDF",
    rb"<": "HTML or XML",
    rb"PK\x03\x04": "ZIP",
    rb"version https://git-lfs": "pointer of Git LFS, whose file was not fetched",
}
_OF_THE_DESKTOP = ("thumbs.db", "desktop.ini")  # Windows leaves them in any folder; Market-1501's archive holds three
_NO_PICTURES = ("text/", "application/")  # kinds of files by their endings, as in mail: .txt, .csv, .json, .pdf, .zip
_KINDS = mimetypes.MimeTypes()


def is_image(name: str) -> bool:
    """Whether a file is an image that is read, by the ending of its name, in upper or lower case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def file_format(head: bytes) -> str:
    """Returns the format that a file's first `HEAD` bytes show, or "unknown"."""
    return next((name for start, name in _FIRST_BYTES.items() if re.match(start, head, re.DOTALL)), "unknown")


def left_out(names: Iterable[str]) -> list[str]:
    """Returns the files that may be images, but are not read: other pictures, videos, and endings that say nothing.

    Hidden files, text and data are no images, nor is what a desktop leaves.
    """

    def may_be_image(base: str) -> bool:
        kind = _KINDS.guess_type(f"x{os.path.splitext(base)[1]}")[0] or ""
        return not (base.startswith(".") or base in _OF_THE_DESKTOP or kind.startswith(_NO_PICTURES))

    return [name for name in names if not is_image(name) and may_be_image(os.path.basename(name).lower())]


def count_by_suffix(names: Iterable[str]) -> str:
    """Returns the endings of files with their numbers, the most frequent first: ".heic 3, .txt 1"."""
    endings = Counter(os.path.splitext(name)[1].lower() or "no ending" for name in names)
    return ", ".join(f"{ending} {count}" for ending, count in endings.most_common())
