"""Decides what TensorFlow Lite gets: one file with the signature of the SavedModel, resize and `reid.json` inside."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_reid.artifacts.artifact import SIGNATURE
from keras_reid.artifacts.metadata import add_to_zip
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf
from keras_reid.serving.savedmodel import export_savedmodel


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keeps the converter's C++ statistics off the screen; what it wrote is shown when it fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def export_tflite(embedder: keras.Model, path: str | os.PathLike, metadata: Mapping) -> Path:
    """Writes a float32 TFLite file, whole or not at all: `images` uint8 `[N, H, W, 3]` to `embedding` float32 `[N, D]`.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        path: the file, ending in `.tflite`.
        metadata: the content of `reid.json`.

    Returns:
        The path.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder, whole_or_not_at_all(path) as temporary:
        saved_model = export_savedmodel(embedder, folder, metadata)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
        with _quiet_stderr():
            model = converter.convert()
        temporary.write_bytes(model)
        add_to_zip(temporary, metadata)
    return path
