"""Commands: how one finds its flagfile, parses its flags, and ends with one line and an exit code on bad input.

Each command has a `FlagValues` of its own: nothing is added to the global `absl.flags.FLAGS` of a host program, and an
entry point may be imported as often as one likes.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import flags

from keras_reid.errors import ReidError
from keras_reid.interrupts import interruptible

_PACKAGE = Path(__file__).resolve().parent
# The flags that may be given several times. Where they are given again they replace those of a flagfile.
REPEATED_FLAGS = ("dataset", "data_dir", "archive")


class Flags(flags.FlagValues):
    """Flags of one command, whose `--flagfile` is looked up as given and then in `configs/`.

    Attributes:
        takes_arguments: whether the command takes anything but flags.
        renamed: old name of a flag -> its name today; the old one is accepted, with a notice on stderr.
        arguments: what stood on the command line besides flags, in order.
    """

    def __init__(self, *, takes_arguments: bool = False, renamed: Mapping[str, str] | None = None):
        super().__init__()
        # Past absl's own way of setting attributes, which knows flags alone.
        self.__dict__.update(takes_arguments=takes_arguments, renamed=dict(renamed or {}), arguments=[])

    def _get_flag_file_lines(self, filename, parsed_file_stack=None):
        path = find_flagfile(filename)
        try:
            lines = super()._get_flag_file_lines(str(path), parsed_file_stack)
        except UnicodeDecodeError as error:
            raise ReidError(f"{str(path)!r} is no flagfile: expected text, a --name=value on each line.") from error
        lines = [_FromFile(line) for line in _latest(lines)]
        for line in lines:
            line.file = path
        return lines

    def read_flags_from_files(self, argv, force_gnu=True):
        return self._by_todays_names(_latest(super().read_flags_from_files(argv, force_gnu)))

    def _by_todays_names(self, arguments: Sequence[str]) -> list[str]:
        """Returns the arguments with today's names of renamed flags; those behind `--` are another command's."""
        end = arguments.index("--") if "--" in arguments else len(arguments)
        old_name, noticed, result = re.compile(r"--?(\w+)(?==|$)"), set(), []
        for argument in arguments[:end]:
            old = (found := old_name.match(argument)) and found[1]
            if old in self.renamed:
                argument = f"--{self.renamed[old]}{argument[found.end() :]}"
                if old not in noticed:
                    print(f"notice: --{old} is now called --{self.renamed[old]}.", file=sys.stderr)
                noticed.add(old)
            result.append(argument)
        return [*result, *arguments[end:]]


class _FromFile(str):
    """A line of a flagfile, which what is given beside the flagfile replaces, or in a later one.

    Attributes:
        file: the flagfile.
    """


def _latest(lines: Sequence[str]) -> list[str]:
    """Returns arguments without those of a flagfile that are given again: absl would add repeated flags to them."""
    kept = list(lines)
    for name in REPEATED_FLAGS:
        given = [line for line in kept if re.match(f"--?{name}(=|$)", line)]
        files = [getattr(line, "file", None) for line in given]
        latest = None if None in files else files[-1:] and files[-1]
        replaced = {id(line) for line, file in zip(given, files) if file != latest}
        kept = [line for line in kept if id(line) not in replaced]
    return kept


def find_flagfile(name: str) -> Path:
    """Returns the flagfile of that name: as given, or in `configs/` of the installed package or of the checkout.

    Raises:
        ReidError: there is none; names those that ship.
    """
    installed, checkout = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    # Beside an installed package `configs` could be anybody's.
    folders = [installed] if installed.is_dir() else [checkout] if (_PACKAGE.parent / "setup.py").exists() else []
    for path in (Path(name), *(folder / name for folder in folders)):
        if path.is_file():
            return path
    shipped = sorted(path.name for folder in folders for path in folder.glob("*.flags"))
    raise ReidError(f"no flagfile {name!r}, neither as given nor among those that ship: {', '.join(shipped)}.")


def name_flags(text: str, values: Flags) -> str:
    """Returns a message of the library, which names arguments, with the flags of the command in their place.

    `margin=2` becomes `--margin=2`, and a word with an underscore such as `data_dir` becomes `--data_dir`, where the
    command has a flag of that name. What stands in quotes, or in a path, is left as it is.
    """
    names = sorted(values)
    before = r"(?<![\w/.\-'\"`])"
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


def check_writable(name: str, path: str | None) -> None:
    """Raises ReidError when a flag's file could not be written: a folder, or in a place that is not there."""
    folder = os.path.dirname(os.path.abspath(path or ""))
    if path and os.path.isdir(path):
        raise ReidError(f"--{name}={path} is a folder, expected the name of a file.")
    if not path:
        return
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
    """Parses the flags and runs a command.

    Args:
        main: takes the parsed flags.
        values: the command's flags.
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        The exit code: 0, 1 for bad input with one line on stderr, 130 or 143 when interrupted.
    """
    # Set before TensorFlow is first imported, and only if the user has no wish: its start-up messages would bury ours,
    # and on a CPU without AVX512-VNNI a training step is 4.5 times faster by oneDNN's kernels.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    argv = list(sys.argv if argv is None else argv)
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
    try:
        positional = values(argv)[1:]
    except ReidError:
        raise
    except ValueError as error:  # of absl, for --noflag=value
        raise ReidError(str(error)) from error
    values.arguments[:] = positional
    if positional and not values.takes_arguments:
        raise ReidError(f"{positional[0]!r} is no flag: flags are written --name=value, --help lists them.")


def _message(error: Exception, values: Flags) -> str | None:
    """Returns what to tell about an error that the user or the machine caused; None for a bug.

    TensorFlow and HDF5 have no exception of their own for a full disk or memory: their texts tell.
    """
    text = str(error)
    if any(sign in text for sign in ("No space left", "File too large", "Disk quota", "errno = 28", "errno = 27")):
        advice = "the disk is full: free some space and give the same command again; train and embed go on from there"
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
            default, text = values[name].default, name_flags(values[name].help, values)
            lines.append(f"  --{name} [{'not set' if default is None else default}]\n      {text}")
    return "\n".join(lines)
