"""python -m keras_reid.describe --artifact=FILE --normalize=... --metric=...: somebody else's network.

FILE is an .onnx or .tflite file, or the folder of a SavedModel, that this package did not write, such as an export of
torchreid or boxmot. FILE.reid.json beside it gets to say what the file does not: what the network takes for a picture.
From then on --artifact=FILE works wherever an artifact does. FILE stays as it is. With --output=FOLDER a copy of it and
the reid.json are written there, and --artifact=FOLDER is the artifact.

Whether the description is right shows in the scores: with another normalization or order of channels they are lower.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from keras_reid import command, options
from keras_reid.artifacts.places import locate_network
from keras_reid.describing_flags import describe_by_flags
from keras_reid.errors import ReidError


def describe(flags: command.Flags) -> None:
    command.required(flags, "artifact", "metric")
    if not Path(flags.artifact).is_file():
        locate_network(flags.artifact)
    if flags.output and Path(flags.output).exists():
        raise ReidError(f"--output={flags.output} exists already: give another name, or remove it.")
    command.check_folder("output", flags.output)
    artifact = describe_by_flags(flags, flags.output or None)
    for line in lines_of(artifact.metadata):
        print(line)
    print(
        f"written to {artifact.name}: python -m keras_reid.evaluate --artifact={flags.output or flags.artifact} "
        "--dataset=... --data_dir=... scores it"
    )


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


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(describe, options.describe_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
