"""Described format: somebody else's network as it was, and beside it the `reid.json` that says how to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.description import Description
from keras_reid.artifacts.foreign import ForeignNetwork
from keras_reid.artifacts.formats.table import module_of
from keras_reid.artifacts.metadata import as_text
from keras_reid.artifacts.places import description_file, read_described_metadata
from keras_reid.data.images import resize_images
from keras_reid.errors import ReidError, first_line
from keras_reid.files import write_text


def load(place: Path) -> Artifact:
    """Opens what `describe_network` wrote; ReidError where it is damaged, or a package that runs it is missing."""
    metadata = read_described_metadata(place)
    description = Description.of(metadata)
    network = module_of(description.kind).read_foreign(description_file(place).parent / description.file)
    return Artifact(str(place), "described", metadata, embedding_function_of(description, network))


def replace_metadata(place: Path, metadata: Mapping) -> None:
    """Replaces `reid.json`, whole or not at all."""
    write_text(description_file(place), as_text(metadata))


def embedding_function_of(description: Description, network: ForeignNetwork) -> Callable[[np.ndarray], np.ndarray]:
    """Returns `Artifact.embed_batch` of somebody else's network."""

    def embed_batch(images: np.ndarray) -> np.ndarray:
        values = description.to_input(resize_images(images, tuple(description.image_size)).numpy())
        at_once = description.batch_size or len(values)
        parts = [values[start : start + at_once] for start in range(0, len(values), at_once)]
        return np.concatenate([description.to_embeddings(run(part)) for part in parts])

    def run(values: np.ndarray) -> np.ndarray:
        missing = (description.batch_size or 0) - len(values)  # of the last part: filled up with copies
        padded = np.pad(values, [(0, max(0, missing)), *[(0, 0)] * 3], mode="edge")
        try:
            found = np.asarray(network.run(description.input, padded, description.output))
        except Exception as error:  # onnxruntime's errors share no class
            what = f"{description.file!r} cannot be run on {list(padded.shape)}"
            raise ReidError(f"{what} ({first_line(error)}). Is it the size that the network takes?") from error
        wide = [size for size in found.shape[1:] if size != 1]
        if found.ndim < 2 or len(found) != len(padded) or len(wide) > 1:
            raise ReidError(
                f"the output {description.output!r} is {list(found.shape)} for {len(padded)} pictures, expected an "
                "embedding for each, [N, D] or [N, D, 1, 1]. Set output_name where there is another."
            )
        return found[: len(values)]

    return embed_batch
