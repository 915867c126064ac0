"""python -m keras_reid COMMAND ..., or keras-reid COMMAND ...: every command of the package under one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from keras_reid.interrupts import end_at_once

COMMANDS = {
    "train": "trains an embedder, evaluates it, exports it, scores the exports",
    "evaluate": "scores a run, an artifact or saved embeddings",
    "export": "ships a trained run in the formats named, and scores what it shipped",
    "embed": "turns images into embeddings",
    "compare": "tells the distance of two photos, and whether they show the same person",
    "visualize": "draws ranked lists, attention and the map of embeddings",
    "describe": "makes an artifact of somebody else's ONNX, TFLite or SavedModel network",
    "doctor": "checks a dataset before anyone trains on it",
    "prepare": "unpacks and checks a downloaded dataset",
    "launch": "trains with several workers on this machine",
    "reproduce": "scores a run's artifact again and compares",
    "gallery": "enrolls people, lists, exports and forgets them",
    "tracks": "embeds people whom a tracker followed through recordings",
    "search": "finds who in a gallery looks most like a person",
}


def entry_point(command: str) -> ModuleType:
    """Returns the module of a command: of that name or, where that is a package, its `__main__`."""
    module = importlib.import_module(f"keras_reid.{command}")
    return importlib.import_module(f"{module.__name__}.__main__") if hasattr(module, "__path__") else module


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names, with the arguments behind it.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        The command's exit code; 0 for the list of commands, 1 for an unknown command.
    """
    name, *arguments = (sys.argv if argv is None else argv)[1:] or ["--help"]
    if name in COMMANDS:
        if argv is None:
            end_at_once()
        return entry_point(name).main([f"keras-reid {name}", *arguments])
    if name not in ("--help", "-h", "-help", "help"):
        print(f"error: no command {name!r}, expected one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 1
    print("keras-reid COMMAND --flag=value ...   (the same as python -m keras_reid.COMMAND)\n")
    for command, does in COMMANDS.items():
        print(f"  {command:<10} {does}")
    print("\nkeras-reid COMMAND --help lists the flags of a command.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
