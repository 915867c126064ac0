"""Attention: where in two photos lies what made them close, as maps over both.

The squared distance of two embeddings is |x|^2 + |y|^2 - 2 xy, and xy is all of it that depends on both photos. A map
shows how much each place of a photo's last feature map adds to xy: activation times gradient, summed over the channels.
Behind global average pooling and linear layers these parts add up to xy exactly (Stylianou et al. 2019, Visualizing
Deep Similarity Networks, arXiv 1901.00536); behind other heads they are its first-order parts, place by place and not
averaged over the map as in Grad-CAM, which may point where the network did not look (Draelos and Carin 2020, HiResCAM,
arXiv 2011.08891). The gradient of the distance itself is no use here: between equal photos it is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image

from keras_reid.artifacts import Artifact
from keras_reid.artifacts.distances import comparable
from keras_reid.data.images import resize_images
from keras_reid.errors import ReidError
from keras_reid.evaluation.blocks import slices
from keras_reid.keras2 import keras, tf
from keras_reid.models.structure import last_feature_map

_PAIRS_AT_ONCE = 16
# Places of a feature map. The last one of small photos has so few that they tell nothing: an earlier one is taken.
_FEWEST, _ENOUGH = 8, 32
_COLORS, _STRENGTH = "inferno", 0.75


def attention_maps(
    artifact: Artifact,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    *,
    others: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where in pairs of photos lies what made them close.

    Args:
        artifact: a Keras network, from a run folder or a `.keras` file.
        first: N photos, uint8 `[H, W, 3]`, of any sizes; such as a query, again for each of its pairs.
        second: N photos, such as gallery images.
        others: float `[M, D]`, embeddings of many photos, such as the gallery's. Their mean is taken from both sides:
            what all photos share made no two of them close.

    Returns:
        float32 `[N, h, w]` twice, over `first` and over `second`: 0 where nothing made them closer, 1 at the place of
        each photo that did most. `h` and `w` are the sides of the network's last feature map; where that has fewer
        than 8 places, as for photos of 64 x 32, of the last one that has 32.

    Raises:
        ReidError: the artifact is no Keras network, or has no feature map.
    """
    network = _network_of(artifact)
    center = 0.0 if others is None or not len(others) else _compared(others, network.unit).mean(axis=0)
    maps = []
    for part in slices(len(first), _PAIRS_AT_ONCE):
        images = [resize_images(image, artifact.image_size) for image in (*first[part], *second[part])]
        maps.append(_parts(network, tf.stack(images), tf.cast(center, tf.float32)))
    sides = zip(*maps)
    return tuple(np.concatenate(side) for side in sides) if maps else (np.zeros((0, 1, 1), np.float32),) * 2


def overlay(pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns a photo, uint8 `[H, W, 3]`, under a map `[h, w]` of 0..1: gray where it is 0, bright where it is 1."""
    size = pixels.shape[1::-1]
    strength = np.asarray(Image.fromarray(places.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))[..., None]
    gray = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[..., None]
    colors = 255 * matplotlib.colormaps[_COLORS](strength[..., 0])[..., :3]
    share = _STRENGTH * np.sqrt(strength)
    return np.clip((1 - share) * gray + share * colors, 0, 255).round().astype(np.uint8)


class _Network(NamedTuple):
    """A network from images to a feature map and its embedding.

    A last layer that scales to length 1 is left out: along an embedding its gradient is zero.
    """

    model: keras.Model
    unit: bool  # whether embeddings are compared at length 1
    is_earlier: bool  # whether the feature map is not the last one


def _network_of(artifact: Artifact) -> _Network:
    model = artifact.embedder
    if model is None:
        raise ReidError(
            f"attention needs the gradients of a Keras network, and {artifact.name!r} ({artifact.kind}) has none: "
            "expected a run folder or a .keras file of the same network."
        )
    features = last_feature_map(model)
    if features is None:
        name = repr(artifact.name)
        raise ReidError(f"attention needs a feature map [height, width, channels], and no layer of {name} has one.")
    is_earlier = features.shape[1] * features.shape[2] < _FEWEST
    if is_earlier:
        features = last_feature_map(model, least_places=_ENOUGH)
    normalized = isinstance(model.layers[-1], keras.layers.UnitNormalization)
    embedding = model.layers[-1].input if normalized else model.output
    unit = normalized or artifact.metric == "cosine"
    return _Network(keras.Model(model.inputs, [features, embedding]), unit, is_earlier)


def _parts(network: _Network, images: tf.Tensor, center: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns the maps of both halves of a batch, whose rows are pairs."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        features, embeddings = network.model(images, training=False)
        compared = tf.constant(_compared(embeddings.numpy(), network.unit)) - center
        partners = tf.concat(tf.split(compared, 2)[::-1], axis=0)
        # The length of an embedding is a number here: it says how far, not where.
        length = tf.stop_gradient(tf.norm(embeddings, axis=-1, keepdims=True)) if network.unit else 1.0
        product = tf.reduce_sum(embeddings * partners / tf.maximum(length, 1e-30))
    parts = tf.reduce_sum(features * tape.gradient(product, features), axis=-1, keepdims=True)
    if network.is_earlier:  # a later convolution with a stride sees every other place
        parts = tf.nn.avg_pool2d(parts, 3, 1, "SAME")
    places = tf.nn.relu(parts)[..., 0].numpy()
    largest = places.max(axis=(1, 2), keepdims=True)
    return tuple(np.split(np.divide(places, largest, out=np.zeros_like(places), where=largest > 0), 2))


def _compared(embeddings: np.ndarray, unit: bool) -> np.ndarray:
    return comparable(np.asarray(embeddings, np.float32), "cosine" if unit else "euclidean").numpy()
