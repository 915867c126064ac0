"""Program for a TensorFlow Lite file of the embedder: the distance of two photos. Needs no keras_reid, no TensorFlow.

    python compare.py embedder.tflite A.jpg B.jpg

It takes every exported kind of file (float32, float16, dynamic range, int8, int16): photos of any size go in as the
dtype of the signature and are resized inside. `reid.json`, appended to the file as zip content, holds the metric and
the threshold for same person or not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from pathlib import Path

try:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"error: {error}: python -m pip install -r {Path(__file__).with_name('requirements.txt')} first.")


def read_metadata(path: str) -> dict:
    """Returns `reid.json` of a model. Raises ValueError where the file is no exported model, or damaged.

    The interpreter does not check what it reads, and a damaged file may crash the process: the SHA-256 of the model is
    compared first. It is the zip's comment; the model is all that comes before the zip's first file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            metadata, digest = json.loads(file.read("reid.json")), file.comment.decode()
            model_bytes = file.getinfo("reid.json").header_offset
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no reid.json: it was not exported by keras_reid, or is cut") from error
    with open(path, "rb") as file:
        if hashlib.sha256(file.read(model_bytes)).hexdigest() != digest:
            raise ValueError(f"{path} is damaged: its content is not what was exported")
    return metadata


def as_seen(image: Image.Image) -> Image.Image:
    """Returns a photo in RGB and upright, as the package reads it.

    Cameras store photos turned and note how in EXIF. Of 16 bits of gray the upper 8 count: Pillow would clip to white.
    """
    image = ImageOps.exif_transpose(image)
    return (image.point(lambda value: value / 256) if image.mode.startswith("I") else image).convert("RGB")


def read_image(path: str) -> np.ndarray:
    """Returns a photo as uint8 [1, H, W, 3] RGB. Raises OSError where it is no image."""
    try:
        with Image.open(path) as image:
            return np.asarray(as_seen(image))[None]
    except (SyntaxError, ValueError, Image.DecompressionBombError, OSError) as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error


def embed(runner, image: np.ndarray) -> np.ndarray:
    """Returns the embedding [D] of one photo; values stay 0..255 where the input is float32."""
    dtype = runner.get_input_details()["images"]["dtype"]
    return runner(images=image.astype(dtype))["embedding"][0].astype(np.float64)


def distance_of(first: np.ndarray, second: np.ndarray, metric: str) -> float:
    """Returns the distance of two embeddings by a metric: "euclidean", or "cosine", 1 - cosine similarity."""
    if metric == "euclidean":
        return float(np.linalg.norm(first - second))
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    if lengths == 0:
        raise ValueError("an embedding has length zero, and cosine needs a direction")
    return float(1 - first @ second / lengths)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the .tflite file")
    parser.add_argument("first", help="a photo")
    parser.add_argument("second", help="another")
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    try:
        metadata = read_metadata(flags.model)
        images = [read_image(path) for path in (flags.first, flags.second)]
        runner = Interpreter(flags.model, num_threads=flags.threads).get_signature_runner("serving_default")
        distance = distance_of(*(embed(runner, image) for image in images), metadata["metric"])
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        print(f"error: {' '.join(str(error).split())[:300]}.", file=sys.stderr)
        return 1
    print(f"{metadata['metric']} distance: {distance:.6g}")
    if metadata.get("threshold") is None:
        print("no threshold is calibrated for same person or not")
    else:
        same = distance <= metadata["threshold"]
        print(f"{'same person' if same else 'different people'}: the threshold is {metadata['threshold']:.6g}")
        rate, dataset = metadata.get("false_positive_rate"), metadata.get("threshold_dataset")
        enrolled = metadata.get("threshold_identities")
        of = f"strangers among {enrolled} enrolled people" if enrolled else "impostor pairs (two people)"
        print(f"it accepted {rate} of the {of} of {dataset or 'an unknown dataset'}")
        augmentation = metadata.get("threshold_views") or "none"
        if augmentation != "none":
            print(f"(with --test_time_augmentation={augmentation}, which this program lacks: its rate may be another)")
    print("this is a hint, never a proof of identity")
    return 0


if __name__ == "__main__":
    sys.exit(main())
