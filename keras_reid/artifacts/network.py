"""Network fingerprint: which network made an artifact or embeddings. Embeddings of two networks are not compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.models.structure import layers_of, own_weights

_DIGITS = 32  # hexadecimal, of a SHA-256
_NOT_COMPUTED_WITH = ("name", "dtype", "trainable", "sparse", "ragged", "batch_input_shape", "batch_shape")


def fingerprint_of(embedder) -> str:
    """Returns the fingerprint of a Keras embedder, over its weights and preprocessing: 32 hexadecimal digits.

    It is a hash over the image size and, layer by layer, the class, the numbers and words of the configuration and the
    weights as float32. Names, precision and whether a layer is trained do not count, nor does the version of Keras: a
    network and every format that is exported of it, rounded to int8 or not, have the same.
    """
    content = hashlib.sha256(json.dumps(embedder.input_shape[1:]).encode())
    for layer in layers_of(embedder):
        weights = [weight.numpy() for weight in own_weights(layer)]
        about = [_said_of(layer), [list(weight.shape) for weight in weights]]
        content.update(json.dumps(about, sort_keys=True).encode())
        for weight in weights:
            content.update(weight.astype("<f4").tobytes())
    return content.hexdigest()[:_DIGITS]


def _said_of(layer) -> list:
    """Returns what a layer computes, but for its weights; nothing of a nested model, whose layers follow."""
    if hasattr(layer, "layers"):
        return []
    config = {key: _plain(value) for key, value in layer.get_config().items() if key not in _NOT_COMPUTED_WITH}
    # What a later Keras adds is None or False where nobody has set it; a dictionary says how weights began.
    return [type(layer).__name__, {key: value for key, value in config.items() if value not in (None, False)}]


def _plain(value: Any) -> Any:
    """Returns numbers, words and lists of them for JSON; None for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return items[0] if len(items) == 1 else items  # BatchNormalization's axis is written as 3 and as [3]
    return value if isinstance(value, (str, int, float)) else None


def check_one_network(fingerprints: Mapping[str, str | None]) -> None:
    """Makes sure that what is compared comes from one network; prints a line where that cannot be checked.

    Args:
        fingerprints: of what is compared, by what a sentence calls it; None where it does not say, as older files.

    Raises:
        ReidError: two of them differ.
    """
    known = {name: fingerprint for name, fingerprint in fingerprints.items() if fingerprint}
    if len(set(known.values())) > 1:
        first, other = list(known)[0], next(name for name in known if known[name] != list(known.values())[0])
        raise ReidError(
            f"{first} and {other} come from two networks (fingerprints {known[first][:12]} and {known[other][:12]}): "
            "no distance between them means anything. Embed both with one network."
        )
    silent = [name for name in fingerprints if name not in known]
    if silent:
        print(f"not checked whether one network made them: no network fingerprint in {', '.join(silent)}", flush=True)
