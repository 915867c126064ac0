"""Photos that a user names one by one: whether each can be read, before TensorFlow is loaded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from PIL import Image

from keras_reid.data.places import is_remote
from keras_reid.errors import ReidError


def refuse_unreadable(paths: Sequence[str]) -> None:
    """Raises ReidError that names the photos which are missing or damaged; remote ones are left to TensorFlow."""
    found = [(path, what) for path in paths if not is_remote(path) and (what := _what_is_wrong(path))]
    if found:
        raise ReidError(f"{'; '.join(f'{path!r} {what}' for path, what in found)}: expected photos.")


def _what_is_wrong(path: str) -> str:
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "is a folder"
    if not os.path.getsize(path):
        return "is empty"
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # what is odd but readable
            image.load()
    except Image.DecompressionBombError:  # large, which is no fault
        return ""
    except (OSError, SyntaxError, ValueError) as error:
        known = not isinstance(error, Image.UnidentifiedImageError)
        return f"is damaged ({error})" if known else "is no image, or is damaged"
    return ""
