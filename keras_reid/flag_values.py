"""Flags of one command: their kinds, their flagfiles, and the old names that are still accepted.

Each command has a `Flags` of its own: nothing is added to the global `absl.flags.FLAGS` of a host program, and an entry
point may be imported as often as one likes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import flags

from keras_reid.errors import ReidError

_LARGEST = 2**31 - 1  # of an integer that has no limit of its own: TensorFlow's and NumPy's take no more
_PACKAGE = Path(__file__).resolve().parent


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

    def string(self, name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=self)

    def boolean(self, name: str, default: bool, text: str) -> None:
        flags.DEFINE_boolean(name, default, text, flag_values=self)

    def integer(
        self, name: str, default: int | None, text: str, least: int | None = None, most: int | None = None
    ) -> None:
        flags.DEFINE_integer(name, default, text, least, _LARGEST if most is None else most, flag_values=self)

    def number(self, name: str, default: float | None, text: str, *bounds: float | None) -> None:
        flags.DEFINE_float(name, default, text, *bounds, flag_values=self)

    def choice(self, name: str, default: str | None, choices: Sequence[str], text: str) -> None:
        flags.DEFINE_enum(name, default, list(choices), text, flag_values=self)

    def repeated(
        self, name: str, default: Sequence[str], text: str, parser: flags.ArgumentParser | None = None
    ) -> None:
        """Defines a flag that may be given several times; its value is a list."""
        parser = parser or flags.ArgumentParser()
        flags.DEFINE_multi(parser, flags.ArgumentSerializer(), name, list(default), text, flag_values=self)

    def by_commas(self, name: str, default: Sequence | Mapping, text: str, read: Callable[[str], object]) -> None:
        """Defines a flag whose text holds several values, which `read` turns into a list or a dict."""
        flags.DEFINE(_ByCommas(read), name, default, text, flag_values=self)

    def _get_flag_file_lines(self, filename, parsed_file_stack=None):
        path = find_flagfile(filename)
        try:
            lines = super()._get_flag_file_lines(str(path), parsed_file_stack)
        except UnicodeDecodeError as error:
            raise ReidError(f"{str(path)!r} is no flagfile: expected text, a --name=value on each line.") from error
        lines = [_FromFile(line) for line in self._latest(lines)]
        for line in lines:
            line.file = path
        return lines

    def read_flags_from_files(self, argv, force_gnu=True):
        arguments = super().read_flags_from_files(argv, force_gnu)
        for argument in arguments:
            if "\0" in argument:
                raise ReidError(f"{argument!r} holds a NUL character, expected text without.")
        return self._latest(self._by_todays_names(arguments))

    def _latest(self, lines: Sequence[str]) -> list[str]:
        """Returns arguments without those of a flagfile that are given again: absl would add repeated flags to them."""
        kept = list(lines)
        for name in (name for name in self if isinstance(self[name], flags.MultiFlag)):
            given = [line for line in kept if re.match(f"--?{name}(=|$)", line)]
            files = [getattr(line, "file", None) for line in given]
            latest = None if None in files else files[-1:] and files[-1]
            replaced = {id(line) for line, file in zip(given, files) if file != latest}
            kept = [line for line in kept if id(line) not in replaced]
        return kept

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
    """A line of the flagfile `file`; the same flag on the command line, or in a later flagfile, replaces it."""


class _ByCommas(flags.ArgumentParser):
    def __init__(self, read: Callable[[str], object]):
        self._read = read

    def parse(self, argument):
        return self._read(argument) if isinstance(argument, str) else argument


def names(text: str) -> list[str]:
    """Returns ["a", "b"] from "a,b"."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers_of(text: str) -> list[float]:
    """Returns [1.5, 2.0] from "1.5,2"; ValueError for what are no numbers."""
    return [float(part) for part in names(text)]


def find_flagfile(name: str) -> Path:
    """Returns the flagfile of that name: as given, or in `configs/` of the installed package or of the checkout."""
    installed, checkout = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    # Beside an installed package `configs` could be anybody's.
    folders = [installed] if installed.is_dir() else [checkout] if (_PACKAGE.parent / "setup.py").exists() else []
    for path in (Path(name), *(folder / name for folder in folders)):
        if path.is_file():
            return path
    shipped = sorted(path.name for folder in folders for path in folder.glob("*.flags"))
    raise ReidError(f"no flagfile {name!r}, neither as given nor among those that ship: {', '.join(shipped)}.")
