"""Signatures of the SavedModel, in TensorFlow alone: what a served model takes and gives.

| signature | takes | gives |
|---|---|---|
| `serving_default` | `images`, uint8 `[N, H, W, 3]`, RGB of any size | `embedding`, float32 `[N, D]` |
| `serve_float` | `images`, float32 `[N, H, W, 3]`, 0..255 | `embedding` |
| `serve_bytes` | `image_bytes`, string `[N]`: JPEG, PNG or plain BMP files, put upright | `embedding` |
| `compare` | `first_images`, `second_images`, uint8 `[N, H, W, 3]`, of any sizes | `distance`, float32 `[N]` |
| | the same, where `reid.json` holds a threshold | also `same_person`, bool `[N]` |
| `search` | `images`, where there is a gallery | `ids`, `distances`, `rows`, `[N, k]`, nearest first |
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from keras_reid.artifacts.distances import comparable, distances_of
from keras_reid.artifacts.formats.search import Gallery, nearest
from keras_reid.data.decoding import decode_in_graph
from keras_reid.data.images import resize_images
from keras_reid.keras2 import tf

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "embedding"
_ANY_IMAGES = [None, None, None, 3]


def embedding_function(embedder: tf.keras.Model, dtype: tf.DType) -> tf.types.experimental.GenericFunction:
    """Returns the one signature of a TFLite or ONNX file, from images `[N, H, W, 3]` of a dtype to embeddings."""
    image_size = embedder.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec(_ANY_IMAGES, dtype, name=INPUT)])
    def embed(images):
        # TFLite's resize returns the type of its input: of uint8, interpolated pixels would be rounded.
        return {OUTPUT: embedder(resize_images(tf.cast(images, tf.float32), image_size), training=False)}

    return embed


def serving_module(
    embedder: tf.keras.Model,
    metadata: Mapping,
    metadata_file: str | os.PathLike,
    *,
    gallery: Gallery | None = None,
    neighbors: int = 10,
) -> tf.Module:
    """Returns the module that `tf.saved_model.save` writes; its `signatures_by_name` are `tf.function`s.

    `metadata_file` is a `reid.json` with the metadata, which becomes an asset. Without a gallery there is no `search`.
    """
    module = tf.Module()
    # The variables and no Keras object: whoever loads it needs no Keras.
    module.variables_of_embedder = list(embedder.variables)
    module.metadata = tf.saved_model.Asset(os.fspath(metadata_file))
    image_size, metric = embedder.input_shape[1:3], metadata.get("metric", "euclidean")

    # A function of its own: all signatures call one graph of the network, which would stand in the file five times.
    @tf.function(input_signature=[tf.TensorSpec([None, *image_size, 3], tf.float32)])
    def network(images):
        # oneDNN gives an empty batch the wrong number of channels: pad it with one image and drop the embedding.
        count = tf.shape(images)[0]
        padded = tf.pad(images, [[0, 1 - tf.minimum(count, 1)], [0, 0], [0, 0], [0, 0]])
        return embedder(padded, training=False)[:count]

    def embedding_of(images: tf.Tensor) -> tf.Tensor:
        return network(resize_images(images, image_size))

    @tf.function(input_signature=[tf.TensorSpec(_ANY_IMAGES, tf.uint8, name=INPUT)])
    def embed(images):
        return {OUTPUT: embedding_of(images)}

    @tf.function(input_signature=[tf.TensorSpec(_ANY_IMAGES, tf.float32, name=INPUT)])
    def embed_float(images):
        return {OUTPUT: embedding_of(images)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def embed_bytes(image_bytes):
        def read(contents: tf.Tensor) -> tf.Tensor:
            return resize_images(decode_in_graph(contents), image_size)

        # One at a time: each has a size of its own, and a decoded photo may take hundreds of megabytes.
        image = tf.TensorSpec([*image_size, 3], tf.float32)
        images = tf.map_fn(read, image_bytes, fn_output_signature=image, parallel_iterations=1)
        return {OUTPUT: network(images)}

    pair = [tf.TensorSpec(_ANY_IMAGES, tf.uint8, name=f"{which}_images") for which in ("first", "second")]
    module.threshold = _threshold_of(metadata_file) if metadata.get("threshold") is not None else None

    @tf.function(input_signature=pair)
    def compare(first_images, second_images):
        sizes = tf.shape(first_images)[0], tf.shape(second_images)[0]
        with tf.control_dependencies(
            [tf.debugging.assert_equal(*sizes, "expected as many first_images as second_images")]
        ):
            first = comparable(embedding_of(first_images), metric)
        distance = distances_of(first, comparable(embedding_of(second_images), metric), metric)
        if module.threshold is None:
            return {"distance": distance}
        return {"distance": distance, "same_person": distance <= _number_in(module.threshold)}

    module.signatures_by_name = {
        SIGNATURE: embed,
        "serve_float": embed_float,
        "serve_bytes": embed_bytes,
        "compare": compare,
    }
    if gallery is not None:
        module.gallery = gallery.as_variables(metric)

        @tf.function(input_signature=[tf.TensorSpec(_ANY_IMAGES, tf.uint8, name=INPUT)])
        def search(images):
            return nearest(embedding_of(images), module.gallery, metric, neighbors)

        module.signatures_by_name["search"] = search
    return module


def _threshold_of(metadata_file: str | os.PathLike) -> tf.lookup.StaticHashTable:
    """Returns the lines of `reid.json` by number: the graph reads the threshold from where `evaluate` writes it."""
    path, of = os.fspath(metadata_file), tf.lookup.TextFileIndex
    lines = tf.lookup.TextFileInitializer(path, tf.int64, of.LINE_NUMBER, tf.string, of.WHOLE_LINE)
    return tf.lookup.StaticHashTable(lines, default_value="")


def _number_in(lines: tf.lookup.StaticHashTable) -> tf.Tensor:
    text = lines.lookup(tf.range(lines.size()))
    # Two spaces: a key of the outermost object.
    found = tf.boolean_mask(text, tf.strings.regex_full_match(text, r'  "threshold": -?[0-9][-+.0-9eE]*,?'))
    with tf.control_dependencies([tf.debugging.assert_equal(tf.size(found), 1, "reid.json holds no threshold")]):
        return tf.strings.to_number(tf.strings.regex_replace(found[0], r".*: |,", ""))
