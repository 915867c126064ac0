"""Checks of what is rendered: numbers in their range, and a new folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all


def check_number(name: str, value: int, lowest: int, highest: int, reason: str) -> None:
    """Raises ReidError, naming the argument, for what is no whole number in a range."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ReidError(
            f"`{name}` must be a whole number from {lowest} to {highest} ({reason}), got {value!r}. "
            f"Choose {name} in that range."
        )


@contextlib.contextmanager
def new_folder(root: str | os.PathLike, what: str) -> Iterator[Path]:
    """Yields a folder to write to, which takes the place of `root` when the block ends without error.

    Args:
        root: the folder; it may exist if it is empty.
        what: it will hold, "dataset" or "video", for errors.

    Raises:
        ReidError: `root` is not empty, or cannot be written.
    """
    root = Path(root).resolve()
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ReidError(
                f"The synthetic {what} needs a new or empty folder, but {root} is not empty. "
                f"Nothing was changed: use the {what} that is there, remove it, or choose another folder."
            )
        with whole_or_not_at_all(root) as folder:
            folder.mkdir()
            yield folder
            if root.is_dir():
                root.rmdir()  # a rename replaces an empty folder on POSIX alone
    except OSError as error:
        raise ReidError(
            f"The synthetic {what} could not be written to {root}: {error}. "
            "Nothing was left behind: free some space, or choose a folder that can be written and nothing else fills."
        ) from error
