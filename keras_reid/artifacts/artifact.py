"""Decides how what was shipped is opened and asked: run folder, `.keras`, SavedModel, `.tflite`, all by `embed`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_reid.artifacts import metadata as reid_json
from keras_reid.artifacts.views import check_views, image_views, mean_embedding
from keras_reid.data.images import resize_images
from keras_reid.data.pipeline import image_batches
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "embedding"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A model that embeds images, whatever its format.

    Attributes:
        name: where it came from.
        kind: "live", "keras", "savedmodel", "tflite" or "onnx".
        metadata: the content of its `reid.json`.
        embed_batch: uint8 `[N, H, W, 3]` to float32 `[N, D]`.
    """

    name: str
    kind: str
    metadata: dict
    embed_batch: Callable[[np.ndarray], np.ndarray]

    @property
    def metric(self) -> str:
        """How its embeddings are compared: "euclidean" or "cosine"."""
        return self.metadata.get("metric", "euclidean")

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) that images are resized to inside."""
        return tuple(self.metadata["image_size"])

    @property
    def threshold(self) -> float | None:
        """The largest distance of two images that counts as the same person; None before it is calibrated."""
        threshold = self.metadata.get("threshold")
        if threshold is not None and not isinstance(threshold, (int, float)):
            raise ReidError(f"{self.name!r} has the threshold {threshold!r}, expected a number. Calibrate it again.")
        return threshold

    def embed(self, images: np.ndarray, views: str = "none") -> np.ndarray:
        """Embeds images of any size; they are resized inside.

        Args:
            images: uint8 `[N, H, W, 3]`, RGB.
            views: which views of each image are embedded, as in `image_views`; their mean is its embedding.

        Returns:
            float32 `[N, D]`.

        Raises:
            ReidError: another dtype or shape, or unknown views.
        """
        check_views(views)
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
            raise ReidError(f"images are {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 3] RGB.")
        if len(images) == 0:
            return np.zeros((0, self.metadata["embedding_size"]), np.float32)
        if views == "none":
            return np.asarray(self.embed_batch(images), np.float32)
        # Each view is a copy, made when its turn comes: nothing done to one in place may reach the next.
        embeddings = [np.asarray(self.embed_batch(view.copy()), np.float32) for view in image_views(images, views)]
        return mean_embedding(embeddings, metric=self.metric)


def signature_outputs(artifact: Artifact, signature: str) -> set[str]:
    """Returns the names of what a signature of a SavedModel gives; none of another kind of artifact."""
    loaded = getattr(artifact.embed_batch, "keeps", None)
    return set(loaded.signatures[signature].structured_outputs) if loaded and signature in loaded.signatures else set()


def artifact_of(embedder, metadata: dict | None = None, *, name: str = "live model", kind: str = "live") -> Artifact:
    """Returns a Keras embedder as an artifact, to be asked in the same way as what is shipped of it."""
    image_size = embedder.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def embed_batch(images):
        return embedder(resize_images(images, image_size), training=False)

    return Artifact(name, kind, metadata or reid_json.describe_embedder(embedder), embed_batch)


def open_artifact(path: str | os.PathLike) -> Artifact:
    """Opens a run folder (its `last.keras`), a `.keras`, `.tflite` or `.onnx` file, or a SavedModel folder.

    A folder of numbered versions, as TF Serving reads it, stands for its highest version.

    Raises:
        ReidError: there is nothing, it is none of these, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise ReidError(
            f"no artifact at {str(path)!r}: expected a run folder, .keras, SavedModel folder, .tflite or .onnx."
        )
    if path.suffix == ".keras":
        return _open_keras(path)
    if path.suffix == ".tflite":
        return _open_tflite(path)
    if path.suffix == ".onnx":
        return _open_onnx(path)
    if (path / "last.keras").exists():
        return _open_keras(path / "last.keras")
    versions = [child for child in path.glob("*") if child.name.isdecimal()] if path.is_dir() else []
    folder = max(versions, key=lambda child: int(child.name)) if versions else path
    if (folder / "saved_model.pb").exists():
        return _open_savedmodel(folder)
    raise ReidError(
        f"{str(path)!r} is no artifact: expected a run folder that has trained an epoch (last.keras), a .keras file, a "
        "SavedModel folder (saved_model.pb), a .tflite or an .onnx file."
    )


def _open_keras(path: Path) -> Artifact:
    from keras_reid.models import load_keras, read_metadata  # need Keras 2, which the rest of this module does not

    embedder, metadata = load_keras(path), read_metadata(path)
    return artifact_of(embedder, metadata and reid_json.checked(metadata, path), name=str(path), kind="keras")


def _open_savedmodel(folder: Path) -> Artifact:
    text_file = folder / "assets" / reid_json.FILE_NAME
    if not text_file.is_file():
        raise ReidError(f"{str(folder)!r} was not exported by keras_reid, or is damaged: it has no {text_file.name}.")
    metadata = reid_json.parse(text_file.read_bytes(), folder)
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures[SIGNATURE]
    except Exception as error:  # of any class: IndexError where the weights are cut, ValueError of protobuf, ...
        raise _unreadable(folder, "SavedModel", error) from error

    def embed_batch(images):
        return signature(**{INPUT: tf.constant(images)})[OUTPUT]

    embed_batch.keeps = loaded  # its variables are gone once nothing refers to it
    return Artifact(str(folder), "savedmodel", metadata, embed_batch)


def _open_tflite(path: Path) -> Artifact:
    metadata = reid_json.read_from_zip(path)
    try:
        interpreter = tflite_interpreter(model_path=str(path), num_threads=os.cpu_count())
        runner = interpreter.get_signature_runner(SIGNATURE)
        dtype = runner.get_input_details()[INPUT]["dtype"]  # float32 where activations are int16
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise _unreadable(path, "TFLite model", error) from error
    return Artifact(str(path), "tflite", metadata, lambda images: runner(**{INPUT: images.astype(dtype)})[OUTPUT])


def tflite_interpreter(**options):
    """Returns `tf.lite.Interpreter` of some options, without the notice that it will move to another package."""
    with warnings.catch_warnings():
        # TensorFlow 2.21 still has it, and whoever runs a command can do nothing about the notice.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        return tf.lite.Interpreter(**options)


def _open_onnx(path: Path) -> Artifact:
    try:
        import onnxruntime
    except ImportError as error:
        raise ReidError(f"{str(path)!r} needs onnxruntime ({error}): pip install onnxruntime.") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        text = session.get_modelmeta().custom_metadata_map[reid_json.FILE_NAME]
    except Exception as error:  # its errors share no class of their own
        raise _unreadable(path, "ONNX model", error) from error
    metadata = reid_json.parse(text, path)
    return Artifact(str(path), "onnx", metadata, lambda images: session.run([OUTPUT], {INPUT: images})[0])


def _unreadable(path: Path, kind: str, error: Exception) -> ReidError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ReidError(f"{str(path)!r} is no {kind} of keras_reid, or is damaged ({reason}).")


def on_devices(embedders: Sequence, devices: Sequence[str]) -> Artifact:
    """Returns copies of a Keras embedder as one artifact, which embeds a part of each batch on each device at once.

    Args:
        embedders: `[n]` Keras models with the same weights, each on its device.
        devices: `[n]` names.
    """
    whole, parts = artifact_of(embedders[0]), [artifact_of(embedder).embed_batch for embedder in embedders]

    def embed_part(part: Callable, device: str, images: np.ndarray) -> np.ndarray:
        with tf.device(device):
            return part(tf.constant(images)).numpy()

    def embed_batch(images: np.ndarray) -> np.ndarray:
        shares = [share for share in np.array_split(images, len(parts)) if len(share)]
        with ThreadPoolExecutor(len(parts)) as pool:
            return np.concatenate(list(pool.map(embed_part, parts, devices, shares)))

    return dataclasses.replace(whole, embed_batch=embed_batch)


def embed_files(
    artifact: Artifact, image_paths: Sequence[str], *, batch_size: int = 64, views: str = "none", team=None
) -> np.ndarray:
    """Embeds image files with a progress bar.

    Args:
        artifact: what embeds them.
        image_paths: `[N]` files of any size.
        batch_size: most images at once.
        views: as in `Artifact.embed`.
        team: the workers that embed a part each, at once; `keras_reid.training.strategy.Team`.

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
            embeddings[own[positions]] = artifact.embed(images, views)
            bar.update(len(positions))
    return embeddings if team is None else team.sum(embeddings)  # of the others' images it has zeros
