"""Opening of artifacts: the format that a path stands for, and changes of the `reid.json` inside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from keras_reid.artifacts.artifact import Artifact
from keras_reid.artifacts.formats.table import module_of
from keras_reid.artifacts.metadata import checked
from keras_reid.artifacts.places import locate


def open_artifact(path: str | os.PathLike) -> Artifact:
    """Opens a run folder (its `last.keras`), a `.keras`, `.tflite` or `.onnx` file, or a SavedModel folder.

    Somebody else's network is opened as the folder that `describe_network` made of it.
    A folder of numbered versions, as TF Serving reads it, stands for its highest version.

    Raises:
        ReidError: there is nothing, it is none of these, or it cannot be read.
    """
    kind, place = locate(path)
    return module_of(kind).load(place)


def update_metadata(path: str | os.PathLike, changes: Mapping) -> dict:
    """Changes keys of the `reid.json` inside an artifact; the network and its embeddings stay as they are.

    Args:
        path: as for `open_artifact`, whose file is changed; what was exported of a run earlier keeps its `reid.json`.
        changes: JSON-serializable values by key. A `.keras` file that has no `reid.json` gets one.

    Returns:
        The new content.

    Raises:
        ReidError: `open_artifact` refuses the artifact, or the changes are not of this format.
        OSError: it cannot be written; then it is as it was.
    """
    # Opened in full, so that what nobody can open is refused and not half repaired.
    artifact = open_artifact(path)
    metadata = {**artifact.metadata, **changes}
    replace_metadata(artifact.kind, Path(artifact.name), metadata)
    return metadata


def replace_metadata(kind: str, place: Path, metadata: dict) -> None:
    """Replaces the `reid.json` inside an artifact's file or folder, whole or not at all."""
    # Through a link to the file itself: a rename would put a file in the link's place.
    module_of(kind).replace_metadata(place.resolve(), checked(metadata, place))
