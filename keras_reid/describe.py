"""python -m keras_reid.describe --artifact=FILE --normalize=... --metric=...: somebody else's network.

FILE is an .onnx or .tflite file, or the folder of a SavedModel, that this package did not write, such as an export of
torchreid or boxmot. FILE.reid.json beside it gets to say what the file does not: what the network takes for a picture.
From then on --artifact=FILE works wherever an artifact does. FILE stays as it is. With --output=FOLDER a copy of it and
the reid.json are written there, and --artifact=FOLDER is the artifact.

FILE may also be a checkpoint of reid-strong-baseline, fast-reid or torchreid with a ResNet-50 (.safetensors, or .pth
where torch is installed), whose code is known: FOLDER gets its network, neck included, as one of the package's own.

Whether the description is right shows in the scores: with another normalization or order of channels they are lower.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_reid import command, options
from keras_reid.artifacts.places import locate_network
from keras_reid.describing_flags import describe_by_flags, size_of
from keras_reid.errors import ReidError
from keras_reid.models.torch_files import is_torch_file

_OF_OTHERS = ("layout", "channels", "input_name", "output_name")
_OF_CHECKPOINTS = ("last_stride", "stem", "feature")


def describe(flags: command.Flags) -> None:
    command.required(flags, "artifact")
    path = Path(flags.artifact)
    is_checkpoint = is_torch_file(path) and not path.is_dir()
    if is_checkpoint:
        command.required(flags, "output")
        _refuse(flags, _OF_OTHERS, "a checkpoint, whose code is known")
    else:
        command.required(flags, "metric")
        _refuse(flags, _OF_CHECKPOINTS, "no checkpoint (.safetensors or .pth)")
    if not path.is_file():
        if is_checkpoint:
            raise ReidError(f"--artifact={path}: no such file.")
        locate_network(path)
    if flags.output and Path(flags.output).exists():
        raise ReidError(f"--output={flags.output} exists already: give another name, or remove it.")
    command.check_folder("output", flags.output)
    if is_checkpoint:
        artifact = _describe_checkpoint(flags)
        lines = checkpoint_lines(artifact.metadata)
    else:
        artifact = describe_by_flags(flags, flags.output or None)
        lines = lines_of(artifact.metadata)
    for line in lines:
        print(line)
    print(
        f"written to {artifact.name}: python -m keras_reid.evaluate --artifact={flags.output or flags.artifact} "
        "--dataset=... --data_dir=... scores it"
    )
    if is_checkpoint:
        print(f"python -m keras_reid.export --run_dir={flags.output} --dataset=... --data_dir=... ships it")


def _describe_checkpoint(flags: command.Flags) -> Any:
    given = command.given(flags, "metric", "normalize", "mean", "std", "normalize_embedding", *_OF_CHECKPOINTS)
    stride, size = flags.last_stride and int(flags.last_stride), size_of(flags.input_size or "256x128")

    from keras_reid.artifacts import describe_checkpoint  # slow: after the cheap checks

    return describe_checkpoint(flags.artifact, flags.output, **{**given, "image_size": size, "last_stride": stride})


def _refuse(flags: command.Flags, names: Sequence[str], what: str) -> None:
    """Raises ReidError for a flag that says nothing about this kind of file."""
    for name in names:
        if flags[name].value != flags[name].default:
            raise ReidError(f"--{name}={flags[name].value}, but {flags.artifact} is {what}: leave it out.")


def lines_of(metadata: dict) -> list[str]:
    """Returns what was found about a network, and whether its file says so or it was given."""
    about, read = metadata["description"], metadata["read_from_file"]

    def source(name: str) -> str:
        return "its file says so" if name in read else "as given"

    height, width = about["image_size"]
    order = about["layout"].upper()
    at_once = "any number" if about["batch_size"] is None else str(about["batch_size"])
    mean, std = (", ".join(f"{one:g}" for one in about[name]) for name in ("mean", "std"))
    scaled = ", scaled to length 1" if about["normalize_embedding"] else ""
    return [
        f"{metadata['model']}, fingerprint {metadata['network_fingerprint']}",
        f"pictures {height} x {width}, height x width ({source('image_size')}), {order} ({source('layout')})",
        f"channels {about['channels'].upper()}, less {mean} and divided by {std} (as given: no file says it)",
        f"input {about['input']!r}, output {about['output']!r}, {at_once} at once",
        f"embeddings {metadata['embedding_size']} wide{scaled}, compared by {metadata['metric']} distance",
    ]


def checkpoint_lines(metadata: dict) -> list[str]:
    """Returns what was found in a checkpoint."""
    about, (height, width) = metadata["checkpoint"], metadata["image_size"]
    return [
        f"{about['file']}, fingerprint {metadata['network_fingerprint']}",
        f"{about['backbone']} in {about['project']}'s layout, last stride {about['last_stride']}, {about['stem']}",
        f"pictures {height} x {width}, height x width; no file says it, nor the stride",
        f"embeddings {metadata['embedding_size']} wide ({about['feature']}), compared by {metadata['metric']} distance",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(describe, options.describe_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
