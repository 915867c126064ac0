"""ResNet-50 in the names of torchvision and timm: found in a file under whatever prefix, checked, and renamed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.models.backbone import INSTANCE_NORM_STAGES, STAGE_BLOCKS, STAGE_WIDTHS

NAMES_SHOWN = 4
_FIRST_OF_A_BLOCK = "layer1.0.conv1.weight"
_SECOND_NETWORK = re.compile(r"\bencoder_k\b")  # MoCo's slow copy of the network
# Names of parts of residual networks: what stands next to the backbone under another name is a head.
_OF_A_BACKBONE = re.compile(r"(conv|bn|layer|NL_|stem|downsample)\d*(\.|_)")
_BATCH_NORMALIZATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


@dataclasses.dataclass(frozen=True)
class TorchBackbone:
    """A ResNet-50 in a file.

    Attributes:
        prefix: of its tensors' names, such as "module.backbone."; may be empty.
        layers: the embedder's layer name -> {variable name: array}, as in `BackboneWeights`.
        instance_norm: whether it is IBN-a.
        rest: the names of all other tensors in the file.
    """

    prefix: str
    layers: Mapping[str, Mapping[str, np.ndarray]]
    instance_norm: bool
    rest: Sequence[str]


def find_backbone(tensors: Mapping[str, np.ndarray], origin: str) -> TorchBackbone:
    """Finds the ResNet-50 among the tensors of a file, and makes sure that it is whole.

    Raises:
        ReidError: there is none, or there are two; a tensor is missing, or has another shape; or it is another network.
    """
    prefix = _prefix(tensors, origin)
    instance_norm = f"{prefix}layer1.0.bn1.IN.weight" in tensors
    parts = list(_parts(instance_norm))
    places = {prefix + part.tensor: part for part in parts}
    rest = [name for name in tensors if name not in places]
    inside = [name for name in rest if name.startswith(prefix)]
    foreign = [name for name in inside if _OF_A_BACKBONE.match(name[len(prefix) :])]
    if foreign:
        raise ReidError(
            f"{origin!r}: expected a ResNet-50, got another residual network: {len(foreign)} of its "
            f"tensors have no place in one ({some(foreign)})."
        )
    missing = [name for name in places if name not in tensors]
    if missing:
        raise ReidError(
            f"{origin!r}: {len(missing)} of the {len(places)} tensors of a ResNet-50 are missing "
            f"({some(missing)}), and none is left random."
        )
    layers: dict = {}
    for name, part in places.items():
        array = tensors[name]
        if array.shape != part.shape:
            raise ReidError(f"{origin!r}: {name} is {list(array.shape)}, expected {list(part.shape)}, a ResNet-50's.")
        for layer, variable, piece in part.ours(array):
            layers.setdefault(layer, {})[variable] = piece
    return TorchBackbone(prefix, layers, instance_norm, rest)


def _prefix(tensors: Mapping, origin: str) -> str:
    found = [
        name[: -len(_FIRST_OF_A_BLOCK)]
        for name in tensors
        if re.search(rf"(^|\.){re.escape(_FIRST_OF_A_BLOCK)}$", name)
    ]
    found = [prefix for prefix in found if not _SECOND_NETWORK.search(prefix)] or found
    if not found:
        raise ReidError(
            f"{origin!r}: no ResNet-50 in it: none of its {len(tensors)} tensors is named "
            f"{_FIRST_OF_A_BLOCK}, with or without a prefix; it holds {some(list(tensors))}."
        )
    if len(found) > 1:
        shown = ", ".join(repr(prefix) for prefix in found)
        raise ReidError(
            f"{origin!r}: {len(found)} ResNets in one file, under the prefixes {shown}: expected one. "
            "Write the one that is meant into a file of its own."
        )
    return found[0]


def take_batch_normalization(tensors: dict, place: str) -> dict[str, np.ndarray]:
    """Takes the variables of a BatchNormalization, whose tensors are named `place.weight`, ..., out of a dictionary."""
    return {ours: tensors.pop(f"{place}.{theirs}") for theirs, ours in _BATCH_NORMALIZATION.items()}


def grouped(names: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Returns the parts of a file that names stand in, such as "module.encoder_k (265 tensors)".

    Args:
        names: of tensors.
        prefix: of the backbone; where a name parts from it, the name is cut.
    """
    path, counts = prefix.split("."), {}
    for name in names:
        parts = name.split(".")
        shared = next((i for i, (ours, theirs) in enumerate(zip(path, parts)) if ours != theirs), len(path) - 1)
        group = ".".join(parts[: shared + 1])
        counts[group] = counts.get(group, 0) + 1
    return tuple(f"{group} ({count} tensors)" if count > 1 else group for group, count in counts.items())


def some(names: Sequence[str]) -> str:
    """Returns the first names by commas, and dots where there are more."""
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


@dataclasses.dataclass(frozen=True)
class _Part:
    tensor: str
    shape: tuple
    layers: tuple  # of ours; two get half of the channels each
    variable: str

    def ours(self, array: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        for layer, piece in zip(self.layers, np.split(array, len(self.layers))):
            if self.variable == "depthwise_kernel":
                piece = piece.reshape(1, 1, -1, 1)
            yield layer, self.variable, piece.transpose(2, 3, 1, 0) if self.variable == "kernel" else piece


def _parts(instance_norm: bool) -> Iterator[_Part]:
    """Yields every tensor of a ResNet-50, in the order of the network."""
    yield from _convolution("conv1", "bn1", "conv1", (64, 3, 7, 7))
    inputs = 64
    for stage, (blocks, width) in enumerate(zip(STAGE_BLOCKS, STAGE_WIDTHS)):
        for block in range(blocks):
            theirs, ours = f"layer{stage + 1}.{block}", f"v2_stack_{stage}_block{block + 1}"
            halves = instance_norm and stage < INSTANCE_NORM_STAGES
            yield from _convolution(f"{theirs}.conv1", f"{theirs}.bn1", f"{ours}_1", (width, inputs, 1, 1), halves)
            yield from _convolution(f"{theirs}.conv2", f"{theirs}.bn2", f"{ours}_2", (width, width, 3, 3))
            yield from _convolution(f"{theirs}.conv3", f"{theirs}.bn3", f"{ours}_3", (4 * width, width, 1, 1))
            if block == 0:
                shortcut = f"{theirs}.downsample"
                yield from _convolution(f"{shortcut}.0", f"{shortcut}.1", f"{ours}_0", (4 * width, inputs, 1, 1))
            inputs = 4 * width


def _convolution(convolution: str, norm: str, ours: str, shape: tuple, halves: bool = False) -> Iterator[_Part]:
    layers = (f"{ours}_in_conv", f"{ours}_conv") if halves else (f"{ours}_conv",)
    yield _Part(f"{convolution}.weight", shape, layers, "kernel")
    channels = (shape[0] // len(layers),)
    if halves:
        yield _Part(f"{norm}.IN.weight", channels, (f"{ours}_in_scale",), "depthwise_kernel")
        yield _Part(f"{norm}.IN.bias", channels, (f"{ours}_in_scale",), "bias")
        norm += ".BN"
    for theirs, variable in _BATCH_NORMALIZATION.items():
        yield _Part(f"{norm}.{theirs}", channels, (f"{ours}_bn",), variable)
