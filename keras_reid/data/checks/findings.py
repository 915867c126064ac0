"""Findings: problems of a dataset, how grave they are, whom they concern, what to do, and which come first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Union

from keras_reid.data.ids import told_apart
from keras_reid.errors import ReidError

# error: training or evaluation cannot work. warning: they work, but learn less, or score higher, than they should.
# note: harmless.
LEVELS = ("error", "warning", "note")
_EXIT_CODES = {"error": 3, "warning": 2}
_NAMES_IN_A_LINE, _NAMES_ON_SCREEN = 3, 5

Name = Union[str, tuple]  # a file or an identity; or, as a tuple, files that show the same, names that look alike


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem of a dataset.

    Attributes:
        kind: its name in JSON, such as "one_camera".
        level: one of `LEVELS`.
        message: what is wrong, with the numbers, as a sentence without its full stop.
        way_out: what to do, as a sentence.
        names: all files or identities concerned; empty where it is the dataset as a whole.
        share: how much it hurts, 0 to 1: the part of the images, identities or queries that are concerned.
    """

    kind: str
    level: str
    message: str
    way_out: str
    names: Sequence[Name] = ()
    share: float = 1.0

    def to_dict(self) -> dict:
        """Returns the finding for JSON, with all names."""
        return {**dataclasses.asdict(self), "count": len(self.names)}

    def to_line(self) -> str:
        """Returns the finding as one line, with its first names."""
        names = f": {join_names(self.names, _NAMES_IN_A_LINE)}" if self.names else ""
        return f"{self.message}{names}. {self.way_out}"


def rank(findings: Iterable[Finding]) -> list[Finding]:
    """Returns findings sorted for the reader: errors first, and within a level those that hurt most."""
    return sorted(findings, key=lambda finding: (LEVELS.index(finding.level), -finding.share, finding.kind))


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns 3 where there is an error, 2 where there is a warning, else 0."""
    return max((_EXIT_CODES.get(finding.level, 0) for finding in findings), default=0)


def findings_text(findings: Sequence[Finding], *, below: str = "") -> str:
    """Returns ranked findings as text for the screen, below a line that counts them by level.

    The names of files in the folder `below` are shortened by it.
    """
    if not findings:
        return "nothing is wrong with it"
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    lines = [", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())]
    for number, finding in enumerate(findings, 1):
        lines.append(f"{number}. {finding.level}: {finding.message}")
        if finding.names:
            lines.append(f"   {join_names(finding.names, _NAMES_ON_SCREEN, below)}")
        lines.append(f"   -> {finding.way_out}")
    return "\n".join(lines)


def warnings_or_refusal(findings: Iterable[Finding]) -> list[str]:
    """Returns a line for each warning.

    Raises:
        ReidError: there is an error; the message is the first one, and how many more there are.
    """
    findings = rank(findings)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: python -m keras_reid.doctor lists them.)" if len(errors) > 1 else ""
        raise ReidError(f"{errors[0].to_line()}{more}")
    return [f"warning: {finding.to_line()}" for finding in findings if finding.level == "warning"]


def join_names(names: Sequence[Name], most: int, below: str = "") -> str:
    """Returns the first names and the number of the others: "a, b, c and 9 more"; a tuple as "a = b"."""

    def short(name: str) -> str:
        return name[len(below) :].lstrip("/\\") if below and name.startswith(below) else name

    shown = [
        " = ".join(told_apart([*map(short, name)])) if isinstance(name, tuple) else short(name) for name in names[:most]
    ]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(shown)}{more}"
