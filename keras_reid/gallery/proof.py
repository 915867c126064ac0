"""Proof of a forget: the bytes of embeddings that were removed are looked for in every file of the gallery."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SAMPLE = 16  # embeddings that are looked for


def found_in(files: Sequence[Path], embeddings: np.ndarray) -> set[int]:
    """Returns which rows of float32 `[N, D]` stand in any of the files, byte for byte."""
    wanted = {row: embedding.astype("<f4").tobytes() for row, embedding in enumerate(embeddings)}
    found: set[int] = set()
    for path in files:
        if path.stat().st_size:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found |= {row for row, text in wanted.items() if row not in found and content.find(text) >= 0}
    return found


def verdict(
    before: set[int], after: set[int], files: int, *, local: bool, promised: bool, engine: str
) -> tuple[str, bool]:
    """Returns one sentence on what was found before and after, and whether it proves that all are gone."""
    if not local:
        return _of_elsewhere(engine), False
    if after:
        return (
            f"not physically removed: {engine} keeps deleted embeddings in its files ({len(after)} of {len(before)} "
            "that were looked for are still there); copy what is left into a new gallery (gallery export, "
            "gallery add) and delete this one",
            False,
        )
    if not promised:
        return (
            f"not promised: {engine} may keep deleted embeddings in its files, though none was found there now",
            False,
        )
    if not before:
        return f"not proven: {engine} stores embeddings in a form in which they could not be looked for", False
    return f"proven: none of {len(before)} embeddings looked for stands in any of {files} files", True


def verdict_of_interrupted(before: int, left: int, *, local: bool, promised: bool, engine: str) -> tuple[str, bool]:
    """The same where nothing can be looked for: by how many files there were before, and are left of them."""
    if not local:
        return _of_elsewhere(engine), False
    if not promised:
        return f"not promised: {engine} may keep deleted embeddings in its files", False
    if left:
        return f"not proven: {left} of {before} files from before are still there; gallery compact tries again", False
    return f"proven: none of {before} files from before is left, and what remains is written anew", True


def _of_elsewhere(engine: str) -> str:
    return f"not proven: when {engine} takes deleted embeddings off its disks is for the server to say"
