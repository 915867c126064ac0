"""Embedder: input normalization, ResNet-50, pooling and one of three heads, in one flat graph."""

import dataclasses
import numbers
from typing import Optional

from keras_reid import choices
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models.backbone import (
    BACKBONE_CHANNELS,
    BATCH_NORMALIZATION_EPSILON,
    RESNET_V1_5,
    BackboneGraph,
    resnet50_features,
)
from keras_reid.models.weight_files import (
    IMAGENET_NORMALIZATION,
    INPUT_LAYER,
    BackboneWeights,
    InputNormalization,
    read_backbone_weights,
)
from keras_reid.models.weights import assign_weights

MINIMUM_SIDE = 16  # pixels; below it the input of the last stage (stride 16) is not even one whole cell
TRINET_HIDDEN_UNITS = 1024


def build_embedder(
    *,
    embedding_size: int = 128,
    image_size: tuple = (256, 128),
    head: str = "trinet",
    last_stride: int = 2,
    backbone_weights: str = "none",
    normalize_embedding: bool = False,
    sync_batch_norm: bool = False,
    backbone: str = "auto",
) -> keras.Model:
    """Builds the network that turns images of people into embeddings: one flat functional model of stock layers.

    Keras's global dtype policy decides the precision of the backbone; normalization, pooling and head are float32
    under every policy. The last layer is named `embedding`, the pooled backbone features `pooled_features`.

    Args:
        embedding_size: D, length of the embedding.
        image_size: (height, width) in pixels, each at least 16.
        head: `trinet` (Hermans et al. 2017, arXiv 1703.07737: Dense 1024, BatchNormalization, ReLU, Dense D),
            `bnneck` (Luo et al. 2019, arXiv 1903.07071: Dense D without bias, left out when D is the backbone's 2048,
            then BatchNormalization without shift; the embedding is the feature after it) or `linear` (Dense D).
        last_stride: stride of the backbone's last stage, 1 or 2; 1 doubles its feature map (Luo et al. 2019).
        backbone_weights: `none` (random), `imagenet` (keras-cv's preset, downloaded) or a path: a run folder, a
            `.keras` file, `.h5` weights of keras-cv's or keras.applications' ResNet-50, or `.safetensors` or `.pth`
            weights in torchvision's names. The graph is the one that they were trained in. What matched is printed.
        normalize_embedding: scale every embedding to Euclidean length 1.
        sync_batch_norm: under tf.distribute, normalize by statistics of all replicas in training. A copy, or what is
            saved, is plain again.

    Returns:
        A model from `[B, height, width, 3]` RGB, 0..255, to float32 `[B, D]`. The normalization of the input belongs
        to the loaded weights and is stored inside.

    Raises:
        ReidError: a wrong argument, or weights that cannot be downloaded, read or used.
    """
    embedding_size = _checked_embedding_size(embedding_size)
    height, width = checked_image_size(image_size)
    check_choice("head", head, choices.HEADS)
    check_choice("last_stride", last_stride, choices.LAST_STRIDES)
    check_choice("backbone", backbone, choices.BACKBONES)
    weights = None if backbone_weights in ("none", None) else read_backbone_weights(backbone_weights)
    images, features = pooled_features(
        (height, width),
        last_stride=last_stride,
        graph=_graph(backbone, weights),
        normalization=weights.normalization if weights else IMAGENET_NORMALIZATION,
        sync_batch_norm=sync_batch_norm,
    )
    model = as_embedder(images, _apply_head(features, head, embedding_size, sync_batch_norm), normalize_embedding)
    if weights:
        print(assign_weights(model, weights).summary())
    return model


def pooled_features(
    image_size: tuple,
    *,
    last_stride: int,
    graph: BackboneGraph,
    normalization: InputNormalization,
    sync_batch_norm: bool = False,
) -> tuple:
    """Returns the input of an embedder, `[B, H, W, 3]`, and its pooled features, float32 `[B, 2048]`."""
    images = keras.Input((*image_size, 3), name="images")
    # float32 under every policy: bfloat16 cannot tell 254 from 255.
    scale, offset = list(normalization.scale), list(normalization.offset)
    features = resnet50_features(
        keras.layers.Rescaling(scale, offset, dtype="float32", name=INPUT_LAYER)(images),
        last_stride=last_stride,
        graph=graph,
        sync_batch_norm=sync_batch_norm,
    )
    return images, keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooled_features")(features)


def as_embedder(images, embedding, normalize_embedding: bool) -> keras.Model:
    """Returns the model from images to an embedding, whose last layer is named `embedding`."""
    # A layer of its own, so that the weights of the head have the same names with and without normalization.
    named = {"dtype": "float32", "name": "embedding"}
    unit, same = keras.layers.UnitNormalization(**named), keras.layers.Activation("linear", **named)
    return keras.Model(images, (unit if normalize_embedding else same)(embedding), name="embedder")


def _graph(backbone: str, weights: Optional[BackboneWeights]) -> BackboneGraph:
    wanted = backbone == "resnet50_ibn_a"
    if weights is None:
        return dataclasses.replace(RESNET_V1_5, instance_norm=True) if wanted else BackboneGraph()
    if backbone != "auto" and weights.graph.instance_norm != wanted:
        held = "resnet50_ibn_a" if weights.graph.instance_norm else "resnet50"
        raise ReidError(f"backbone={backbone}, but backbone_weights={weights.origin} holds a {held}.")
    return weights.graph


def _apply_head(features, head, embedding_size, sync_batch_norm):
    if head == "linear":
        return _dense(embedding_size, name="head_embedding")(features)
    if head == "trinet":
        # The BatchNormalization's own shift makes a bias redundant.
        hidden = _dense(TRINET_HIDDEN_UNITS, use_bias=False, name="head_hidden")(features)
        hidden = _batch_normalization(synchronized=sync_batch_norm, name="head_hidden_bn")(hidden)
        hidden = keras.layers.ReLU(dtype="float32", name="head_hidden_relu")(hidden)
        # Orthogonal as in the authors' code: it keeps distances, and starts no two outputs alike.
        return _dense(embedding_size, kernel_initializer="orthogonal", name="head_embedding")(hidden)
    if embedding_size != BACKBONE_CHANNELS:
        features = _dense(embedding_size, use_bias=False, name="head_embedding")(features)
    return _batch_normalization(center=False, synchronized=sync_batch_norm, name="head_neck_bn")(features)


def _dense(units, **arguments):
    return keras.layers.Dense(units, dtype="float32", **arguments)


def _batch_normalization(**arguments):
    # Keras's default epsilon 1e-3 is not small beside the variance of pooled features of a young network.
    return keras.layers.BatchNormalization(epsilon=BATCH_NORMALIZATION_EPSILON, dtype="float32", **arguments)


def _checked_embedding_size(value):
    if not _is_whole_number(value) or value < 1:
        raise ReidError(f"embedding_size={value!r}, expected a whole number of at least 1.")
    return int(value)


def checked_image_size(value) -> tuple:
    """Returns (height, width); ReidError for a size that ResNet-50 cannot take."""
    sides = list(value) if isinstance(value, (tuple, list)) else []
    if len(sides) != 2 or not all(_is_whole_number(side) and side >= MINIMUM_SIDE for side in sides):
        raise ReidError(
            f"image_size={value!r}, expected (height, width), two whole numbers of at least {MINIMUM_SIDE} pixels."
        )
    return int(sides[0]), int(sides[1])


def _is_whole_number(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_choice(name, value, known) -> None:
    """Raises ReidError, naming the argument, for a value that is none of the known ones."""
    if isinstance(value, bool) or value not in known:  # True == 1, but is not a stride.
        raise ReidError(f"{name}={value!r}, expected one of {', '.join(map(str, known))}.")
