"""Decides what TF Serving gets: `EXPORT_DIR/embedder/<version>/`, uint8 images of any size in, embeddings out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from keras_reid.artifacts.artifact import INPUT, OUTPUT, SIGNATURE
from keras_reid.artifacts.metadata import FILE_NAME
from keras_reid.data.images import resize_images
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras, tf


def export_savedmodel(embedder: keras.Model, directory: str | os.PathLike, metadata: Mapping) -> Path:
    """Writes the next version of the SavedModel, whole or not at all.

    Signature `serving_default`: `images` uint8 `[N, H, W, 3]` RGB of any size, resized inside, to `embedding` float32
    `[N, D]`. It opens in a process that has only TensorFlow. `reid.json` lies in its `assets`.

    Args:
        embedder: float32, from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        directory: holds one folder for each version, named by its number.
        metadata: the content of `reid.json`.

    Returns:
        The folder of the version written.
    """
    directory = Path(directory)
    versions = [int(child.name) for child in directory.glob("*") if child.name.isdigit()]
    target = directory / str(max(versions, default=0) + 1)
    with whole_or_not_at_all(target) as temporary:
        module = _serving_module(embedder)
        tf.saved_model.save(module, str(temporary), signatures={SIGNATURE: module.embed})
        (temporary / "assets").mkdir(exist_ok=True)
        (temporary / "assets" / FILE_NAME).write_text(json.dumps(metadata, indent=2))
    return target


def _serving_module(embedder: keras.Model) -> tf.Module:
    image_size = embedder.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name=INPUT)])
    def embed(images):
        return {OUTPUT: embedder(resize_images(images, image_size), training=False)}

    module = tf.Module()
    # The variables and no Keras object: whoever loads it needs no Keras.
    module.variables_of_embedder = list(embedder.variables)
    module.embed = embed
    return module
