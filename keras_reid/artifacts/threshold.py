"""Threshold of same person or not: written into all artifacts of a run that hold one network, or into none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.artifacts.opening import open_artifact, replace_metadata
from keras_reid.errors import ReidError


def write_threshold(path: str | os.PathLike, calibration: Mapping) -> dict[Path, str | None]:
    """Writes a threshold into the `reid.json` of an artifact; of a run folder, into all of the same network.

    Those are `last.keras`, what lies in `export/`, and `best.keras` where it is the same epoch. An artifact of another
    network keeps what it has. So does, where the threshold was calibrated with test-time augmentation, what was
    exported for those who have none.

    Args:
        path: as for `open_artifact`.
        calibration: a value for each key of `CALIBRATED`, as `VerificationResult.calibration` returns them.

    Returns:
        For each artifact None, or why its threshold was left as it was; the first is the one that `path` stands for.

    Raises:
        ReidError: `open_artifact` refuses the first artifact, or it cannot be changed.
        OSError: one of them cannot be written; then all are as they were.
    """
    first = open_artifact(path)
    augmented = (calibration.get("threshold_views") or "none") != "none"
    kept = {Path(first.name): None}
    with contextlib.ExitStack() as undo:
        _write(first, calibration, undo)
        for place in _others_of_run(Path(path)):
            try:
                other = open_artifact(place)
                kept[place] = _why_not(other, first, augmented)
                if kept[place] is None:
                    _write(other, calibration, undo)
            except ReidError as error:  # damaged, with files of others in it, or without the package that reads it
                kept[place] = str(error)
        undo.pop_all()  # all of them are written
    return kept


def _write(artifact: Artifact, calibration: Mapping, undo: contextlib.ExitStack) -> None:
    where = artifact.kind, Path(artifact.name)
    replace_metadata(*where, {**artifact.metadata, **calibration})
    undo.callback(replace_metadata, *where, artifact.metadata)


def threshold_lines(kept: Mapping[Path, str | None]) -> list[str]:
    """Returns a line on where else than in the first artifact `write_threshold` wrote, and one for each it left out."""
    others = list(kept.items())[1:]
    written = [str(path) for path, why in others if why is None]
    also = [f"also written into {', '.join(written)}"] if written else []
    return also + [f"not written into {path}: {why}" for path, why in others if why is not None]


def _why_not(other: Artifact, first: Artifact, augmented: bool) -> str | None:
    """Returns why the threshold of one artifact does not hold for another; None where it does."""
    if not other.network_fingerprint:
        return "it holds no network fingerprint: export it again"
    if other.network_fingerprint != first.network_fingerprint:
        return "it is another network"
    if other.metric != first.metric:
        return f"it is compared by {other.metric}, not by {first.metric}"
    if augmented and other.kind != "keras":
        return "who uses it embeds an image as it is, without test-time augmentation"
    return None


def _others_of_run(folder: Path) -> Iterator[Path]:
    """Yields what else a run folder may hold of its network; nothing for another path."""
    if not (folder / "last.keras").exists():
        return
    for path in (folder / "best.keras", *(folder / "export" / one.place for one in FORMATS.values())):
        if path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.name.isdecimal())
        elif path.exists():
            yield path
