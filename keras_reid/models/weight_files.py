"""Files of backbone weights: which network wrote a file, and which input it expects.

Every source is read as one `BackboneWeights`: arrays under the embedder's own layer names, for an RGB input. Weights of
keras.applications are converted exactly: the biases of its convolutions, which keras-cv's do not have, move into the
mean of the BatchNormalization that follows, and the first kernel's input channels are flipped from BGR to RGB. Weights
of PyTorch's networks bring the graph that they were trained in.
"""

import contextlib
import dataclasses
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from keras_reid.errors import ReidError, first_line
from keras_reid.keras2 import keras
from keras_reid.models.backbone import KERAS_APPLICATIONS, BackboneGraph, graph_of, keras_cv_resnet50
from keras_reid.models.keras_file import load_keras
from keras_reid.models.torch_files import is_torch_file, read_tensors
from keras_reid.models.torch_heads import ReidCheckpoint, read_head
from keras_reid.models.torch_resnet50 import find_backbone, grouped

RUN_FOLDER_FILES = ("last.keras", "best.keras")
PRESET = "resnet50_imagenet"
INPUT_LAYER = "input_normalization"
_FILES = "a run folder, or a .keras, .h5, .safetensors or .pth file"
OTHER_CHOICES = f"Use backbone_weights=none (random weights) or backbone_weights=PATH ({_FILES})."


@dataclasses.dataclass(frozen=True)
class InputNormalization:
    """What the first convolution expects: `image * scale + offset`, RGB 0..255, three numbers each."""

    scale: tuple
    offset: tuple
    description: str

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], description: str) -> "InputNormalization":
        """Returns that of a mean of red, green and blue, 0..255, and a deviation."""
        scale, offset = tuple(1.0 / float(one) for one in std), tuple(-float(a) / float(b) for a, b in zip(mean, std))
        return cls(scale, offset, description)


IMAGENET_NORMALIZATION = InputNormalization.of(
    (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "ImageNet mean and standard deviation"
)
CAFFE_NORMALIZATION = InputNormalization(
    (1.0, 1.0, 1.0), (-123.68, -116.779, -103.939), "minus the Caffe means, as keras.applications' preprocess_input"
)
UNIT_NORMALIZATION = InputNormalization(
    (1 / 255.0,) * 3, (0.0, 0.0, 0.0), "1/255, as keras-cv's ImageNet preset was trained"
)


@dataclasses.dataclass(frozen=True)
class BackboneWeights:
    """Weights under the embedder's layer names, and the input and the graph that they were trained with."""

    origin: str
    kind: str
    layers: dict  # layer name -> {variable name ("kernel", "gamma", ...): array}
    normalization: InputNormalization
    graph: BackboneGraph
    left_out: tuple = ()  # what else the file holds
    checkpoint: Optional[ReidCheckpoint] = None  # of a file of PyTorch's


def read_backbone_weights(where: Union[str, Path]) -> BackboneWeights:
    """Reads the weights that `backbone_weights` names, other than `none`.

    Args:
        where: `imagenet`, a run folder, a `.keras` file, an `.h5` file of keras-cv's or keras.applications' ResNet-50
            (weights alone or a whole model), or a `.safetensors` or `.pth` file with a ResNet-50 in the names of
            torchvision and timm, alone or in a re-ID checkpoint.

    Raises:
        ReidError: when they cannot be downloaded, found or read, or do not say which input they expect.
    """
    with warnings.catch_warnings():
        # keras-cv's backbones touch every attribute when their weights are loaded, obsolete ones too.
        warnings.filterwarnings("ignore", message=".*updates` will be removed", category=UserWarning)
        if str(where) == "imagenet":
            return _from_model(_download_preset(), f"imagenet (keras-cv's {PRESET})")
        path = _file_in(Path(where))
        if path.suffix == ".keras":
            with contextlib.suppress(ImportError):  # A file of stock layers opens without it.
                import keras_cv  # noqa: F401  registers its backbones, should the file hold one
            return _from_model(load_keras(path), str(path))
        if path.suffix in (".h5", ".hdf5"):
            return _from_h5(path)
        if is_torch_file(path):
            return _from_torch(path)
        raise ReidError(f"backbone_weights={path}: expected {_FILES}. {OTHER_CHOICES}")


def _file_in(path):
    files = [path / name for name in RUN_FOLDER_FILES] if path.is_dir() else [path]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        neither = f"the folder holds neither {' nor '.join(RUN_FOLDER_FILES)}"
        what = neither if path.is_dir() else "no such file or folder"
        raise ReidError(f"backbone_weights={path}: {what}. {OTHER_CHOICES}")
    return found


def _download_preset():
    try:
        import keras_cv

        return keras_cv.models.ResNetBackbone.from_preset(PRESET)
    except Exception as error:  # kagglehub's errors have no common base; no network gives OSError, no hub ImportError.
        raise ReidError(
            f"backbone_weights=imagenet: cannot download keras-cv's preset {PRESET} "
            f"({type(error).__name__}: {first_line(error)}). {OTHER_CHOICES}"
        ) from error


def _from_model(model, origin):
    leaves = list(_leaf_layers(model))
    layers = {layer.name: {variable_name(one): one.numpy() for one in layer.weights} for layer in leaves}
    rescaling = next((layer.get_config() for layer in leaves if isinstance(layer, keras.layers.Rescaling)), None)
    return _interpret(layers, {layer.name: layer.get_config() for layer in leaves}, rescaling, origin)


def _leaf_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def variable_name(variable) -> str:
    """Returns the last part of a Keras 2 variable's name: `kernel`, `gamma`, `moving_mean`, ..."""
    return variable.name.split("/")[-1].split(":")[0]


def _from_h5(path):
    import h5py

    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                configs = _h5_configs(file)
                rescaling = next((one["config"] for one in configs if one["class_name"] == "Rescaling"), None)
                named = {one["config"].get("name"): one["config"] for one in configs}
                return _interpret(_h5_layers(root), named, rescaling, str(path))
    except (OSError, KeyError, RuntimeError) as error:
        raise ReidError(f"backbone_weights={path}: not an HDF5 file, or damaged ({first_line(error)}).") from error
    return _from_model(_reference_network_with(path), str(path))


def _h5_layers(root):
    layers = {}
    for group_name in _texts(root.attrs["layer_names"]):
        layers.setdefault(group_name, {})
        for weight_name in _texts(root[group_name].attrs["weight_names"]):
            *scopes, variable = weight_name.split("/")
            # In a nested model's group the layer is in the weight's own name.
            layer = scopes[-1] if scopes else group_name
            layers.setdefault(layer, {})[variable.split(":")[0]] = np.asarray(root[group_name][weight_name])
    return layers


def _texts(attribute):
    return [item.decode() if isinstance(item, bytes) else str(item) for item in attribute]


def _h5_configs(file):
    """Finds every layer in the model that an .h5 file describes; weights alone describe none."""
    pending, found = [json.loads(file.attrs["model_config"])] if "model_config" in file.attrs else [], []
    while pending:
        item = pending.pop(0)
        if isinstance(item, dict) and {"class_name", "config"} <= item.keys() and isinstance(item["config"], dict):
            found.append(item)
        pending.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
    return found


def _reference_network_with(path):
    """Loads a `.weights.h5` file, which names no layers, into the network that it fits; a classifier is left out."""
    for build in (keras_cv_resnet50, lambda: keras.applications.ResNet50(weights=None, include_top=False)):
        network = build()
        try:
            network.load_weights(str(path))
            return network
        except Exception:  # Keras raises ValueError, KeyError or OSError for a file of another network.
            continue
    raise ReidError(
        f"backbone_weights={path}: its weights fit neither keras-cv's nor keras.applications' ResNet-50. "
        f"{OTHER_CHOICES}"
    )


_APPLICATIONS_LAYER = re.compile(r"conv([2-5])_block(\d+)_(\d)_(conv|bn)")


def _interpret(layers, configs: dict, rescaling: Optional[dict], origin):
    is_applications = any(_APPLICATIONS_LAYER.fullmatch(name) for name in layers)
    is_ours = INPUT_LAYER in layers
    if is_ours and rescaling is None:
        raise ReidError(
            f"backbone_weights={origin}: weights of an embedder without its configuration do not say which input "
            "normalization they were trained with. Use the run folder or its .keras file."
        )
    layers = {_our_name(name): dict(variables) for name, variables in layers.items() if variables}
    _fold_biases(layers)
    if rescaling is not None:
        normalization = _from_rescaling(rescaling)
    elif is_applications:
        normalization = CAFFE_NORMALIZATION
        _flip_input_channels(layers)
    else:
        normalization = UNIT_NORMALIZATION
    kind = "keras_reid embedder" if is_ours else "keras.applications" if is_applications else "keras-cv"
    graph = graph_of(configs) if is_ours else KERAS_APPLICATIONS if is_applications else BackboneGraph()
    return BackboneWeights(origin, kind, layers, normalization, graph)


def _our_name(name):
    match = _APPLICATIONS_LAYER.fullmatch(name)
    return f"v2_stack_{int(match[1]) - 2}_block{match[2]}_{match[3]}_{match[4]}" if match else name


def _fold_biases(layers):
    """Moves each convolution's bias into the mean of the BatchNormalization that follows: inference stays the same."""
    for name, variables in layers.items():
        normalization = layers.get(re.sub("_conv$", "_bn", name), {})
        if name.endswith("_conv") and "bias" in variables and "moving_mean" in normalization:
            normalization["moving_mean"] = normalization["moving_mean"] - variables.pop("bias")


def _flip_input_channels(layers):
    if "conv1_conv" in layers:
        layers["conv1_conv"]["kernel"] = layers["conv1_conv"]["kernel"][:, :, ::-1, :]


def _from_rescaling(config):
    scale, offset = (tuple(np.broadcast_to(config[key], 3).astype(float).tolist()) for key in ("scale", "offset"))
    shown = " and ".join(", ".join(f"{number:.4g}" for number in numbers) for numbers in (scale, offset))
    return InputNormalization(scale, offset, f"scale and offset as stored in the file ({shown})")


def _from_torch(path):
    tensors = read_tensors(path)
    backbone = find_backbone(tensors, str(path))
    checkpoint = read_head(tensors, backbone)
    under = f", under {backbone.prefix!r}" if backbone.prefix else ""
    normalization, mean, std = IMAGENET_NORMALIZATION, checkpoint.pixel_mean, checkpoint.pixel_std
    if mean is not None and std is not None:
        normalization = InputNormalization.of(mean, std, "the mean and deviation that the file holds")
    return BackboneWeights(
        origin=str(path),
        kind=f"{checkpoint.project}'s names{under}",
        layers={**backbone.layers, **checkpoint.head},
        normalization=normalization,
        graph=checkpoint.graph,
        left_out=grouped(checkpoint.unused, backbone.prefix),
        checkpoint=checkpoint,
    )
