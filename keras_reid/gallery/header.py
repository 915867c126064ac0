"""Header of a gallery: which network's embeddings it holds, how they are compared, from where on it is one person."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from keras_reid.artifacts.metadata import CALIBRATED
from keras_reid.choices import METRICS
from keras_reid.errors import ReidError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Header:
    """What holds for all entries of a gallery.

    Attributes:
        metric: "euclidean" or "cosine".
        embedding_size: D.
        network_fingerprint: of the network; None where it is not known.
        test_time_augmentation: of which images were embedded, as in `Artifact.embed`.
        calibration: the threshold and how it was calibrated, as in `reid.json`; empty before that.
        keep_days: after that many days an entry is forgotten; None keeps it.
        unfinished_forget: whether a forget was interrupted, so that removed entries may still be on the disk.
        recall: of approximate search on a sample, since its index was built; None without an index.
    """

    metric: str
    embedding_size: int
    network_fingerprint: str | None = None
    test_time_augmentation: str = "none"
    calibration: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep_days: float | None = None
    unfinished_forget: bool = False
    recall: float | None = None

    @property
    def threshold(self) -> float | None:
        return self.calibration.get("threshold")

    def as_text(self) -> str:
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)})


def read_header(text: str, name: str) -> Header:
    """Returns a header from its text; ReidError where it is damaged or of a later version."""
    try:
        content = json.loads(text)
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise ReidError(f"{name} has format {version}, this version reads {FORMAT_VERSION}: update keras_reid.")
        return Header(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ReidError):
            raise
        raise ReidError(f"{name} is damaged: its header cannot be read ({error}). Bring back a copy.") from error


def calibration_of(metadata: Mapping[str, Any], test_time_augmentation: str) -> dict[str, Any]:
    """Returns what an artifact's metadata say of its threshold; nothing where there is none, or for other distances."""
    if metadata.get("threshold") is None or (metadata.get("threshold_views") or "none") != test_time_augmentation:
        return {}
    return {name: metadata[name] for name in CALIBRATED if name in metadata}


def check_header(
    header: Header,
    name: str,
    *,
    metric: str | None = None,
    embedding_size: int | None = None,
    network_fingerprint: str | None = None,
    test_time_augmentation: str | None = None,
) -> None:
    """Raises ReidError where embeddings or a network do not belong in the gallery; None is not known, and passes."""
    known = header.network_fingerprint, network_fingerprint
    if all(known) and len(set(known)) > 1:
        raise ReidError(
            f"{name} holds embeddings of another network ({known[0][:12]}, not {known[1][:12]}): no distance between "
            "them means anything. Use the network that made it, or fill a new one from the same pictures: "
            "python -m keras_reid.gallery reembed."
        )
    if embedding_size is not None and embedding_size != header.embedding_size:
        raise ReidError(
            f"{name} holds embeddings of width {header.embedding_size}, these are {embedding_size} wide: use the "
            "network that made it, or python -m keras_reid.gallery reembed."
        )
    if metric is not None and metric != header.metric:
        raise ReidError(
            f"{name} is compared by {header.metric}, these embeddings by {metric}: expected the same metric."
        )
    held = header.test_time_augmentation
    if test_time_augmentation not in (None, held):
        raise ReidError(
            f"{name} was embedded with test_time_augmentation={held}, not {test_time_augmentation}: leave that out, or "
            "fill a new one from the same pictures: python -m keras_reid.gallery reembed."
        )


def check_metric(metric: str | None) -> None:
    if metric is not None and metric not in METRICS:
        raise ReidError(f"metric={metric!r} is unknown: expected one of {', '.join(METRICS)}.")


def check_keep_days(keep_days: float | None) -> None:
    if keep_days is not None and not 0 < keep_days < 1e6:
        raise ReidError(f"keep_days={keep_days}: expected a number of days above 0, or none to keep entries.")
