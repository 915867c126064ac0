"""Precision of what ships: the same network, with every layer in float32."""

from typing import Optional

from keras_reid.keras2 import tf

LOW_PRECISION = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def rebuild_in_float32(model: tf.keras.Model, *, into: Optional[tf.keras.Model] = None) -> tf.keras.Model:
    """Copies a functional model with the dtype policy float32 in every layer.

    Args:
        model: functional model of stock layers under any dtype policy; it is not changed.
        into: an earlier result for the same network, to bring up to date. Building another takes seconds, and memory
            that Keras never gives back.

    Returns:
        `into`, or a new, uncompiled model with the same layer names and its own copy of the weights, also when `model`
        is float32 already.
    """
    copy = into or type(model).from_config(with_float32_policies(model.get_config()))
    for layer in model.layers:
        # Layer by layer: the order of `model.weights` changes with `trainable`.
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


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
