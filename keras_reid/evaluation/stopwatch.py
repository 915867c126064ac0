"""Speed of an artifact, measured while it embeds what is scored, without what is made only once."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from keras_reid.artifacts import Artifact


class Stopwatch:
    """Measures an artifact; `.artifact` is what to ask in its place."""

    def __init__(self, artifact: Artifact):
        self.artifact = dataclasses.replace(artifact, embed_batch=self._embed_batch)
        self._embed = artifact.embed_batch
        self._batches = []

    @property
    def images_per_second(self) -> float | None:
        """Images embedded in a second of embedding, decoding apart; None before any."""
        seen, counted = set(), []
        for shape, seconds in self._batches:
            if shape in seen:  # The first batch of a shape pays for traces and memory.
                counted.append((shape, seconds))
            seen.add(shape)
        counted = counted or self._batches
        images, seconds = sum(shape[0] for shape, _ in counted), sum(seconds for _, seconds in counted)
        return images / seconds if seconds else None

    def _embed_batch(self, images: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        embeddings = np.asarray(self._embed(images))
        self._batches.append((images.shape, time.perf_counter() - start))
        return embeddings
