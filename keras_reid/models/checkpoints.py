"""Embedder of a re-ID checkpoint: somebody's trained network, with the neck that its project tests with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from keras_reid import choices
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models.backbone import TORCH_EPSILON
from keras_reid.models.embedder import as_embedder, check_choice, checked_image_size, pooled_features
from keras_reid.models.torch_resnet50 import some
from keras_reid.models.weight_files import BackboneWeights, InputNormalization, read_backbone_weights
from keras_reid.models.weights import assign_weights


def embedder_of_checkpoint(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int] = (256, 128),
    last_stride: int | None = None,
    stem: str = "project",
    feature: str = "embedding",
    normalize_embedding: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[keras.Model, BackboneWeights]:
    """Builds the network of a checkpoint of reid-strong-baseline, fast-reid or torchreid, or of a plain ResNet-50.

    Args:
        path: a `.safetensors` or `.pth` file.
        image_size: (height, width) of its photos.
        last_stride: of the backbone's last stage; by default that of the project's recipe.
        stem: "project", or "torchvision" for a fork whose first layers are those of torchvision.
        feature: "embedding", after the neck, or "pooled_features", before it.
        normalize_embedding: scale embeddings to length 1.
        mean: subtracted from red, green and blue, 0..255, in place of what the file or ImageNet says.
        std: what the rest is divided by.

    Returns:
        The embedder, in float32, and what was read of the file.

    Raises:
        ReidError: a wrong argument; or the file holds no ResNet-50 with a head that is known.
    """
    size = checked_image_size(image_size)
    check_choice("stem", stem, choices.STEMS)
    check_choice("feature", feature, choices.FEATURES)
    weights = read_backbone_weights(path)
    found = weights.checkpoint
    if found is None:
        raise ReidError(f"{str(path)!r} is no checkpoint of PyTorch's: expected a .safetensors or .pth file.")
    if found.unknown:
        raise ReidError(
            f"{str(path)!r} has the names of {found.project}, and {len(found.unknown)} tensors that its head does not "
            f"have ({some(found.unknown)}): export the network to ONNX where it was trained, and describe that."
        )
    stride = found.last_stride if last_stride is None else last_stride
    check_choice("last_stride", stride, choices.LAST_STRIDES)
    graph = weights.graph
    if stem == "torchvision":
        graph = dataclasses.replace(graph, stem_relu=True, pool_at_end=False)
    normalization = weights.normalization
    if mean is not None and std is not None:
        normalization = InputNormalization.of(mean, std, "mean and deviation as given")
    head = found.head if feature == "embedding" else {}
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        images, features = pooled_features(size, last_stride=stride, graph=graph, normalization=normalization)
        embedder = as_embedder(images, _with_head(features, head), normalize_embedding)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    weights = dataclasses.replace(
        weights, graph=graph, normalization=normalization, checkpoint=dataclasses.replace(found, last_stride=stride)
    )
    report = assign_weights(embedder, weights)
    if report.missing:
        raise ReidError(f"{str(path)!r}: {some(report.missing)} found no weights of their shape in it.")
    print(report.summary())
    return embedder, weights


def _with_head(features, head):
    for name, arrays in head.items():
        if "kernel" in arrays:
            layer = keras.layers.Dense(arrays["kernel"].shape[1], use_bias=False, name=name)
        else:
            layer = keras.layers.BatchNormalization(epsilon=TORCH_EPSILON, center="beta" in arrays, name=name)
        features = layer(features)
        if name == "head_hidden_bn":
            features = keras.layers.ReLU(name="head_hidden_relu")(features)
    return features
