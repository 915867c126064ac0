"""Tests of what a cache keeps in memory: where it fits comfortably, within the limit of a container, bit by bit."""

import numpy as np
import pytest

from keras_reid.data import cache as module
from keras_reid.data.cache import ImageCache, free_memory, keeps_in_memory
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

CGROUP_2 = {
    "/sys/fs/cgroup/memory.max": "3000\n",
    "/sys/fs/cgroup/memory.current": "2500\n",
    "/sys/fs/cgroup/memory.stat": "anon 2200\ninactive_file 300\n",
}
CGROUP_1 = {
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9000\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "8500\n",
    "/sys/fs/cgroup/memory/memory.stat": "cache 100\ninactive_file 0\n",
}
MEMINFO = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:       4 kB\nSwapFree: 0 kB\n"}


@pytest.mark.parametrize(
    "files,expected",
    [
        ({}, None),
        (MEMINFO, 4096),
        ({**MEMINFO, **CGROUP_2}, 3000 - 2500 + 300),
        ({**MEMINFO, **CGROUP_1}, 500),
        ({**MEMINFO, **CGROUP_2, "/sys/fs/cgroup/memory.max": "max\n"}, 4096),
        ({**MEMINFO, **CGROUP_2, "/sys/fs/cgroup/memory.current": "9999\n"}, 0),
    ],
)
def test_free_memory_is_the_least_of_machine_and_container(monkeypatch, files, expected):
    monkeypatch.setattr(module, "_read", lambda path: files.get(path, ""))
    assert free_memory() == expected


def test_free_memory_of_this_machine():
    assert free_memory() > 10**8


@pytest.mark.parametrize("free,kept", [(2 * 7 * 4 * 2 * 3, True), (2 * 7 * 4 * 2 * 3 - 2, False), (None, False)])
def test_auto_keeps_what_fits_in_half_the_free_memory(monkeypatch, free, kept):
    """Seven images of 4 x 2 pixels, 3 bytes each."""
    monkeypatch.setattr(module, "free_memory", lambda: free)
    assert keeps_in_memory("auto", images=7, image_size=(4, 2)) is kept
    assert keeps_in_memory("memory", images=7, image_size=(4, 2)) is True
    assert keeps_in_memory("none", images=7, image_size=(4, 2)) is False


def test_another_word_is_refused():
    with pytest.raises(ReidError, match="^cache=disk, expected auto, memory, none"):
        keeps_in_memory("disk", images=1, image_size=(1, 1))


def test_what_was_stored_is_found():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
    cache = ImageCache(6, (5, 4))
    store, look_up = tf.function(cache.store), tf.function(cache.look_up)
    for indices in ([5, 0], [1, 2, 3, 1], [4]):
        stored, _ = store(images[indices], np.array(indices, np.int32))
        np.testing.assert_array_equal(stored, images[indices])
    found, indices = look_up(np.array([3, 3, 0, 5], np.int32))
    np.testing.assert_array_equal(found, images[[3, 3, 0, 5]])
    np.testing.assert_array_equal(indices, [3, 3, 0, 5])
