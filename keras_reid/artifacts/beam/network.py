"""Network of a pipeline: a SavedModel in one archive, whose signature `serve_bytes` embeds image files in batches."""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from apache_beam.ml.inference.base import ModelHandler
from PIL import Image

from keras_reid.artifacts.beam.storage import open_file
from keras_reid.artifacts.places import locate, read_savedmodel_metadata
from keras_reid.data.formats import HEAD, file_format
from keras_reid.errors import ReidError, first_line

_SIGNATURE = "serve_bytes"
_MEBIBYTE = 2**20
# Of the machine that starts the pipeline; where TensorFlow is imported, they come too late.
_SETTINGS = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS")


def pack_network(artifact: str | os.PathLike, folder: str) -> tuple[str, dict]:
    """Makes one archive of an artifact's SavedModel, or of one that is written here of a Keras model.

    Args:
        artifact: a SavedModel, a run folder or a `.keras` file.
        folder: the archive's.

    Returns:
        The path of the archive, and the content of its `reid.json`.

    Raises:
        ReidError: another kind of artifact, or a damaged one.
    """
    kind, place = locate(artifact)
    if kind == "savedmodel":
        metadata = read_savedmodel_metadata(place)
    elif kind == "keras":
        from keras_reid.artifacts.formats import savedmodel  # takes TensorFlow
        from keras_reid.artifacts.opening import open_artifact

        opened = open_artifact(place)
        metadata, place = opened.metadata, savedmodel.write(opened.embedder, Path(folder, "model"), opened.metadata)
    else:
        raise ReidError(
            f"artifact={os.fspath(artifact)} holds no SavedModel and no Keras model, one of which runner needs: give a "
            "run folder, a .keras file or a SavedModel folder, or leave runner out."
        )
    return shutil.make_archive(os.path.join(folder, "network"), "zip", place), metadata


class SavedModelHandler(ModelHandler):
    """Embeds the contents of image files by a SavedModel, which each worker process loads once.

    A batch holds at most `batch_size` files, and fewer where they take more than a mebibyte each: their contents take
    `batch_size` mebibytes at most, or are those of one file. Decoded, they are in memory one at a time.

    Args:
        archive: where `pack_network`'s archive lies for the workers.
        batch_size: images at once.
    """

    def __init__(self, archive: str, *, batch_size: int):
        super().__init__(
            min_batch_size=batch_size,
            max_batch_size=batch_size,
            element_size_fn=functools.partial(size_in_batch, batch_size=batch_size),
            env_vars={name: os.environ[name] for name in _SETTINGS if name in os.environ},
        )
        self._archive = archive

    def load_model(self) -> Callable[[Sequence[bytes]], np.ndarray]:
        """Returns a function from N files' contents to embeddings, float32 `[N, D]`."""
        from keras_reid.keras2 import tf

        with tempfile.TemporaryDirectory() as folder:
            archive = os.path.join(folder, "network.zip")
            with open_file(self._archive) as file, open(archive, "wb") as local:
                shutil.copyfileobj(file, local)
            shutil.unpack_archive(archive, os.path.join(folder, "model"))
            loaded = tf.saved_model.load(os.path.join(folder, "model"))
        if _SIGNATURE not in loaded.signatures:
            raise ReidError(f"the SavedModel has no signature {_SIGNATURE}: export it again.")
        signature = loaded.signatures[_SIGNATURE]

        def embed(contents: Sequence[bytes]) -> np.ndarray:
            return signature(image_bytes=tf.constant(list(contents)))["embedding"].numpy()

        embed.loaded = loaded  # its variables are gone once nothing refers to it
        return embed

    def run_inference(
        self, batch: Sequence[bytes], model: Callable[[Sequence[bytes]], np.ndarray], inference_args=None
    ) -> list[np.ndarray | str]:
        """Returns for each file its embedding, float32 `[D]`, or a text that says why it cannot be decoded."""
        from keras_reid.data.images import FILE_ERRORS

        try:
            return list(model(batch))
        except FILE_ERRORS:
            reasons = [_why_undecodable(contents) for contents in batch]
            if not any(reasons):
                raise
        readable = [contents for contents, reason in zip(batch, reasons) if not reason]
        embeddings = iter(model(readable) if readable else [])
        return [reason or next(embeddings) for reason in reasons]

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        return sum(map(len, batch))


def size_in_batch(keyed: tuple[object, bytes], *, batch_size: int) -> int:
    """Returns how many images of a batch a file counts as, by its mebibytes: from 1 to all.

    Args:
        keyed: the key of an image, and its file's contents.
        batch_size: images in a batch. Of a file that counts as more, Beam would send an empty batch before it.
    """
    return min(batch_size, max(1, -(-len(keyed[1]) // _MEBIBYTE)))


def for_graph(contents: bytes) -> bytes:
    """Returns an image file as one that a graph decodes to the same pixels: JPEG and PNG as they are, others as PNG.

    Raises:
        ValueError: it cannot be read as an image.
    """
    if file_format(contents[:HEAD]) in ("JPEG", "PNG"):
        return contents
    from keras_reid.data.decoding import decode_by_pillow  # takes TensorFlow

    try:
        pixels, _ = decode_by_pillow(contents)
    except ValueError as error:
        raise ValueError(re.sub(r" <_io\.BytesIO [^>]*>", "", str(error))) from error
    as_png = io.BytesIO()
    Image.fromarray(pixels).save(as_png, "PNG", compress_level=1)
    return as_png.getvalue()


def _why_undecodable(contents: bytes) -> str:
    """Returns in one line why TensorFlow cannot decode a file; nothing where it can."""
    from keras_reid.data.decoding import decode_in_graph
    from keras_reid.data.images import FILE_ERRORS
    from keras_reid.keras2 import tf

    try:
        decode_in_graph(tf.constant(contents))
    except FILE_ERRORS as error:
        return re.sub(r"\{\{.*?\}\} ?| \[Op:\w+\].*", "", first_line(error)).strip() or "it is no image"
    return ""
