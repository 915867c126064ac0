"""Artifact: a model that embeds images, whatever its format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_reid.artifacts.augmentation import augmented_images, check_augmentation, mean_embedding
from keras_reid.artifacts.distances import comparable, distances_of
from keras_reid.artifacts.metadata import describe_embedder
from keras_reid.data.images import resize_images
from keras_reid.data.pipeline import image_batches
from keras_reid.errors import ReidError, first_line
from keras_reid.keras2 import tf
from keras_reid.models.structure import check_embedder


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A model that embeds images, whatever its format.

    Attributes:
        name: the path that it was opened from, or a name for the screen.
        kind: "keras", "savedmodel", "tflite" or "onnx"; "described" for somebody else's network; "reference" for a
            Keras model in this process.
        metadata: the content of its `reid.json`.
        embed_batch: uint8 `[N, H, W, 3]` to float32 `[N, D]`.
        embedder: the Keras model, of the kinds that are one; None of the others, which have no gradients.
    """

    name: str
    kind: str
    metadata: dict
    embed_batch: Callable[[np.ndarray], np.ndarray]
    embedder: Any = dataclasses.field(default=None, repr=False)  # no type of Keras: others open under Keras 3, too

    @property
    def metric(self) -> str:
        """How its embeddings are compared: "euclidean" or "cosine"."""
        return self.metadata.get("metric", "euclidean")

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) that images are resized to inside."""
        return tuple(self.metadata["image_size"])

    @property
    def network_fingerprint(self) -> str | None:
        """Which network it is, the same in every format; None in files of a version without it."""
        return self.metadata.get("network_fingerprint")

    @property
    def threshold(self) -> float | None:
        """The largest distance of two images that counts as the same person; None before it is calibrated."""
        threshold = self.metadata.get("threshold")
        if threshold is not None and not isinstance(threshold, (int, float)):
            raise ReidError(f"{self.name!r} has the threshold {threshold!r}, expected a number. Calibrate it again.")
        return threshold

    def embed(self, images: np.ndarray | Sequence[np.ndarray], test_time_augmentation: str = "none") -> np.ndarray:
        """Embeds images of any size; they are resized inside.

        Args:
            images: uint8 `[N, H, W, 3]`, RGB; or N images `[H, W, 3]`, such as crops, each of a size of its own.
            test_time_augmentation: the variants of each image whose embeddings are averaged, as in `augmented_images`.

        Returns:
            float32 `[N, D]`.

        Raises:
            ReidError: another dtype or shape, or unknown test-time augmentation.
        """
        check_augmentation(test_time_augmentation)
        batches = _batches_of_one_size(images)
        count = sum(len(batch) for _, batch in batches)
        embeddings = np.zeros((count, self.metadata["embedding_size"]), np.float32)
        for positions, batch in batches:
            embeddings[positions] = self._embed(batch, test_time_augmentation)
        return embeddings

    def _embed(self, images: np.ndarray, test_time_augmentation: str) -> np.ndarray:
        """Embeds uint8 `[N, H, W, 3]`, N at least 1."""
        if test_time_augmentation == "none":
            return np.asarray(self.embed_batch(images), np.float32)
        # Each variant is copied when its turn comes: a network that writes to its input must not spoil the next one.
        variants = augmented_images(images, test_time_augmentation)
        embeddings = [np.asarray(self.embed_batch(variant.copy()), np.float32) for variant in variants]
        return mean_embedding(embeddings, metric=self.metric)

    def distance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns the distances of paired embeddings by the artifact's own metric, computed in float64.

        Args:
            first: float `[N, D]`.
            second: float `[N, D]`.

        Returns:
            float64 `[N]`: the Euclidean distance, or the cosine distance, 1 - cosine similarity. Exact near 0.

        Raises:
            ReidError: other shapes, numbers that are not finite or, under cosine, an embedding of length zero.
        """
        first, second = (np.asarray(embeddings, np.float64) for embeddings in (first, second))
        if first.ndim != 2 or first.shape != second.shape:
            raise ReidError(f"embeddings are {list(first.shape)} and {list(second.shape)}, expected [N, D] twice.")
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise ReidError("an embedding holds NaN or inf: expected finite numbers. Look at the model's weights.")
        if self.metric == "cosine" and not (first.any(axis=1) & second.any(axis=1)).all():
            raise ReidError("an embedding has length zero: cosine needs a direction. Look at the model's weights.")
        return distances_of(comparable(first, self.metric), comparable(second, self.metric), self.metric).numpy()


def _batches_of_one_size(images: np.ndarray | Sequence[np.ndarray]) -> list[tuple[list[int], np.ndarray]]:
    """Returns positions and images, uint8 `[n, H, W, 3]`, for each size; ReidError for what are no images."""
    if not isinstance(images, (list, tuple)):
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
            raise ReidError(f"images are {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 3] RGB.")
        return [(list(range(len(images))), images)] if len(images) else []
    images, of_size = [np.asarray(image) for image in images], {}
    for number, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or image.size == 0:
            found = f"{image.dtype} {list(image.shape)}"
            raise ReidError(f"image {number} of {len(images)} is {found}, expected uint8 [H, W, 3] RGB.")
        of_size.setdefault(image.shape, []).append(number)
    return [(numbers, np.stack([images[number] for number in numbers])) for numbers in of_size.values()]


def unreadable(path: Path, what: str, error: Exception) -> ReidError:
    """Returns the error for a file that a format's own reader refuses, whose errors are of any class."""
    return ReidError(f"{str(path)!r} is no {what}, or is damaged ({first_line(error)}).")


def artifact_of(
    embedder, metadata: dict | None = None, *, name: str = "reference model", kind: str = "reference"
) -> Artifact:
    """Returns a Keras embedder as an artifact, which embeds images in the same way as what is shipped of it.

    Args:
        embedder: from `[B, H, W, 3]`, 0..255, to `[B, D]`.
        metadata: the content of `reid.json`; that of `describe_embedder` by default.
        name: as in `Artifact`.
        kind: as in `Artifact`.

    Raises:
        ReidError: the embedder is no graph of layers from images of one size to embeddings.
    """
    check_embedder(embedder, f"{name!r}")
    image_size = embedder.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def embed_batch(images):
        return embedder(resize_images(images, image_size), training=False)

    return Artifact(name, kind, metadata or describe_embedder(embedder), embed_batch, embedder)


def on_devices(embedders: Sequence, devices: Sequence[str]) -> Artifact:
    """Returns copies of a Keras embedder as one artifact, which embeds a part of each batch on each device at once.

    Args:
        embedders: `[n]` Keras models with the same weights, each on its device.
        devices: `[n]` names.
    """
    parts = [artifact_of(embedder).embed_batch for embedder in embedders]

    def embed_part(part: Callable, device: str, images: np.ndarray) -> np.ndarray:
        with tf.device(device):
            return part(tf.constant(images)).numpy()

    def embed_batch(images: np.ndarray) -> np.ndarray:
        shares = [share for share in np.array_split(images, len(parts)) if len(share)]
        with ThreadPoolExecutor(len(parts)) as pool:
            return np.concatenate(list(pool.map(embed_part, parts, devices, shares)))

    return dataclasses.replace(artifact_of(embedders[0]), embed_batch=embed_batch)


def embed_files(
    artifact: Artifact,
    image_paths: Sequence[str],
    *,
    batch_size: int = 64,
    test_time_augmentation: str = "none",
    team=None,
) -> np.ndarray:
    """Embeds image files with a progress bar.

    Args:
        artifact: embeds them.
        image_paths: `[N]` files of any size.
        batch_size: most images at once.
        test_time_augmentation: as in `Artifact.embed`.
        team: workers that embed a part each at the same time; `keras_reid.training.strategy.Team`.

    Returns:
        float32 `[N, D]`, in the order of the files.

    Raises:
        ReidError: names the images that cannot be read.
    """
    image_paths = np.asarray(image_paths, object)
    embeddings = np.zeros((len(image_paths), artifact.metadata["embedding_size"]), np.float32)
    own = np.arange(len(image_paths))[slice(None) if team is None else slice(team.rank, None, team.size)]
    with tqdm(total=len(own), desc=f"embed ({artifact.kind})", unit="image", disable=None, leave=False) as bar:
        for positions, images in image_batches(image_paths[own], batch_size=batch_size):
            embeddings[own[positions]] = artifact.embed(images, test_time_augmentation)
            bar.update(len(positions))
    return embeddings if team is None else team.sum(embeddings)  # zeros for the images of the other workers
