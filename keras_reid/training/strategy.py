"""Strategy of a run: the devices and workers that train, their parts of a batch, and what they do together."""

from __future__ import annotations

import atexit
import contextlib
import gc
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.training.cluster import Cluster

_ROWS = 4096  # added up at once: TensorFlow holds what travels between workers several times


class Team:
    """The replicas of a run: devices of this process, and other workers with theirs.

    Args:
        strategy: of tf.distribute; None for one device.
        cluster: the workers.

    Attributes:
        rank: the place of this worker among all.
        size: number of workers.
        on_this_host: number of workers on this machine.
        devices: names of this worker's devices.
        replicas: number of devices of all workers together.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None, cluster: Cluster | None = None):
        cluster = cluster or Cluster()
        self._strategy = strategy
        self.rank, self.size, self.on_this_host = cluster.rank, len(cluster.workers), cluster.on_this_host
        self.replicas = 1 if strategy is None else strategy.num_replicas_in_sync
        self.devices = () if strategy is None else tuple(strategy.extended.worker_devices)

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.rank == 0

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which network and optimizer are made."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def parts(self, identities_per_batch: int, *, least: int = 1) -> list[tuple[int, int]] | None:
        """Returns first and last + 1 of the identities in each batch that each of this worker's replicas gets.

        Parts are as equal as whole identities allow; None where there is one replica.

        Args:
            identities_per_batch: P.
            least: identities that a replica needs.

        Raises:
            ReidError: there are too few.
        """
        if self.replicas == 1:
            return None
        if identities_per_batch < least * self.replicas:
            raise ReidError(
                f"identities_per_batch={identities_per_batch} for {self.replicas} replicas, expected at least "
                f"{least * self.replicas}: each gets whole identities{', two to mine among them' * (least > 1)}."
            )
        borders = [identities_per_batch * replica // self.replicas for replica in range(self.replicas + 1)]
        own = self.replicas // self.size
        parts = list(zip(borders, borders[1:]))
        return parts[self.rank * own : (self.rank + 1) * own]

    def distribute(self, dataset: tf.data.Dataset):
        """Returns this worker's batches as `fit` takes them, one after the other for each of its replicas."""
        if self.replicas == 1:
            return dataset
        # Endless: otherwise each step first asks all replicas whether they have a batch. `fit` counts the steps.
        return self._strategy.distribute_datasets_from_function(lambda _: dataset.repeat())

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over the workers, on each; all must call it at once. Zeros change nothing, bit by bit."""
        if self.size == 1:
            return values
        return np.concatenate([self._sum(values[start : start + _ROWS]) for start in range(0, len(values), _ROWS)])

    def _sum(self, values: np.ndarray) -> np.ndarray:
        first = self.rank * (self.replicas // self.size)  # one of a worker's replicas speaks for it

        def of(context) -> tf.Tensor:
            return tf.constant(values if context.replica_id_in_sync_group == first else np.zeros_like(values))

        shares = self._strategy.experimental_distribute_values_from_function(of)
        return np.asarray(self._strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None))

    def chiefs(self, value: float) -> float:
        """Returns the chief's value on each worker; all must call it at once."""
        return self.sum(np.float32([value if self.is_chief else 0.0]))[0]

    def agreed(self, value: int, what: str) -> int:
        """Returns a value that all workers have, ReidError where they differ; all must call it at once."""
        values = self._of_all(value)
        if len(set(values)) > 1:
            raise ReidError(
                f"the workers have {what} {', '.join(map(str, values))}: run_dir must be one folder that all share."
            )
        return value

    def any_signal(self, pending: int | None) -> int | None:
        """Returns the highest signal that a worker was sent; all must call it at once."""
        return int(self._of_all(pending or 0).max()) or None

    def _of_all(self, value: int) -> np.ndarray:
        """Returns the values of all workers, by rank."""
        return self.sum(np.int32([value if rank == self.rank else 0 for rank in range(self.size)]))

    def wait(self) -> None:
        """Waits until all workers are here, without a limit."""
        self.sum(np.float32([0]))


def outside_scope(function: Callable, *arguments):
    """Calls a function outside the strategy's scope, in which `fit` calls callbacks and which is that of a thread.

    In the scope all workers make each variable at once, and each `keras.Model` has some: the chief, which alone writes
    models, would wait for the others without end.
    """
    if not tf.distribute.has_strategy():
        return function(*arguments)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()


def build_team(strategy: str, *, cluster: Cluster, replicas: int = 0) -> Team:
    """Returns the replicas that `strategy` stands for. Call it before TensorFlow computes anything.

    Args:
        strategy: "one", "mirrored" (each GPU of this machine), "multi_worker" (each GPU, or the CPU, of each worker),
            or "auto": multi_worker where there are several workers, mirrored where there are several GPUs, else one.
        cluster: of `read_cluster`.
        replicas: of "mirrored": number of GPUs, or without a GPU of logical CPU devices; 0 is each GPU.

    Raises:
        ReidError: there are fewer GPUs than replicas, or none and no number.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    if strategy == "auto":
        several = replicas > 1 or (gpus > 1 and replicas != 1)
        strategy = "multi_worker" if len(cluster.workers) > 1 else "mirrored" if several else "one"
    if replicas and strategy != "mirrored" and not (strategy == "one" and replicas == 1):
        raise ReidError(f"replicas={replicas} is for strategy=mirrored, not for {strategy}: leave it out.")
    if strategy == "one":
        return Team()
    atexit.register(gc.collect)  # a thread pool of TensorFlow's that only ends with the interpreter leaves a traceback
    if strategy == "multi_worker":
        cluster.meet()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with cluster.start_watched():
            team = Team(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)  # TensorFlow takes SIGTERM for itself
    else:
        team = Team(tf.distribute.MirroredStrategy(_mirrored_devices(gpus, replicas)))
    print(f"{team.replicas} replicas, {team.size} worker{'s' * (team.size > 1)}; the learning rate is not scaled")
    return team


def _mirrored_devices(gpus: int, replicas: int) -> list[str]:
    if gpus:
        if replicas > gpus:
            raise ReidError(f"replicas={replicas}, but there are {gpus} GPUs: give at most as many.")
        return [f"GPU:{place}" for place in range(replicas or gpus)]
    if not replicas:
        raise ReidError("strategy=mirrored, but there is no GPU: take one, or replicas=2 for two parts of the CPU.")
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError as error:  # TensorFlow has computed something already
        if len(tf.config.list_logical_devices("CPU")) < replicas:
            raise ReidError(f"replicas={replicas} needs a process of its own: {error}.") from error
    return [f"CPU:{place}" for place in range(replicas)]
