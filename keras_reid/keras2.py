"""Keras 2 as `tf.keras`, or a clear error: `from keras_reid.keras2 import keras, tf`.

Under TensorFlow 2.16 and later `tf.keras` is Keras 3 unless TF_USE_LEGACY_KERAS=1 is set before TensorFlow is first
imported. Under TensorFlow 2.15 without the tf_keras package the same variable breaks `tf.keras`, so it is set from
2.16 on only. Importing `tf` alone from here never fails; asking for `keras` does when Keras 3 is active.
"""

import importlib.metadata
import os
import sys


def _tensorflow_version() -> tuple[int, ...]:
    for distribution in ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-intel", "tensorflow-macos"):
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return tuple(int(part) for part in version.split(".")[:2])
    return (0, 0)  # Not installed: the import below says so better than we could.


if "tensorflow" not in sys.modules and _tensorflow_version() >= (2, 16):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf  # noqa: E402  the variable above must come first


def __getattr__(name: str):
    if name != "keras":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Keras 3 has no `engine`: its Model lives in `keras.src.models.model`. (TF 2.15 has no `tf.keras.__version__`.)
    if ".engine." not in tf.keras.Model.__module__:
        raise ImportError(
            f"keras_reid needs Keras 2 as tf.keras, but Keras 3 is active (TensorFlow {tf.__version__}, "
            f"TF_USE_LEGACY_KERAS={os.environ.get('TF_USE_LEGACY_KERAS', 'not set')}). Install tf_keras, then import "
            "keras_reid.models before tensorflow or set TF_USE_LEGACY_KERAS=1 before Python starts. "
            "keras_reid.losses and keras_reid.evaluation work under Keras 3 as well."
        )
    return tf.keras
