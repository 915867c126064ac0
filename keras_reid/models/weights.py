"""Assignment of weights: those of a file that fit enter the embedder, and a report says what did not."""

import dataclasses
import re

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models.torch_resnet50 import some
from keras_reid.models.weight_files import BackboneWeights, variable_name

# Layers of a residual network, in the names of either library; what else a file holds is a head.
_BACKBONE_LAYER = re.compile(r"(conv1|v2_stack_\d+_block\d+_\w+|conv\d_block\d+_\w+)_(conv|bn|in_scale)")


@dataclasses.dataclass(frozen=True)
class WeightReport:
    """What a file's weights were used for, by the names of layers that have weights."""

    origin: str  # where the weights came from
    kind: str  # which library's network wrote them
    matched: tuple  # layers of the embedder that were filled
    missing: tuple  # layers of the embedder that keep their random weights
    unused: tuple  # layers of the file that found no place, and what else it holds
    normalization: str  # what happens to the input, in words

    def summary(self) -> str:
        """Returns one line: how many matched, and every name that did not."""
        parts = [f"{len(self.matched)} layers matched, {self.matched[0]} to {self.matched[-1]}"]
        if self.missing:
            parts.append(f"{len(self.missing)} not in the file and left random: {', '.join(self.missing)}")
        if self.unused:
            parts.append(f"{len(self.unused)} of the file not used: {', '.join(self.unused)}")
        return f"Backbone weights from {self.origin} ({self.kind}): {'; '.join(parts)}. Input: {self.normalization}."


def assign_weights(model: keras.Model, weights: BackboneWeights) -> WeightReport:
    """Copies weights into the embedder's layers of the same name and shapes.

    A head that does not fit keeps its random weights and is listed; a backbone that does not fit is an error.

    Args:
        model: an embedder, changed in place.
        weights: what `read_backbone_weights` returned.

    Raises:
        ReidError: when the file holds another network than a ResNet-50; the model is then unchanged.
    """
    ours = {layer.name: layer for layer in model.layers if layer.weights}
    matched = tuple(name for name, layer in ours.items() if _fits(layer, weights.layers.get(name)))
    missing = tuple(name for name in ours if name not in matched)
    unused = tuple(name for name in weights.layers if name not in matched)
    _check_architecture(matched, missing, unused, weights)
    for name in matched:
        for variable in ours[name].weights:
            variable.assign(np.asarray(weights.layers[name][variable_name(variable)], np.float32))
    unused += weights.left_out
    return WeightReport(weights.origin, weights.kind, matched, missing, unused, weights.normalization.description)


def _fits(layer, arrays):
    shapes = {variable_name(variable): tuple(variable.shape) for variable in layer.weights}
    return arrays is not None and shapes == {name: tuple(array.shape) for name, array in arrays.items()}


def _check_architecture(matched, missing, unused, weights):
    if not any(_BACKBONE_LAYER.fullmatch(name) for name in matched):
        raise ReidError(
            f"backbone_weights={weights.origin}: no layer matches a ResNet-50 of keras-cv or keras.applications; "
            f"the file holds {some(list(weights.layers)) or 'no weights'}."
        )
    # Another depth or variant shares names and some shapes: half of it in a ResNet-50 would be nonsense.
    foreign = [name for name in unused if _BACKBONE_LAYER.fullmatch(name)]
    if foreign:
        raise ReidError(
            f"backbone_weights={weights.origin}: expected a ResNet-50 (version 1), got another residual network: "
            f"{len(foreign)} of its layers have no counterpart or another shape ({some(foreign)})."
        )
    lacking = [name for name in missing if _BACKBONE_LAYER.fullmatch(name)]
    if lacking:
        raise ReidError(
            f"backbone_weights={weights.origin}: {len(lacking)} layers of a ResNet-50 are not in it ({some(lacking)}), "
            "and none is left random."
        )
