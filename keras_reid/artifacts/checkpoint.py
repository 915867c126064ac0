"""Describing of a re-ID checkpoint: its network, rebuilt in Keras with its neck, becomes a folder with `last.keras`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.describing import check_choices, normalization_of
from keras_reid.artifacts.metadata import describe_embedder
from keras_reid.artifacts.opening import open_artifact
from keras_reid.choices import METRICS
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all
from keras_reid.models import embedder_of_checkpoint, save_keras


def describe_checkpoint(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    metric: str | None = None,
    normalize: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **network,
) -> Artifact:
    """Makes an artifact of a checkpoint of reid-strong-baseline, fast-reid or torchreid, or of a plain ResNet-50.

    Args:
        path: a `.safetensors` file, or a `.pth` file where torch is installed. It is not changed.
        output: the folder to write, which must not exist.
        metric: "euclidean" or "cosine"; by default what the project compares by.
        normalize: as in `describe_network`; by default what the file says, else ImageNet's mean and deviation.
        mean: as in `describe_network`.
        std: as in `describe_network`.
        **network: of `embedder_of_checkpoint`: `image_size`, `last_stride`, `stem`, `feature`, `normalize_embedding`.

    Returns:
        The artifact, opened. Its `metadata["checkpoint"]` says what was found in the file.

    Raises:
        ReidError: the file holds no ResNet-50 with a head that is known, or something is wrong or missing.
    """
    if Path(output).exists():
        raise ReidError(f"output={output} exists already: give another name, or remove it.")
    check_choices(metric=(metric, (None, *METRICS)))
    if (normalize, mean, std) != (None, None, None):
        mean, std = normalization_of(normalize, mean, std)
    embedder, weights = embedder_of_checkpoint(path, mean=mean, std=std, **network)
    found, graph = weights.checkpoint, weights.graph
    metric = metric or found.metric
    if metric is None:
        raise ReidError(f"{str(path)!r} holds a ResNet-50 of no re-ID project that is known: set metric.")
    before = "before the neck" if network.get("feature") == "pooled_features" else "after the neck"
    stem = [] if graph.stem_relu else ["no ReLU in the stem"]
    stem += ["pooling padded at the end"] if graph.pool_at_end else []
    about = {
        "file": Path(path).name,
        "project": found.project,
        "backbone": "resnet50_ibn_a" if graph.instance_norm else "resnet50",
        "last_stride": found.last_stride,
        "stem": ", ".join(stem) or "torchvision's stem",
        "feature": before if found.head else "pooled features",
    }
    metadata = {**describe_embedder(embedder, metric=metric), "model": Path(path).name, "checkpoint": about}
    with whole_or_not_at_all(output) as folder:
        folder.mkdir()
        save_keras(embedder, folder / "last.keras", metadata=metadata)
    return open_artifact(output)
