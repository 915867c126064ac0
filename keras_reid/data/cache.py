"""Image cache: decoded training images in memory, uint8 at the training size, where there is room for them."""

from __future__ import annotations

from pathlib import Path

from keras_reid.choices import CACHES
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

# The share of the free memory that images may take under cache="auto": the rest is for the network and the user.
COMFORTABLE_SHARE = 0.5
# Limit and use of the whole container, where there is one: control groups of version 2 and 1.
_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def free_memory() -> int | None:
    """Returns the bytes that this process could still take, within its container's limit; None where unknown."""
    free = []
    meminfo = _read("/proc/meminfo")
    if "MemAvailable:" in meminfo:
        free.append(int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024)
    for limit, used, stat in (tuple(map(_read, files)) for files in _CGROUP_FILES):
        if limit.strip().isdigit() and used.strip().isdigit():
            # The page cache counts as used, but gives way to whoever needs memory.
            fields = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
            reclaimable = int(fields.get("inactive_file", 0))
            free.append(max(0, int(limit) - int(used) + reclaimable))
    return min(free) if free else None


def memory_limit() -> int | None:
    """Returns the bytes of memory that this machine, or this process's container, has; None where unknown."""
    meminfo = _read("/proc/meminfo")
    limits = [int(meminfo.split("MemTotal:")[1].split()[0]) * 1024] if "MemTotal:" in meminfo else []
    limits += [int(limit) for limit in (_read(files[0]).strip() for files in _CGROUP_FILES) if limit.isdigit()]
    return min(limits) if limits else None


def keeps_in_memory(cache: str, *, images: int, image_size: tuple[int, int]) -> bool:
    """Returns whether to keep this many images: "auto" does so where half the free memory holds them.

    Args:
        cache: "auto", "memory" or "none".
        images: their number.
        image_size: (height, width).

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


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
