"""Precision of what ships: the same network, with every layer in float32."""

from collections.abc import Iterator
from typing import Optional

from keras_reid.errors import ReidError, first_line
from keras_reid.keras2 import tf
from keras_reid.models.structure import weights_of

LOW_PRECISION = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def rebuild_in_float32(model: tf.keras.Model, *, into: Optional[tf.keras.Model] = None) -> tf.keras.Model:
    """Copies a functional or Sequential model with the dtype policy float32 in every layer.

    Args:
        model: under any dtype policy; it is not changed.
        into: an earlier result for the same network, to bring up to date. Building another takes seconds, and memory
            that Keras never gives back.

    Returns:
        `into`, or a new, uncompiled model with the same layer names and its own copy of the weights, also when `model`
        is float32 already.
    """
    copy = into or type(model).from_config(with_float32_policies(model.get_config()))
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


def policy_name(value) -> str:
    """Returns the name of a dtype policy in either of its written forms."""
    if isinstance(value, dict):
        return str(value.get("config", {}).get("name", ""))
    return str(value)
