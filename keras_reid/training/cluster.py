"""Cluster: the worker processes of a run by TF_CONFIG, how they meet, and the error when one is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from keras_reid.errors import ReidError

_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
# Parts of TensorFlow's errors on the other workers when one has gone; their classes differ.
_SIGNS = (
    "Collective ops is aborted",
    "Socket closed",
    "failed to connect",
    "Connection re",  # refused, reset
    "heartbeat",
    "Barrier failed",
    "Deadline Exceeded",
    "coordination service",
)
# Its input ends with the block that it watches, or with the whole process.
_WATCH = """
import os, select, signal, sys
process, seconds, line = sys.argv[1:]
if not select.select([0], [], [], float(seconds))[0]:
    print(line, file=sys.stderr)
    os.kill(int(process), signal.SIGKILL)
"""


class Cluster(NamedTuple):
    """The workers of a run, and which of them this process is."""

    workers: tuple[str, ...] = ("",)  # "host:port" of each, the chief first
    rank: int = 0  # this one's place among them

    @property
    def is_chief(self) -> bool:
        return self.rank == 0

    @property
    def on_this_host(self) -> int:
        """How many of the workers share this one's host, and its memory."""
        hosts = [worker.rsplit(":", 1)[0] for worker in self.workers]
        return hosts.count(hosts[self.rank])

    @contextlib.contextmanager
    def one_voice(self) -> Iterator[None]:
        """Keeps from the screen what other workers than the chief print; errors stay."""
        if self.is_chief:
            yield
            return
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield

    @contextlib.contextmanager
    def missing_named(self) -> Iterator[None]:
        """Turns TensorFlow's error about a worker that is gone into one line."""
        try:
            yield
        except Exception as error:
            if len(self.workers) == 1 or not _is_of_tensorflow(error) or not any(sign in str(error) for sign in _SIGNS):
                raise
            others = ", ".join(f"{rank} ({place})" for rank, place in enumerate(self.workers) if rank != self.rank)
            raise ReidError(
                f"worker {self.rank} cannot reach another one any more, of {others}: it was stopped, or has failed and "
                "said why itself. Start all again by the same command: the run goes on from its last checkpoint."
            ) from error

    def meet(self, seconds: float = 300) -> None:
        """Waits until all workers have come to the chief's port; TensorFlow would wait for an hour, deaf to signals.

        Raises:
            ReidError: one has not come after so many seconds.
        """
        end = time.monotonic() + seconds
        if self.is_chief and len(self.workers) > 1:
            self._wait_for_others(end)
        elif not self.is_chief:
            self._listen().close()  # with a port in use TensorFlow would fail, and the chief wait without end
            while not self._report_to_chief(end):
                if time.monotonic() > end:
                    place = self.workers[0]
                    raise ReidError(f"the chief, {place}, did not come. Are host and port right in TF_CONFIG?")
                time.sleep(0.2)

    @contextlib.contextmanager
    def start_watched(self, seconds: float = 300) -> Iterator[None]:
        """Ends this process by SIGKILL, with a line, when the block takes longer.

        TensorFlow may wait there for an hour for a worker that died since they met, and lets no Python run meanwhile.
        """
        line = (
            f"error: worker {self.rank} waited {seconds:.0f} s for another one, which must have ended since they met. "
            "Start all again by the same command."
        )
        command = [sys.executable, "-I", "-S", "-c", _WATCH, str(os.getpid()), str(seconds), line]
        with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
            yield

    def _wait_for_others(self, end: float) -> None:
        missing, connections = set(range(1, len(self.workers))), []
        try:
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(self._listen())
                while missing:
                    server.settimeout(max(0.0, end - time.monotonic()) or 1e-3)
                    connections.append(stack.enter_context(server.accept()[0]))
                    connections[-1].settimeout(5)
                    with contextlib.suppress(OSError):  # something else that came to this port
                        missing -= {int.from_bytes(connections[-1].recv(4), "big")}
                for connection in connections:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"go")
        except socket.timeout as error:
            names = ", ".join(f"{rank} ({self.workers[rank]})" for rank in sorted(missing))
            raise ReidError(
                f"of {len(self.workers)} workers these did not come: {names}. Start all of them."
            ) from error

    def _listen(self) -> socket.socket:
        port = int(self.workers[self.rank].rpartition(":")[2])
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", port))
        except OSError as error:
            raise ReidError(
                f"port {port} of TF_CONFIG cannot be used ({error}): give worker {self.rank} another one."
            ) from error

    def _report_to_chief(self, end: float) -> bool:
        host, _, port = self.workers[0].rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
                connection.sendall(self.rank.to_bytes(4, "big"))
                connection.settimeout(max(1.0, end - time.monotonic()))
                return connection.recv(2) == b"go"
        except OSError:
            return False


def read_cluster(strategy: str, environment: Mapping[str, str] | None = None) -> Cluster:
    """Returns the workers that TF_CONFIG names; this process alone where it is not set. Needs no TensorFlow.

    Args:
        strategy: one of `choices.STRATEGIES`.
        environment: `os.environ` by default.

    Raises:
        ReidError: TF_CONFIG is missing for multi_worker, has another form than expected, or contradicts the strategy.
    """
    text = (os.environ if environment is None else environment).get("TF_CONFIG", "").strip()
    if not text and strategy == "multi_worker":
        raise ReidError(
            f"strategy=multi_worker, but TF_CONFIG is not set: expected {_EXAMPLE} in the environment of the first "
            "worker, the next index in the next one's. On one host python -m keras_reid.launch sets it."
        )
    cluster = _parsed(text) if text else Cluster()
    if len(cluster.workers) > 1 and strategy in ("one", "mirrored"):
        raise ReidError(
            f"strategy={strategy}, but TF_CONFIG names {len(cluster.workers)} workers: each would make the same run. "
            "Take strategy=auto, or unset TF_CONFIG."
        )
    return cluster


def _parsed(text: str) -> Cluster:
    try:
        found = json.loads(text)
        jobs, task = found.get("cluster") or {}, found.get("task") or {}
        unknown = sorted(jobs.keys() - {"chief", "worker"})
        if unknown:
            raise ValueError(f"a job {unknown[0]!r} in it, which training has no use for")
        if not jobs:  # as TensorFlow reads it: nobody else
            return Cluster()
        chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
        if not isinstance(chiefs, list) or not isinstance(workers, list):
            raise ValueError("workers that are no list")
        if not all(map(_is_place, chiefs + workers)):
            raise ValueError("a worker that is no host:port, with a port from 1 to 65535")
        if len(set(chiefs + workers)) < len(chiefs + workers) or len(chiefs) > 1:
            raise ValueError("a worker twice, or two chiefs")
        kind, index = task["type"], int(task["index"])
        if not 0 <= index < len(jobs[kind]):
            raise ValueError(f"a task {index} of {len(jobs[kind])}")
        return Cluster((*chiefs, *workers), index + (len(chiefs) if kind == "worker" else 0))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ReidError(f"TF_CONFIG is not as expected ({reason}): {text[:200]!r}. Expected {_EXAMPLE}.") from error


def _is_place(place) -> bool:
    host, _, port = place.rpartition(":") if isinstance(place, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port[:6]) < 65536


def _is_of_tensorflow(error: Exception) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, (tensorflow.errors.OpError, RuntimeError))
