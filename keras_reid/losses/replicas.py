"""Batches that tf.distribute splits: the rows of all replicas, and the rows of this one."""

from __future__ import annotations

from keras_reid.keras2 import tf


def replica_context() -> tf.distribute.ReplicaContext | None:
    """Returns the context by which replicas communicate; None with a single replica."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def all_rows(values: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Returns the rows of all replicas in their order, integers as int64; gradients go back to the row's replica."""
    if values.dtype.is_integer:
        values = tf.cast(values, tf.int64)  # collectives know few integer types
    return context.all_gather(values, axis=0)


def own_rows(rows: tf.Tensor, size: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Returns the rows of this replica, `size` of those of all replicas."""
    sizes = context.all_gather(tf.reshape(size, [1]), axis=0)
    start = tf.reduce_sum(sizes[: context.replica_id_in_sync_group])
    return rows[start : start + size]


def sum_over_replicas(value: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Returns the sum of a number over the replicas, without a gradient."""
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(value))
