"""Reference model: the embedder in float32, as it ships; everything that is exported is compared with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from keras_reid.artifacts import Artifact, artifact_of, describe_embedder, on_devices
from keras_reid.keras2 import tf
from keras_reid.models.precision import rebuild_in_float32, with_float32_policies
from keras_reid.models.structure import check_embedder


class ReferenceModel:
    """Makes an artifact of an embedder that trains, over and over without building it anew.

    Args:
        devices: names of the devices that embed a part of each batch at once; a copy of the model lies on each after
            the first.
    """

    def __init__(self, devices: Sequence[str] = ()):
        self._devices = tuple(devices)
        self._embedder = self._model = self._artifact = None
        self._copies = []

    def artifact_of(self, embedder: tf.keras.Model) -> Artifact:
        """Returns the embedder in float32, with the weights that it has now, as an artifact.

        The first call with a model builds and traces what later calls with the same model bring up to date: a new
        graph each time would take memory that TensorFlow never gives back. Make the first call outside a strategy's
        scope, before `fit`, which would spread the copies over all replicas.

        Args:
            embedder: `[B, H, W, 3]` to `[B, D]`; one that computes in float32 already is not copied.
        """
        if embedder is not self._embedder:
            check_embedder(embedder)
            self._model = embedder if _computes_in_float32(embedder) else rebuild_in_float32(embedder)
            self._copies = [_copy_on(device, self._model) for device in self._devices[1:]]
            models = [self._model, *self._copies]
            self._artifact = on_devices(models, self._devices) if self._copies else artifact_of(self._model)
            self._embedder = embedder
            return self._artifact
        if self._model is not embedder:
            rebuild_in_float32(embedder, into=self._model)
        for copy in self._copies:
            rebuild_in_float32(self._model, into=copy)
        return dataclasses.replace(self._artifact, metadata=describe_embedder(self._model))  # of the weights of now


def _copy_on(device: str, model: tf.keras.Model) -> tf.keras.Model:
    with tf.device(device):
        return rebuild_in_float32(model)


def _computes_in_float32(model: tf.keras.Model) -> bool:
    config = model.get_config()
    return with_float32_policies(config) == config
