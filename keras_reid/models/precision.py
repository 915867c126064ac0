"""Precision of what ships: the same network, with every layer in float32."""

from collections.abc import Iterator
from typing import Optional

from keras_reid.errors import ReidError, first_line
from keras_reid.keras2 import tf
from keras_reid.models.structure import weights_of

LOW_PRECISION = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def rebuild_in_float32(
    model: tf.keras.Model,
    *,
    into: Optional[tf.keras.Model] = None,
    image_size: Optional[tuple[int, int]] = None,
) -> tf.keras.Model:
    """Copies a functional or Sequential model with the dtype policy float32 in every layer.

    Args:
        model: under any dtype policy; it is not changed.
        into: an earlier result for the same network, to bring up to date. Building another takes seconds, and memory
            that Keras never gives back.
        image_size: (height, width) that the new model takes, where it is not that of `model`: a network without a
            `Flatten`, such as `build_embedder` makes, has the same weights at any size.

    Returns:
        `into`, or a new, uncompiled model with the same layer names and its own copy of the weights, also when `model`
        is float32 already.
    """
    copy = into or type(model).from_config(_with_image_size(with_float32_policies(model.get_config()), image_size))
    for weight, copied in zip(weights_of(model), weights_of(copy)):
        copied.assign(weight.numpy().astype(tf.as_dtype(copied.dtype).as_numpy_dtype))
    return copy


def check_rebuildable(model, name: str = "embedder") -> None:
    """Raises ReidError, naming the model, where it cannot be built anew in float32, as what ships is."""
    try:
        for config in _layer_configs(model.get_config()):
            # Unbuilt: the weights of a second network would take memory.
            tf.keras.layers.deserialize(with_float32_policies({**config, "build_config": None}))
    except Exception as error:  # of any class
        raise ReidError(
            f"{name} cannot be built anew from its configuration, as what ships is ({first_line(error)}): use stock "
            "layers, or register your own by keras.saving.register_keras_serializable and give them get_config."
        ) from error


def _layer_configs(config: dict) -> Iterator[dict]:
    for layer in config["layers"]:
        if layer["class_name"] in ("Functional", "Model", "Sequential"):
            yield from _layer_configs(layer["config"])
        else:
            yield layer


def with_float32_policies(config):
    """Copies a configuration with each low-precision dtype in it replaced by float32; others, as uint8, stay."""
    if isinstance(config, dict):
        return {
            key: "float32" if key == "dtype" and policy_name(value) in LOW_PRECISION else with_float32_policies(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(with_float32_policies(item) for item in config)
    return config


def _with_image_size(config: dict, image_size: Optional[tuple[int, int]]) -> dict:
    """Returns the configuration of a network with its input of that size; None leaves it as it is."""
    if image_size is not None:
        source = next(layer for layer in config["layers"] if layer["class_name"] == "InputLayer")
        source["config"]["batch_input_shape"] = (None, *image_size, 3)
    return config


def policy_name(value) -> str:
    """Returns the name of a dtype policy in either of its written forms."""
    if isinstance(value, dict):
        return str(value.get("config", {}).get("name", ""))
    return str(value)
