"""Describing by flags: somebody else's network, given as --artifact of any command, is described at its first use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from keras_reid import command
from keras_reid.artifacts.description import NORMALIZATION, Description
from keras_reid.artifacts.places import check_whole, description_file, locate, read_described_metadata
from keras_reid.errors import ReidError

# What a command's flags say of a network, as `describe_network` takes it; input_size is its image_size.
NETWORK = ("normalize", "mean", "std", "layout", "channels", "input_name", "output_name", "normalize_embedding")
DESCRIBING = ("metric", "input_size", *NETWORK)
_FIELDS = {"input_name": "input", "output_name": "output", "input_size": "image_size"}  # of a `Description`


def check_artifact(flags: command.Flags, *, metric_describes: bool = True) -> None:
    """Raises ReidError where --artifact is none, or is damaged: before TensorFlow is loaded.

    Where flags say what somebody else's network takes for a picture, it is described now, which takes TensorFlow, or
    must have been described so.

    Args:
        flags: of a command with --artifact.
        metric_describes: whether --metric alone speaks of the network, not of what the command does with it.
    """
    said = [name for name in DESCRIBING if flags[name].present and (metric_describes or name != "metric")]
    if not said:
        check_whole(flags.artifact)
        return
    kind, place = locate(flags.artifact)
    if kind == "described":
        _check_said(flags, said, place)
        return
    if not flags.metric:
        raise ReidError("--metric is not set: cosine or euclidean, no file says how its embeddings are compared.")
    try:
        artifact = describe_by_flags(flags)
    except OSError as error:
        raise ReidError(
            f"{flags.artifact} cannot be described beside its file ({error}): python -m keras_reid.describe "
            "--output=FOLDER writes a copy elsewhere."
        ) from error
    print(f"described once, in {artifact.name}: from now on --artifact={flags.artifact} is enough", flush=True)


def describe_by_flags(flags: command.Flags, output: str | None = None) -> Any:
    """Returns the artifact that `describe_network` makes of --artifact, as the flags say."""
    size = size_of(flags.input_size) if flags.input_size else None

    from keras_reid.artifacts import describe_network  # TensorFlow

    return describe_network(flags.artifact, output, image_size=size, **command.given(flags, "metric", *NETWORK))


def size_of(text: str) -> tuple[int, int]:
    """Returns (256, 128) from "256x128"."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text.strip())
    if not found:
        raise ReidError(f"--input_size={text}, expected height x width in pixels, such as 256x128.")
    return int(found[1]), int(found[2])


def _check_said(flags: command.Flags, said: list[str], place: Path) -> None:
    """Raises ReidError where a flag says something else than the description that there is."""
    metadata = read_described_metadata(place)
    description = Description.of(metadata)
    for name in said:
        value = flags[name].value
        if name == "metric":
            held = metadata["metric"]
        elif name == "normalize":
            value, held = NORMALIZATION[value], (description.mean, description.std)
        else:
            held = getattr(description, _FIELDS.get(name, name))
            value = size_of(value) if name == "input_size" else value
        if _plain(value) != _plain(held):
            raise ReidError(
                f"{flags.artifact} is described otherwise: --{name}={flags[name].value}, but {description_file(place)} "
                f"says {_plain(held)}. Leave the flag out, or remove that file to describe the network anew."
            )


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
