"""Commands: how one runs with its flags, and ends with one line and an exit code on bad input."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from keras_reid.errors import ReidError
from keras_reid.flag_values import Flags
from keras_reid.interrupts import interruptible


def name_flags(text: str, values: Flags) -> str:
    """Returns a message of the library, which names arguments, with the flags of the command in their place.

    `margin=2` becomes `--margin=2`, and a word with an underscore such as `data_dir` becomes `--data_dir`, where the
    command has a flag of that name. What stands in quotes, or in a path, is left as it is.
    """
    names = sorted(values)
    before = r"(?<![\w/.,=\-'\"`])"  # `head` in `layer_learning_rates=stem=2,head=3` is no flag
    with_value = f"{before}(?:{'|'.join(names)})(?==)"
    word = f"{before}(?:{'|'.join(name for name in names if '_' in name) or '(?!)'})(?![\\w/=`-]|\\.\\w)"
    quoted = r"(?<!\w)'[^']*'(?!\w)|(?<!\w)\"[^\"]*\"(?!\w)"  # an apostrophe follows a letter and opens nothing
    return re.sub(f"{quoted}|({with_value}|{word})", lambda found: f"--{found[1]}" if found[1] else found[0], text)


def required(values: Flags, *names: str) -> None:
    """Raises ReidError naming the first of the flags that has no value."""
    for name in names:
        value = values[name].value
        if not value or (isinstance(value, list) and not all(value)):
            raise ReidError(f"--{name} is not set: {values[name].help}")


def check_rate(name: str, rate: float | None) -> None:
    """Raises ReidError when a flag's rate is 0 or 1, or beyond."""
    if rate is not None and not 0 < rate < 1:
        raise ReidError(f"--{name}={rate}, expected a rate between 0 and 1, such as 1e-3.")


def check_writable(name: str, path: str | None) -> None:
    """Raises ReidError when a flag's file could not be written: a folder, or in a place that is not there."""
    if not path:
        return
    if os.path.isdir(path):
        raise ReidError(f"--{name}={path} is a folder, expected the name of a file.")
    folder = os.path.dirname(os.path.abspath(path))
    try:  # Who may write is not always what the permissions say.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReidError(f"--{name}={path} cannot be written: no folder {folder!r}, or no permission there.") from error


def check_folder(name: str, path: str | None) -> None:
    """Raises ReidError when a flag's folder could not be made or written to."""
    if not path:
        return
    try:
        there = next(folder for folder in (Path(path), *Path(path).absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ReidError(f"--{name}={path} cannot be written ({error}): expected a folder.") from error


def given(values: Flags, *names: str) -> dict:
    """Returns the values of some flags by name."""
    return {name: values[name].value for name in names}


def run_command(main: Callable[[Flags], None], values: Flags, argv: Sequence[str] | None = None) -> int:
    """Parses the flags, of `sys.argv` by default, and runs a command with them.

    Returns:
        The exit code: 0, 1 for bad input with one line on stderr, 130 or 143 when interrupted.
    """
    # Set before TensorFlow is first imported, and only if the user has no wish: its start-up messages would bury ours,
    # and on a CPU without AVX512-VNNI a training step is 4.5 times faster by oneDNN's kernels.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    argv = list(sys.argv if argv is None else argv)
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal's encoding does not have
    flags.DEFINE_boolean("help", False, "Show the flags.", short_name="h", flag_values=values)
    try:
        with interruptible():
            _parse(values, argv)
            if values["help"].value:
                print(_usage(main, values))
            else:
                main(values)
            return 0
    except KeyboardInterrupt as interrupt:
        print("interrupted.", file=sys.stderr)
        return getattr(interrupt, "exit_code", 130)
    except Exception as error:
        message = _message(error, values)
        if message is None:
            raise
        # A value with line breaks must not make the message more than one line.
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
        return 1


def _parse(values: Flags, argv: Sequence[str]) -> None:
    for argument in argv:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise ReidError(f"{argument!r} is not in UTF-8. Rename the file or folder.")
    try:
        positional = values(argv)[1:]
    except ValueError as error:  # of absl too, for --noflag=value
        raise ReidError(str(error)) from error
    values.arguments[:] = positional
    if not values.takes_arguments:
        refuse_arguments(values)


def refuse_arguments(values: Flags) -> None:
    """Raises ReidError for words on the command line that are no flags."""
    if values.arguments:
        raise ReidError(f"{values.arguments[0]!r} is no flag: flags are written --name=value, --help lists them.")


def _message(error: Exception, values: Flags) -> str | None:
    """Returns what to tell about an error that the user or the machine caused; None for a bug.

    TensorFlow and HDF5 have no exception of their own for a full disk or memory: their texts tell.
    """
    text = str(error)
    if any(sign in text for sign in ("No space left", "File too large", "Disk quota", "errno = 28", "errno = 27")):
        advice = "the disk is full: free some space and give the same command again; long work goes on from there"
        return f"{advice} ({text[:200]})"
    if "OOM when allocating" in text or "failed to allocate memory" in text:
        return "memory is full: lower --identities_per_batch, --image_height and --image_width, or --batch_size"
    if isinstance(error, ReidError):
        return name_flags(text, values)
    return text if isinstance(error, (flags.Error, OSError)) else None


def _usage(main: Callable, values: Flags) -> str:
    text = main.__globals__["__doc__"].strip()
    module = re.match(r"python -m keras_reid\.(\w+)", text)
    also = f"keras-reid {module[1]} and python -m keras_reid.{module[1]} are the same command.\n" if module else ""
    lines = [text, "", f"{also}Flags (--flagfile=FILE reads them from a file):"]
    for name in sorted(values):
        if name != "h":
            text = name_flags(values[name].help, values)
            lines.append(f"  --{name} [{_shown(values[name].default)}]\n      {text}")
    return "\n".join(lines)


def _shown(default) -> str:
    if isinstance(default, (list, tuple, dict)):
        return ",".join(map(str, default))
    return "not set" if default is None else str(default)
