"""Phases of a run: neighboring epochs with one image size, one last stride, erasing or none; and when terms begin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from keras_reid.errors import ReidError

_COST_OF_STRIDE_1 = 1.57  # multiplications of a ResNet-50 with last stride 1, those with 2 being 1
_COST_OF_WEIGHTS = 1500  # pixels: what an image costs besides them, between 830 and 2,600 on two CPUs, 64 in a batch
_PART = re.compile(r"(\d+)x(\d+)(?::(\d+))?")


class Phase(NamedTuple):
    """Epochs from `first` to before `end`, counted from 0."""

    first: int
    end: int
    image_size: tuple[int, int]
    erases: bool
    last_stride: int

    def __str__(self) -> str:
        """Returns the phase as a run announces it, its epochs counted from 1."""
        height, width = self.image_size
        more = ", erased" * self.erases + ", last stride 1" * (self.last_stride == 1)
        return f"epochs {self.first + 1} to {self.end}: images of {height}x{width}{more}"

    @property
    def cost(self) -> float:
        """About what a step costs, counted in the pixels of an image at last stride 2."""
        height, width = self.image_size
        return _COST_OF_WEIGHTS + height * width * (_COST_OF_STRIDE_1 if self.last_stride == 1 else 1)


def phases_of(
    *,
    epochs: int,
    image_size: tuple[int, int],
    image_size_schedule: str | None = None,
    random_erasing: float = 0.0,
    erasing_start: int = 0,
    last_stride: int = 2,
    last_stride_start: int = 0,
) -> list[Phase]:
    """Returns the phases of a run, one after the other from its first epoch to its last.

    Args:
        epochs: of the run.
        image_size: (height, width) of the network: that of the last phase.
        image_size_schedule: such as "64x32:24,96x48:40,128x64": height x width up to and with that epoch, counted from
            1; the last size stays to the end. None: all epochs have the network's size.
        random_erasing: probability; 0 is off.
        erasing_start: epochs before the first in which images are erased.
        last_stride: of the backbone's last stage.
        last_stride_start: epochs before the first with that stride; in them it is 2.

    Raises:
        ReidError: the schedule has another form, its epochs do not rise within the run, or it ends at another size.
    """
    sizes, ends = _read_schedule(image_size_schedule, epochs, image_size) if image_size_schedule else ([image_size], [])
    starts = {erasing_start if random_erasing else 0, last_stride_start}
    borders = sorted({0, *ends, *(start for start in starts if start < epochs)})
    return [
        Phase(
            first,
            end,
            image_size=sizes[sum(first >= last for last in ends)],
            erases=bool(random_erasing) and first >= erasing_start,
            last_stride=last_stride if first >= last_stride_start else 2,
        )
        for first, end in zip(borders, [*borders[1:], epochs])
    ]


def phase_at(phases: Sequence[Phase], epoch: float) -> Phase:
    """Returns the phase of an epoch, counted from 0, or of a moment in it; past the last one, that."""
    return next((phase for phase in phases if epoch < phase.end), phases[-1])


def steps_left(phases: Sequence[Phase], step: int, steps_per_epoch: int) -> float:
    """Returns how many steps like the one to come the rest of the run is worth, by the cost of each phase."""
    epochs = step / steps_per_epoch
    left = sum(max(0.0, phase.end - max(phase.first, epochs)) * phase.cost for phase in phases)
    return left / phase_at(phases, epochs).cost * steps_per_epoch


def check_starts(*, epochs: int, **starts: tuple[float, str, float]) -> None:
    """Raises ReidError for a term that begins after the run, or that begins although another setting turns it off.

    Args:
        epochs: of the run.
        **starts: name -> (epochs before it begins, what it needs, whether or by how much that is on).
    """
    for name, (start, needed, value) in starts.items():
        if start > epochs:
            raise ReidError(f"{name}={start:g}, expected at most epochs={epochs}.")
        if start and not value:
            raise ReidError(f"{name}={start:g} needs {needed}: give it, or leave out {name}.")


def _read_schedule(text: str, epochs: int, image_size: tuple[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Returns the sizes, and the epochs made when each but the last ends."""
    given, parts = f"image_size_schedule={text}", [_PART.fullmatch(part.strip()) for part in text.split(",")]
    if not all(parts) or any(part[3] is None for part in parts[:-1]) or parts[-1][3] is not None:
        raise ReidError(
            f"{given}, expected HEIGHTxWIDTH:EPOCH by commas, the last without an epoch, such as "
            "64x32:24,96x48:40,128x64."
        )
    sizes, ends = [(int(part[1]), int(part[2])) for part in parts], [int(part[3]) for part in parts[:-1]]
    if sorted({end for end in ends if 0 < end < epochs}) != ends:
        raise ReidError(f"{given}, expected epochs that rise, above 0 and below epochs={epochs}.")
    if sizes[-1] != image_size:
        height, width = image_size
        raise ReidError(
            f"{given} ends at another size than the network's, image_height={height} and image_width={width}: expected "
            "the same."
        )
    return sizes, ends
