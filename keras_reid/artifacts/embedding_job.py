"""Embedding job: finished chunks of embeddings are kept in a folder, so that an interrupted job goes on there.

A chunk's file begins with a hash over its content, the artifact, the test-time augmentation and the images: a chunk
that is damaged or belongs to another job does not match it and is embedded again. It marks the images that cannot be
read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.augmentation import check_augmentation
from keras_reid.choices import ON_ERROR
from keras_reid.data.formats import IN_WORDS
from keras_reid.data.images import undecodable_images
from keras_reid.data.pipeline import image_batches
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, write_text

# Images: an interruption loses at most one chunk, two minutes on a laptop. A smaller one: each takes 0.1 s to start.
_CHUNK = 2048
# Of a chunk's file: with another number the old files belong to another job. 1 ignored EXIF orientation.
_FORMAT = 2
_HASH_SIZE = hashlib.sha256().digest_size
_JOB = "embed_job.json"
_OURS = re.compile(r"\.?embed_(job|\d{6,})(\.part-[0-9a-f]{8})?\.(json|bin)")  # .part-: of a killed process


def embed_in_parts(
    artifact: Artifact,
    image_paths: Sequence[str],
    *,
    folder: str | os.PathLike,
    batch_size: int = 64,
    test_time_augmentation: str = "none",
    on_error: str = "stop",
) -> tuple[np.ndarray, np.ndarray]:
    """Embeds image files as `embed_files` does and keeps finished chunks: called again, it goes on after them.

    Args:
        artifact: embeds them; opened by `open_artifact`, because its files tell one job from another.
        image_paths: `[N]` files of any size.
        folder: holds the finished chunks; made with the first one, removed by `remove_parts`.
        batch_size: most images at once.
        test_time_augmentation: as in `Artifact.embed`.
        on_error: "stop" at an image that cannot be read, or "skip" it.

    Returns:
        The embeddings of the images that can be read, float32 `[M, D]`, in the order of the files, and a mask of those
        images, bool `[N]`.

    Raises:
        ReidError: an image cannot be read under "stop", or none can; or the folder holds files of others.
    """
    check_augmentation(test_time_augmentation)
    if on_error not in ON_ERROR:
        raise ReidError(f"on_error={on_error}, expected one of {', '.join(ON_ERROR)}.")
    _check_ours(Path(folder))
    job = _Job(artifact, [os.fspath(path) for path in image_paths], Path(folder), test_time_augmentation)
    unfinished = [chunk for chunk in job.chunks if not job.load(chunk, on_error)]
    job.begin()
    skip, progress = on_error == "skip", {"desc": f"embed ({artifact.kind})", "unit": "image", "leave": False}
    try:
        with tqdm(total=len(job.paths), initial=job.done, disable=None, **progress) as bar:
            for chunk in unfinished:
                paths = job.paths[chunk]
                for positions, images in image_batches(paths, batch_size=batch_size, skip_undecodable=skip):
                    job.embeddings[chunk][positions] = artifact.embed(images, test_time_augmentation)
                    job.readable[chunk][positions] = True
                    bar.update(len(positions))
                bar.update(len(paths) - np.count_nonzero(job.readable[chunk]))
                job.save(chunk)
    except KeyboardInterrupt:
        if job.done:
            print(f"{job.progress} are done: the same command goes on there.", file=sys.stderr)
        raise
    except ReidError as error:  # an image that cannot be read
        advice = "" if skip else " Or leave them out: on_error=skip."
        kept = f" {job.progress} are done and kept." if job.done else ""
        raise ReidError(f"{error}{advice}{kept}") from error
    if len(job.paths) and not job.readable.any():
        remove_parts(folder)  # nothing in it is worth keeping
        raise ReidError(
            f"none of the {len(job.paths)} images can be read (missing, truncated or no image), such as "
            f"{job.paths[0]!r}. Expected {IN_WORDS} files."
        )
    return job.embeddings[job.readable], job.readable


def remove_parts(folder: str | os.PathLike) -> None:
    """Removes finished chunks and their folder; the folder stays where it holds other files."""
    folder = Path(folder)
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is none, or it is not empty
        folder.rmdir()


def _check_ours(folder: Path) -> None:
    names = os.listdir(folder) if folder.is_dir() else []
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    # Other files may join ours: file managers leave theirs in any folder.
    if (foreign and _JOB not in names) or (os.path.lexists(folder) and not folder.is_dir()):
        found = f"a folder with {foreign[0]!r}" if foreign else "a file"
        raise ReidError(
            f"{str(folder)!r} is {found}, expected nothing, or the finished parts of an interrupted embed, which are "
            "kept there. Move it away."
        )


class _Job:
    """Images to embed, their embeddings (zeros where there is none yet), and the folder of their finished chunks."""

    def __init__(self, artifact: Artifact, paths: list[str], folder: Path, augmentation: str):
        width = artifact.metadata["embedding_size"]
        self.paths, self.folder, self.done = paths, folder, 0
        self.chunks = [slice(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]
        self.embeddings, self.readable = np.zeros((len(paths), width), np.float32), np.zeros(len(paths), bool)
        # Keys and their order are part of each chunk's hash: chunks of earlier versions must still match.
        self._recipe = {"format": _FORMAT, "artifact": _content_hash(Path(artifact.name)), "views": augmentation}
        self._recipe["embedding_size"] = width
        self._images = {chunk.start: _images_hash(paths[chunk]) for chunk in self.chunks}
        self._description = {**self._recipe, "images": hashlib.sha256(b"".join(self._images.values())).hexdigest()}

    @property
    def progress(self) -> str:
        return f"{self.done} of {len(self.paths)} images"

    def load(self, chunk: slice, on_error: str) -> bool:
        """Takes over a chunk from its file; returns False where no file matches."""
        try:
            content = self._file(chunk).read_bytes()
        except OSError:  # not there, or the disk does not give it back
            return False
        count = chunk.stop - chunk.start
        if content[:_HASH_SIZE] != self._hash(chunk, content[_HASH_SIZE:]):
            return False
        readable = np.frombuffer(content, bool, count, _HASH_SIZE)
        skipped = [path for path, can_be_read in zip(self.paths[chunk], readable) if not can_be_read]
        # Try each again: its disk may have been away for a while.
        if skipped and (on_error == "stop" or len(undecodable_images(skipped)) < len(skipped)):
            return False
        self.readable[chunk] = readable
        self.embeddings[chunk] = np.frombuffer(content, np.float32, offset=_HASH_SIZE + count).reshape(count, -1)
        self.done += count
        return True

    def begin(self) -> None:
        """Says how many finished chunks match, and clears the folder where none does because of another job."""
        changed = [name.replace("views", "test-time augmentation") for name in self._changed()]
        if changed and not self.done:
            print(f"{self.folder} is of another job (other {', '.join(changed)}): beginning anew")
            remove_parts(self.folder)
        elif changed:
            print(f"the images are no longer those of {self.folder}: what has changed is embedded again")
            self._write_job()
        if self.done:
            print(f"going on after {self.progress}")

    def save(self, chunk: slice) -> None:
        """Writes a finished chunk, whole or not at all."""
        if not (self.folder / _JOB).exists():  # the first chunk, or another process has finished the same job
            self._write_job()
        body = self.readable[chunk].tobytes() + self.embeddings[chunk].tobytes()
        with whole_or_not_at_all(self._file(chunk)) as temporary:
            temporary.write_bytes(self._hash(chunk, body) + body)
        self.done += chunk.stop - chunk.start

    def _file(self, chunk: slice) -> Path:
        return self.folder / f"embed_{chunk.start // _CHUNK:06}.bin"

    def _hash(self, chunk: slice, body: bytes) -> bytes:
        return hashlib.sha256(json.dumps(self._recipe).encode() + self._images[chunk.start] + body).digest()

    def _write_job(self) -> None:
        write_text(self.folder / _JOB, json.dumps(self._description, indent=2) + "\n")

    def _changed(self) -> list[str]:
        """Returns the keys of the recipe in which the folder's job differs; none where its recipe cannot be read."""
        try:
            found = json.loads((self.folder / _JOB).read_text(encoding="utf-8"))
            return [name for name, value in self._description.items() if found.get(name) != value]
        except (FileNotFoundError, ValueError, AttributeError):  # the last two: damaged
            return []


def _content_hash(path: Path) -> str:
    """Returns a hash over an artifact's file, or over its folder's files and their names."""
    content = hashlib.sha256()
    for file in sorted(child for child in path.rglob("*") if child.is_file()) if path.is_dir() else [path]:
        content.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        content.update(file.read_bytes())
    return content.hexdigest()


def _images_hash(paths: list[str]) -> bytes:
    """Returns a hash over the paths of images, their sizes and the times of their last change."""
    content = hashlib.sha256()
    for path in paths:
        try:
            found = os.stat(path)
            stamp = (found.st_size, found.st_mtime_ns)
        except (OSError, ValueError):  # missing, or not even a possible name
            stamp = None
        content.update(f"{os.path.abspath(path)!r} {stamp}\n".encode())
    return content.digest()
