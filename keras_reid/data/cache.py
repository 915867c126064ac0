"""Image cache: decoded training images in memory, uint8 at the training size, where there is room for them."""

from __future__ import annotations

import re
from pathlib import Path

from keras_reid.choices import CACHES
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# The share of the free memory that images may take under cache="auto": the rest is for the network and the user.
COMFORTABLE_SHARE = 0.5
# Limit, use and statistics of the whole container, where there is one: control groups of version 2 and 1.
_V2, _V1 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/memory"
_CGROUP_FILES = (
    (f"{_V2}.max", f"{_V2}.current", f"{_V2}.stat"),
    (f"{_V1}.limit_in_bytes", f"{_V1}.usage_in_bytes", f"{_V1}.stat"),
)


def free_memory() -> int | None:
    """Returns the bytes that this process could still take, within its container's limit; None where unknown."""
    free = _of_machine("MemAvailable")
    for limit, used, stat in (tuple(map(_read, files)) for files in _CGROUP_FILES):
        if limit.strip().isdigit() and used.strip().isdigit():
            # The page cache counts as used, but gives way to whoever needs memory.
            reclaimable = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
            free.append(max(0, int(limit) - int(used) + int(reclaimable[1] if reclaimable else 0)))
    return min(free) if free else None


def memory_limit() -> int | None:
    """Returns the bytes of memory that this machine, or this process's container, has; None where unknown."""
    limits = _of_machine("MemTotal")
    limits += [int(limit) for limit in (_read(files[0]).strip() for files in _CGROUP_FILES) if limit.isdigit()]
    return min(limits) if limits else None


def keeps_in_memory(cache: str, *, images: int, image_size: tuple[int, int]) -> bool:
    """Returns whether to keep images of a size (height, width): "auto" does where half the free memory holds them.

    Raises:
        ReidError: the cache is unknown.
    """
    if cache not in CACHES:
        raise ReidError(f"cache={cache}, expected {', '.join(CACHES)}.")
    if cache != "auto":
        return cache == "memory"
    free = free_memory()
    return free is not None and images * image_size[0] * image_size[1] * 3 <= COMFORTABLE_SHARE * free


class ImageCache:
    """Images of one size in memory, written and read by index inside a pipeline, by many threads at once.

    An image must be stored before it is looked up. Memory is taken page by page, as images are stored.
    """

    def __init__(self, images: int, image_size: tuple[int, int]):
        # On a GPU they would take the network's memory. Not initialized: zeros would cost as much as the images.
        with tf.device("CPU:0"):
            self._images = tf.Variable(
                tf.raw_ops.Empty(shape=[images, *image_size, 3], dtype=tf.uint8, init=False), trainable=False
            )

    def store(self, images: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Keeps images, uint8 `[n, height, width, 3]`, under their indices `[n]`; returns both."""
        write = tf.raw_ops.ResourceScatterUpdate(resource=self._images.handle, indices=indices, updates=images)
        with tf.control_dependencies([write]):
            return tf.identity(images), indices

    def look_up(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the images of these indices `[n]`, uint8 `[n, height, width, 3]`, and the indices."""
        return tf.gather(self._images, indices), indices


def _of_machine(field: str) -> list[int]:
    """Returns the bytes of a field of /proc/meminfo, as a list; empty where there is no such field."""
    return [1024 * int(found) for found in re.findall(rf"{field}:\s+(\d+)", _read("/proc/meminfo"))]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
