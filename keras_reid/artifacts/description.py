"""Description of somebody else's network: which numbers its file takes for a picture, and which it gives for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# What is subtracted from red, green and blue, 0..255, and what the rest is divided by.
NORMALIZATION = {
    "imagenet": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "half": ([127.5] * 3, [127.5] * 3),
    "zero_one": ([0.0] * 3, [255.0] * 3),
    "raw": ([0.0] * 3, [1.0] * 3),
}


@dataclasses.dataclass(frozen=True)
class Description:
    """How pictures become what a network takes, and its output an embedding.

    Attributes:
        file: of the network; a folder for a SavedModel.
        kind: "onnx", "tflite" or "savedmodel".
        image_size: (height, width) that pictures are resized to.
        layout: "nchw" or "nhwc".
        channels: "rgb" or "bgr".
        mean: subtracted from red, green and blue, 0..255.
        std: what the rest is divided by.
        input: name of the input.
        output: name of the output.
        normalize_embedding: whether embeddings are scaled to length 1.
        batch_size: how many pictures it takes at once, no more and no fewer; None for any number.
    """

    file: str
    kind: str
    image_size: Sequence[int]
    layout: str
    channels: str
    mean: Sequence[float]
    std: Sequence[float]
    input: str
    output: str
    normalize_embedding: bool
    batch_size: int | None

    def to_input(self, pixels: np.ndarray) -> np.ndarray:
        """Returns what the network takes for pixels of its size, float32 `[N, H, W, 3]`, RGB, 0..255."""
        values = (pixels - np.float32(self.mean)) / np.float32(self.std)
        values = values[..., ::-1] if self.channels == "bgr" else values
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "nchw" else values, np.float32)

    def to_embeddings(self, output: np.ndarray) -> np.ndarray:
        """Returns embeddings, float32 `[N, D]`, of an output such as `[N, D]` or `[N, D, 1, 1]`."""
        rows = np.asarray(output, np.float32).reshape(len(output), -1)
        if not self.normalize_embedding:
            return rows
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)

    def fingerprint(self, folder: Path) -> str:
        """Returns the fingerprint of the network whose file lies in a folder, over its content and this description."""
        place = folder / self.file
        about = {name: value for name, value in dataclasses.asdict(self).items() if name != "file"}
        content = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for path in files_of(place):
            with open(path, "rb") as file:
                while block := file.read(1 << 22):
                    content.update(block)
        return content.hexdigest()[:32]

    @classmethod
    def of(cls, metadata: Mapping) -> Description:
        """Returns the description in a `reid.json`; TypeError or KeyError where it holds none."""
        return cls(**metadata["description"])


def files_of(place: Path) -> list[Path]:
    """Returns the files of a network: all in a SavedModel's folder, or a file and those with its weights.

    ONNX keeps weights above 2 GB, and PyTorch's exporter any, in a second file: model.onnx.data or model.onnx_data.
    """
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.is_file())
    beside = place.parent.iterdir() if place.suffix == ".onnx" else []
    weights = (path for path in beside if path.name in (f"{place.name}.data", f"{place.name}_data"))
    return [place, *sorted(weights)]
