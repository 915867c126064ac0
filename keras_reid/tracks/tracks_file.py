"""Tracks file: a row for each track of a camera, with its pooled embedding and its crops, as Parquet.

| column | is |
|---|---|
| camera, track | text; together they name one track |
| source | path of its video or folder of pictures |
| start, end | float64, seconds since 1970 of its first and last box; from 0 on where no clock is known |
| first_frame, last_frame | int64, from 0 |
| boxes | int64, how many |
| box | list of 4 float64, the first box: left, top, width, height in pixels |
| path | list of float64: time, x, y of the foot point, at most once a second and at both ends |
| spread | float32, mean distance of its crops' embeddings from the pooled one |
| crops | list of text, paths relative to the file, in the order of time |
| quality | list of float32, of each crop, 0 to 1 |
| embedding | fixed-size list of float32 |

The schema's metadata hold the metric, the network's fingerprint, and the threshold with its false positive rate.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid import __version__
from keras_reid.artifacts.embeddings_parquet import import_pyarrow
from keras_reid.choices import METRICS
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all

FILE_NAME = "tracks.parquet"
_KINDS = {  # column -> the name of its type in pyarrow, of a list's elements where it ends in []
    "camera": "string",
    "track": "string",
    "source": "string",
    "start": "float64",
    "end": "float64",
    "first_frame": "int64",
    "last_frame": "int64",
    "boxes": "int64",
    "box": "float64[]",
    "path": "float64[]",
    "spread": "float32",
    "crops": "string[]",
    "quality": "float32[]",
}
COLUMNS = tuple(_KINDS)
FIRST_CLOCK = 1e8  # in 1973: less are seconds since the start of a recording; none is three years long


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Tracks of one or many cameras, embedded by one network.

    Attributes:
        frame: T rows of the columns above but the embedding; sorted by camera and start.
        embeddings: float32 `[T, D]`.
        metric: "euclidean" or "cosine", by which they are compared.
        network_fingerprint: of the network that made them; None where it is not known.
        threshold: the largest distance that counts as the same person; None before the artifact was calibrated.
        false_positive_rate: of that threshold; None where it is not known.
    """

    frame: pd.DataFrame
    embeddings: np.ndarray
    metric: str = "euclidean"
    network_fingerprint: str | None = None
    threshold: float | None = None
    false_positive_rate: float | None = None

    @property
    def has_clock(self) -> pd.Series:
        """Whether the times of a track are those of the day; otherwise they count from the start of its recording."""
        return self.frame.start >= FIRST_CLOCK

    def __len__(self) -> int:
        return len(self.frame)


def write_tracks(path: str | os.PathLike, tracks: Tracks) -> None:
    """Writes tracks as Parquet, whole or not at all; `read_tracks` returns them.

    Raises:
        ReidError: a column is missing, another number of embeddings than rows, or pyarrow is missing.
    """
    pyarrow = import_pyarrow(path)
    embeddings = np.ascontiguousarray(tracks.embeddings, np.float32)
    missing = [name for name in COLUMNS if name not in tracks.frame]
    if missing or embeddings.ndim != 2 or len(embeddings) != len(tracks.frame):
        raise ReidError(
            f"tracks have {len(tracks.frame)} rows, embeddings {list(embeddings.shape)} and no "
            f"{', '.join(missing) or 'gap'}: expected the columns {', '.join(COLUMNS)} and an embedding for each row."
        )
    columns = {name: pyarrow.array(list(tracks.frame[name]), _type(pyarrow, kind)) for name, kind in _KINDS.items()}
    numbers = pyarrow.array(embeddings.ravel())
    columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(numbers, embeddings.shape[1])
    about = {name: getattr(tracks, name) for name in ("metric", "network_fingerprint", *_NUMBERS)}
    about = {name: str(value) for name, value in about.items() if value is not None} | {"keras_reid": __version__}
    table = pyarrow.table(columns).replace_schema_metadata(about)
    with whole_or_not_at_all(path) as temporary, open(temporary, "wb") as file:
        pyarrow.parquet.write_table(table, file)


_NUMBERS = ("threshold", "false_positive_rate")


def read_tracks(path: str | os.PathLike) -> Tracks:
    """Reads what `write_tracks` wrote.

    Args:
        path: the file, or the folder that `python -m keras_reid.tracks` wrote it into.

    Raises:
        ReidError: there is none, it is damaged or holds something else, or pyarrow is missing.
    """
    path = Path(path, FILE_NAME) if os.path.isdir(path) else Path(path)
    if not path.is_file():
        raise ReidError(f"no tracks at {str(path)!r}: python -m keras_reid.tracks writes them.")
    pyarrow = import_pyarrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ReidError(f"{str(path)!r} cannot be read as Parquet ({error}): make the tracks again.") from error
    about = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    missing = [name for name in (*COLUMNS, "embedding") if name not in table.column_names]
    if missing or about.get("metric") not in METRICS:
        raise ReidError(f"{str(path)!r} is no file of tracks: it has no {(missing or ['metric'])[0]}.")
    kind = table.schema.field("embedding").type
    numbers = [chunk.flatten().to_numpy() for chunk in table["embedding"].chunks]
    embeddings = np.concatenate(numbers or [np.zeros(0, np.float32)]).reshape(-1, kind.list_size)
    frame = pd.DataFrame({name: _column(table[name]) for name in COLUMNS})
    numbers = {name: float(about[name]) for name in _NUMBERS if name in about}
    return Tracks(frame, embeddings, about["metric"], about.get("network_fingerprint"), **numbers)


def _type(pyarrow, kind: str):
    element = pyarrow.type_for_alias(kind.removesuffix("[]"))
    return pyarrow.list_(element) if kind.endswith("[]") else element


def _column(column) -> pd.Series:
    """Returns a column; text and lists as Python's own."""
    values = column.to_pylist()
    is_number = str(column.type) in ("float64", "double", "float32", "float", "int64")
    return pd.Series(column.to_numpy() if is_number else values, dtype=None if is_number else object)
