"""Sequences: where a recording's frames lie, and how many there are a second, as in MOT Challenge's seqinfo.ini."""

from __future__ import annotations

import configparser
from pathlib import Path

from keras_reid.data.image_list import image_names
from keras_reid.errors import ReidError, first_line
from keras_reid.tracks.frames import frame_rate


def frames_at(frames: Path) -> Path:
    """Returns the folder of pictures or the video; a sequence of MOT Challenge holds its pictures in img1."""
    if not frames.exists():
        raise ReidError(f"there is no {str(frames)!r}: expected frames, a folder of pictures or a video file.")
    if frames.is_dir() and not image_names(str(frames)):
        inside = frames / _sequence(frames).get("imdir", "img1")
        if inside.is_dir() and image_names(str(inside)):
            return inside
        raise ReidError(f"the folder {str(frames)!r} holds no pictures: expected the frames of a recording.")
    return frames


def rate_of(frames: Path, *near: Path) -> float:
    """Returns the frames a second that a seqinfo.ini beside a recording's frames or in `near` names, or the video."""
    for folder in (frames, frames.parent, *near, *(folder.parent for folder in near)):
        rate = _sequence(folder).get("framerate")
        if rate:
            return rate_in(rate, f"frameRate of {str(folder / 'seqinfo.ini')!r}")
    if frames.is_dir():
        raise ReidError(f"the frames a second of {str(frames)!r} are not known: give fps=, or a seqinfo.ini beside it.")
    return frame_rate(frames)


def _sequence(folder: Path) -> dict[str, str]:
    """Returns what MOT Challenge's seqinfo.ini in a folder says, names in lower case; nothing where there is none."""
    path, parser = folder / "seqinfo.ini", configparser.ConfigParser(interpolation=None)
    if not path.is_file():
        return {}
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise ReidError(
            f"{str(path)!r} cannot be read ({first_line(error)}): expected [Sequence], frameRate=25."
        ) from error
    return {name: value for section in parser.sections() for name, value in parser[section].items()}


def rate_in(text: str, name: str) -> float:
    """Returns frames a second that are written as text, under this name in messages."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = float("nan")
    if not 0 < number < 1000:
        raise ReidError(f"{name}={text}, expected frames a second, a number from above 0 to 1000.")
    return number
