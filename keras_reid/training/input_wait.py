"""Waiting for input: how long each step waits for its batch, which Keras fetches unseen by callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from keras_reid.keras2 import tf


class TimedIterator:
    """An iterator of batches, also a distributed one, that tells how many seconds each batch took to arrive."""

    def __init__(self, iterator, tell: Callable[[float], None]):
        self._iterator, self._tell = iterator, tell

    def __next__(self):
        tell = self._tell
        # Python's clock: tf.timestamp refuses to run under op determinism.
        began = tf.numpy_function(_now, [], tf.float64)
        with tf.control_dependencies([began]):
            batch = next(self._iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            # No method: TensorFlow would hold it, with this iterator and the whole graph, at its class.
            tf.numpy_function(lambda began: tell(float(_now() - began)), [began], [])
        return batch


def _now() -> np.float64:
    return np.float64(time.perf_counter())  # run eagerly, TensorFlow would make a Python number float32


def with_timed_batches(train_function: Callable, tell: Callable[[float], None]) -> Callable:
    """Returns a training function, as of `keras.Model.make_train_function`, that tells the seconds of each batch."""
    python_function = getattr(train_function, "python_function", None)
    if python_function is None:
        return lambda iterator: train_function(TimedIterator(iterator, tell))
    # Keras's function must be converted for its loop over `steps_per_execution`; called from this one, it is not.
    converted = tf.autograph.to_graph(python_function)
    return tf.function(lambda iterator: converted(TimedIterator(iterator, tell)), reduce_retracing=True)
