"""`.keras` file: one archive that plain Keras 2 and Keras 3 both open without custom objects.

Keras 2 writes entries into `config.json` that another Keras refuses: the private class `Functional`, each
BatchNormalization's axis as a list, the groups of a DepthwiseConv2D, dtype policies of a module that Keras 3 no longer
has, and (tf_keras only) `optional` of an input. Each has a spelling that Keras 2.15, tf_keras and Keras 3 understand.
"""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Optional, Union

from keras_reid.errors import ReidError, first_line
from keras_reid.files import whole_or_not_at_all
from keras_reid.keras2 import keras
from keras_reid.models.precision import policy_name

# Our metadata is one key of the file's own `metadata.json`, which no Keras reads. A fourth member in the archive would
# make Keras 2 unpack everything while it reads the weights, which fails on Python 3.12.0-3.12.3 (zipfile seeks wrong).
METADATA_KEY = "reid"
CONFIG_MEMBER, METADATA_MEMBER, WEIGHTS_MEMBER = "config.json", "metadata.json", "model.weights.h5"


def save_keras(model: keras.Model, path: Union[str, Path], *, metadata: Optional[dict] = None) -> Path:
    """Writes a functional model of stock layers as one `.keras` file for Keras 2 and Keras 3.

    The file replaces an older one whole or not at all. Optimizer state and compile options are left out; `model` stays
    as it is.

    Args:
        model: functional model; its weights are written as they are.
        path: file name ending in `.keras`; missing folders are made.
        metadata: JSON-serializable content of `reid.json`, stored inside; `read_metadata` returns it.

    Raises:
        ReidError: when `path` does not end in `.keras`.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ReidError(f"{path}: expected a file name that ends in .keras.")
    uncompiled = keras.Model(model.input, model.output, name=model.name)  # Shares the layers, knows no optimizer.
    with whole_or_not_at_all(path) as edited, tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "written.keras")
        uncompiled.save(str(written), save_format="keras")
        _rewrite(written, edited, {} if metadata is None else {METADATA_KEY: metadata}, _portable_text)
    return path


def load_keras(path: Union[str, Path]) -> keras.Model:
    """Opens a `.keras` file of stock layers, uncompiled.

    Equals `keras.models.load_model`, but unpacks the weights first: 2 s for a ResNet-50, where HDF5's seeking inside
    the zip archive takes 13 s.

    Raises:
        ReidError: when the file is missing, damaged, or needs code or a Keras version that is not here.
    """
    _check_archive(Path(path))
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            config = json.loads(archive.read(CONFIG_MEMBER))
            model = keras.saving.deserialize_keras_object({**config, "compile_config": None})
            model.load_weights(archive.extract(WEIGHTS_MEMBER, folder))
            return model
    except Exception as error:  # of any class: KeyError, OSError, TypeError, ...
        raise ReidError(
            f"{path}: Keras 2 cannot open this .keras file ({type(error).__name__}: {first_line(error)}). Expected a "
            "model of stock layers, undamaged, saved by keras_reid or by Keras 2."
        ) from error


def read_metadata(path: Union[str, Path]) -> Optional[dict]:
    """Returns the `metadata` that `save_keras` stored in a `.keras` file; None where it stored none.

    Raises:
        ReidError: when the file is missing or is not a `.keras` file.
    """
    _check_archive(Path(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(METADATA_MEMBER)).get(METADATA_KEY)
    except (AttributeError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ReidError(f"{path}: its {METADATA_MEMBER} is missing or damaged ({error}).") from error


def replace_metadata(path: Union[str, Path], metadata: dict) -> None:
    """Replaces the metadata that `read_metadata` returns, whole or not at all; the rest stays byte for byte."""
    read_metadata(path)
    with whole_or_not_at_all(path) as edited:
        _rewrite(path, edited, {METADATA_KEY: metadata})


def _rewrite(source, target, added_metadata, respelled=lambda config: config):
    """Copies a `.keras` file with more metadata, and with another `config.json` where it is respelled."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        new.writestr(METADATA_MEMBER, json.dumps({**json.loads(old.read(METADATA_MEMBER)), **added_metadata}))
        new.writestr(CONFIG_MEMBER, respelled(old.read(CONFIG_MEMBER)))
        for name in old.namelist():
            if name not in (METADATA_MEMBER, CONFIG_MEMBER):
                with old.open(name) as reader, new.open(name, "w", force_zip64=True) as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)  # May be large: never whole in memory.


def _portable_text(config: bytes) -> str:
    """Respells the `config.json` of a functional model for Keras 2.15, tf_keras and Keras 3 alike."""
    return json.dumps(_portable(json.loads(config)))


def _portable(config):
    if isinstance(config, list):
        return [_portable(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: _portable(value) for key, value in config.items()}
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = policy_name(config["dtype"])
    if config.get("class_name") == "Functional":  # the whole, and models inside it
        config |= {"module": "keras", "class_name": "Model", "registered_name": None}
    if config.get("class_name") == "BatchNormalization":
        axis = config["config"]["axis"]
        config["config"]["axis"] = axis[0] if isinstance(axis, list) else axis
    if config.get("class_name") == "DepthwiseConv2D":
        config["config"].pop("groups", None)
    if config.get("class_name") == "InputLayer" and not config["config"].get("optional"):
        config["config"].pop("optional", None)
    return config


def _check_archive(path):
    if not path.is_file():
        raise ReidError(f"{path}: no such file; expected a .keras file.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ReidError(f"{path}: not a .keras file (a zip archive), or cut short.")
