"""Whole re-ID checkpoints: whose code wrote one, by the names in it, and the head that this code tests with.

Read in the sources of reid-strong-baseline (modeling/baseline.py, backbones/resnet.py), fast-reid (heads/bnneck_head.py
of version 0.1, heads/embedding_head.py and backbones/resnet.py from 1.0 on) and torchreid (models/resnet.py).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from keras_reid.models.backbone import RESNET_V1_5, BackboneGraph
from keras_reid.models.torch_resnet50 import TorchBackbone, take_batch_normalization


@dataclasses.dataclass(frozen=True)
class ReidCheckpoint:
    """What stands around the backbone in a file, and what the project that wrote it does with both.

    Attributes:
        project: "reid-strong-baseline", "fast-reid", "fast-reid 0.1" or "torchreid"; "torchvision" for a plain ResNet.
        graph: of the backbone.
        head: layers as in `BackboneWeights`, in the order in which they are applied to the pooled features.
        last_stride: of its recipe for people; no file says it.
        metric: by which it compares embeddings; None where it is no re-ID project.
        pixel_mean: subtracted from red, green and blue, 0..255, where the file says it.
        pixel_std: what the rest is divided by.
        unused: names of tensors that an embedding does not need: classifiers, and what else a file holds.
        unknown: names of tensors next to the backbone that have no place in the head.
    """

    project: str
    graph: BackboneGraph
    head: Mapping[str, Mapping[str, np.ndarray]]
    last_stride: int
    metric: str | None
    pixel_mean: np.ndarray | None
    pixel_std: np.ndarray | None
    unused: Sequence[str]
    unknown: Sequence[str]


_TRAINED_WITH = re.compile(r"(classifier|heads\.(classifier|weight|cls_layer))\b.*")  # classifiers of identities


def read_head(tensors: Mapping[str, np.ndarray], backbone: TorchBackbone) -> ReidCheckpoint:
    """Returns what a file holds besides its backbone."""
    prefix, graph = backbone.prefix, dataclasses.replace(RESNET_V1_5, instance_norm=backbone.instance_norm)
    outer = re.sub(r"\b(backbone|base)\.$", "", prefix)  # where the head stands
    around = {name[len(outer) :]: tensors[name] for name in backbone.rest if name.startswith(outer)}
    project, last_stride, metric, head = "torchvision", 2, None, {}
    if prefix == f"{outer}base." and _holds(around, "bottleneck", "classifier"):
        project, last_stride, metric = "reid-strong-baseline", 1, "cosine"
        graph = dataclasses.replace(graph, stem_relu=graph.instance_norm)  # its own ResNet-50 lacks it, its IBN-a not
        head = _neck(around, ["bottleneck"])
    elif prefix == f"{outer}backbone." and _holds(around, "heads"):
        old = _holds(around, "heads.bnneck")
        project, last_stride, metric = "fast-reid 0.1" if old else "fast-reid", 1, "cosine"
        graph = dataclasses.replace(graph, pool_at_end=not old)
        head = _neck(around, ["heads.bnneck", "heads.bottleneck.0", "heads.bottleneck.1"])
    elif prefix == outer and _holds(around, "classifier"):
        project, metric = "torchreid", "euclidean"
        if _holds(around, "fc.0") and _holds(around, "fc.1"):
            head, last_stride = _dense(around), 1
    pixels = [around.pop(name).ravel() if name in around else None for name in ("pixel_mean", "pixel_std")]
    elsewhere = [name for name in backbone.rest if not name.startswith(outer)]
    return ReidCheckpoint(
        project=project,
        graph=graph,
        head=head,
        last_stride=last_stride,
        metric=metric,
        pixel_mean=pixels[0],
        pixel_std=pixels[1],
        unused=[*(outer + name for name in around), *elsewhere],
        unknown=[outer + name for name in around if not _TRAINED_WITH.fullmatch(name)] if metric else [],
    )


def _holds(around: Mapping, *places: str) -> bool:
    return any(name.startswith(f"{place}.") for name in around for place in places)


def _neck(around: dict, places: Sequence[str]) -> dict:
    """Takes out a BNNeck, and the convolution of 1x1 before it where one makes the embedding smaller."""
    head = {}
    for place in places:
        if f"{place}.running_mean" in around:
            head["head_neck_bn"] = take_batch_normalization(around, place)
            if not head["head_neck_bn"]["beta"].any():  # these projects keep the shift at 0
                del head["head_neck_bn"]["beta"]
        elif f"{place}.weight" in around:
            head["head_embedding"] = {"kernel": around.pop(f"{place}.weight")[:, :, 0, 0].T}
    return head


def _dense(around: dict) -> dict:
    """Takes out torchreid's `fc`: linear, BatchNormalization, ReLU; the bias moves into the mean that is subtracted."""
    head = {
        "head_hidden": {"kernel": around.pop("fc.0.weight").T},
        "head_hidden_bn": take_batch_normalization(around, "fc.1"),
    }
    head["head_hidden_bn"]["moving_mean"] = head["head_hidden_bn"]["moving_mean"] - around.pop("fc.0.bias")
    return head
