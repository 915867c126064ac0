"""SavedModel format: what TensorFlow Serving serves, with all signatures, warm-up requests and `reid.json`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_reid.artifacts import metadata as reid_json
from keras_reid.artifacts.artifact import Artifact, unreadable
from keras_reid.artifacts.foreign import ForeignNetwork, Port, as_dtype
from keras_reid.artifacts.formats.search import Gallery
from keras_reid.artifacts.formats.signatures import INPUT, OUTPUT, SIGNATURE, serving_module
from keras_reid.artifacts.places import described_already, read_savedmodel_metadata
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, without_patterns, write_text
from keras_reid.keras2 import tf

# Where TensorFlow Serving looks, below the folder of a version.
_WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MODEL_NAME = "embedder"


def write(
    embedder: tf.keras.Model,
    path: str | os.PathLike,
    metadata: Mapping,
    *,
    gallery: Gallery | None = None,
    neighbors: int = 10,
) -> Path:
    """Writes a SavedModel, as `Format.write`: it opens where only TensorFlow is installed.

    `formats.signatures` lists its signatures. `reid.json` is an asset; `assets.extra` holds the warm-up requests.
    `gallery` is searched by the signature `search`, which finds `neighbors` of it and is left out without it.
    """
    with whole_or_not_at_all(path) as temporary, tempfile.TemporaryDirectory() as folder:
        metadata_file = Path(folder, reid_json.FILE_NAME)
        metadata_file.write_text(reid_json.as_text(metadata), encoding="utf-8")
        module = serving_module(embedder, metadata, metadata_file, gallery=gallery, neighbors=neighbors)
        tf.saved_model.save(module, str(temporary), signatures=module.signatures_by_name)
        _write_warmup(temporary, module.signatures_by_name, embedder.input_shape[1:3])
    return Path(path)


def _write_warmup(folder: Path, signatures: Mapping[str, Callable], image_size: tuple[int, int]) -> None:
    """Writes what TensorFlow Serving asks before the first user does: one black image to each signature."""
    try:
        from tensorflow_serving.apis import prediction_log_pb2  # takes TensorFlow: after keras2 has chosen its Keras
    except ImportError as error:
        raise ReidError(
            f"a SavedModel's warm-up requests need tensorflow-serving-api, which cannot be imported ({error}): "
            f"pip install 'tensorflow-serving-api=={tf.__version__}'."
        ) from error

    image = np.zeros((1, *image_size, 3), np.uint8)
    path = folder / _WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = _MODEL_NAME, name
            for spec in function.input_signature:
                value = [tf.io.encode_png(image[0]).numpy()] if spec.dtype == tf.string else image
                request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(value, dtype=spec.dtype))
            writer.write(log.SerializeToString())


def next_version(directory: str | os.PathLike) -> int:
    """Returns the number after the highest version in a folder, 1 where there is none."""
    return max((int(child.name) for child in Path(directory).glob("*") if child.name.isdecimal()), default=0) + 1


def load(folder: Path) -> Artifact:
    """Opens the folder of one version; ReidError where it is damaged or was not written by `write`."""
    metadata = read_savedmodel_metadata(folder)
    loaded = _loaded(folder, "SavedModel of keras_reid")
    if SIGNATURE not in loaded.signatures:
        raise unreadable(folder, "SavedModel of keras_reid", KeyError(SIGNATURE))
    signature = loaded.signatures[SIGNATURE]

    def embed_batch(images):
        return signature(**{INPUT: tf.constant(images)})[OUTPUT]

    embed_batch.loaded = loaded  # its variables are gone once nothing refers to it
    return Artifact(str(folder), "savedmodel", metadata, embed_batch)


def read_foreign(folder: Path) -> ForeignNetwork:
    """Opens a SavedModel of somebody else's; ReidError where it cannot be loaded, or is one of ours."""
    if (folder / "assets" / reid_json.FILE_NAME).exists():
        raise described_already(folder)
    loaded = _loaded(folder, "SavedModel that TensorFlow loads")
    names = list(loaded.signatures)
    if SIGNATURE not in names and len(names) != 1:
        shown = f" (it has {', '.join(names)})" if names else ""
        raise ReidError(f"{str(folder)!r} has no signature {SIGNATURE}{shown}: save it with one.")
    signature = loaded.signatures[SIGNATURE if SIGNATURE in names else names[0]]
    inputs = signature.structured_input_signature[1]

    def run(name: str, values: np.ndarray, output: str) -> np.ndarray:
        return signature(**{name: tf.constant(as_dtype(values, inputs[name].dtype.name))})[output].numpy()

    run.loaded = loaded  # its variables are gone once nothing refers to it
    return ForeignNetwork(_ports(inputs), _ports(signature.structured_outputs), run)


def _ports(specs: Mapping[str, tf.TensorSpec]) -> tuple[Port, ...]:
    return tuple(
        Port(name, None if spec.shape.rank is None else tuple(spec.shape), spec.dtype.name)
        for name, spec in sorted(specs.items())
    )


def _loaded(folder: Path, what: str):
    try:
        with without_patterns(folder) as place:
            return tf.saved_model.load(str(place))
    except Exception as error:  # of any class: IndexError where the weights are cut, ValueError of protobuf, ...
        raise unreadable(folder, what, error) from error


def signature_outputs(artifact: Artifact, signature: str) -> set[str]:
    """Returns the names of the outputs of a signature; none where it is missing, or for another kind of artifact."""
    loaded = getattr(artifact.embed_batch, "loaded", None)
    return set(loaded.signatures[signature].structured_outputs) if loaded and signature in loaded.signatures else set()


def replace_metadata(folder: Path, metadata: Mapping) -> None:
    """Replaces `reid.json` in the folder of one version, whole or not at all."""
    write_text((folder / "assets" / reid_json.FILE_NAME).resolve(), reid_json.as_text(metadata))
