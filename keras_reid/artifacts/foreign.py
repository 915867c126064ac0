"""Foreign networks: files of others as they are, with the inputs and outputs that they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from keras_reid.errors import ReidError


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        name: in the file.
        shape: None for a size that is left open; None as a whole where not even the number of axes is known.
        dtype: as NumPy names it, "float32" or "uint8".
        takes_real_values: whether real values are turned into its integers, by a scale that the file holds.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    takes_real_values: bool = False

    def __str__(self) -> str:
        """Returns it as a message shows it: 'images' float32 [N, 3, 256, 128]."""
        if self.shape is None:
            return f"{self.name!r} {self.dtype} [any shape]"
        sizes = ["?" if size is None else str(size) for size in self.shape]
        if sizes[:1] == ["?"]:
            sizes[0] = "N"
        return f"{self.name!r} {self.dtype} [{', '.join(sizes)}]"


@dataclasses.dataclass(frozen=True)
class ForeignNetwork:
    """A file of somebody else's.

    Attributes:
        inputs: what it takes.
        outputs: what it gives.
        run: the name of an input, its values as float32, and the name of an output -> its values.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    run: Callable[[str, np.ndarray, str], np.ndarray]


def port_named(ports: Sequence[Port], argument: str, name: str | None) -> Port:
    """Returns the port of a name, or the only one; ReidError names them all where that does not tell which."""
    shown = ", ".join(map(str, ports)) or "none"
    if name is None and len(ports) == 1:
        return ports[0]
    if name is None:
        raise ReidError(f"the file has {len(ports)} {argument[:-5]}s, set {argument} to one of: {shown}.")
    found = [port for port in ports if port.name == name]
    if not found:
        raise ReidError(f"{argument}={name} is none of the file's: expected one of: {shown}.")
    return found[0]


def as_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """Returns float32 values as an input takes them: integers are rounded, and kept within their range."""
    if not np.issubdtype(np.dtype(dtype), np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
