"""python -m keras_reid.launch --workers=2 -- --flagfile=market.flags: one training run by several workers on this host.

The flags after -- are those of keras_reid.train. The first worker, the chief, prints what train prints; lines of the
others begin with their names. A worker that fails ends all.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from keras_reid import command, options
from keras_reid.errors import ReidError
from keras_reid.interrupts import Interrupted

_COMMAND = (sys.executable, "-m", "keras_reid.train")
_GRACE = 30  # seconds for workers to notice that one is gone, and to end by themselves
_SAVING = 120  # seconds for workers to finish a step and save it after a signal; another signal ends all at once


def launch(flags: command.Flags) -> None:
    if not flags.arguments:
        raise ReidError("no flags of train: give them after --, as in --workers=2 -- --flagfile=market.flags.")
    with started(flags.workers, flags.arguments) as workers:
        try:
            wait_for_all(workers)
        except Interrupted as interrupt:
            pass_on(workers, interrupt.exit_code - 128)
            raise


@contextlib.contextmanager
def started(count: int, arguments: Sequence[str]) -> Iterator[list[subprocess.Popen]]:
    """Yields the workers' processes, the chief first; none of them outlives the block or this process."""
    shares, places = gpus_of_workers(count), free_places(count)
    workers = []
    try:
        for rank in range(count):
            task = {"cluster": {"worker": places}, "task": {"type": "worker", "index": rank}}
            output = {} if rank == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            process = subprocess.Popen(
                [*_COMMAND, *arguments],
                env={**os.environ, "TF_CONFIG": json.dumps(task), **shares[rank]},
                start_new_session=True,  # a terminal's Ctrl-C comes here alone, and is passed on once
                preexec_fn=_end_with_parent(os.getpid()),
                errors="replace" if rank else None,
                **output,
            )
            workers.append(process)
        for rank, process in enumerate(workers[1:], start=1):
            threading.Thread(target=_repeat, args=(process, f"worker {rank}: "), daemon=True).start()
        yield workers
    finally:
        for process in workers:
            if process.poll() is None:
                process.kill()
            process.wait()


def free_places(count: int) -> list[str]:
    """Returns "127.0.0.1:port" for that many ports that are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def gpus_of_workers(count: int) -> list[dict[str, str]]:
    """Returns for each worker the environment variable with its share of the GPUs; none where there are no GPUs."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError):
            listed = ""
        named = ",".join(map(str, range(sum(line.startswith("GPU ") for line in listed.splitlines()))))
    gpus = [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    if not gpus:
        return [{}] * count
    if len(gpus) < count:
        raise ReidError(f"--workers={count}, but there are {len(gpus)} GPUs: give at most as many.")
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[rank::count])} for rank in range(count)]


def wait_for_all(workers: Sequence[subprocess.Popen]) -> None:
    """Waits until all workers have ended; ReidError where one failed, after some seconds for the others to end."""
    while not any(codes := [process.poll() for process in workers]):
        if None not in codes:
            return
        time.sleep(0.1)
    _wait(workers, _GRACE)
    failed, code = next((rank, code) for rank, code in enumerate(codes) if code)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    why = "" if code < 0 else ": see its own message above"
    raise ReidError(
        f"worker {failed} of {len(workers)} {how}{why}. The others were ended, too; the same command goes on from the "
        "last checkpoint."
    )


def pass_on(workers: Sequence[subprocess.Popen], signal_number: int) -> None:
    """Tells all workers to stop, and gives them the time to save."""
    for process in workers:
        if process.poll() is None:
            process.send_signal(signal_number)
    _wait(workers, _SAVING)


def _wait(workers: Sequence[subprocess.Popen], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(process.poll() is None for process in workers) and time.monotonic() < end:
        time.sleep(0.1)


def _repeat(process: subprocess.Popen, prefix: str) -> None:
    for line in process.stdout:
        sys.stderr.write(f"{prefix}{line.rstrip()}\n")  # at once: several threads write
        sys.stderr.flush()


def _end_with_parent(parent: int):
    """Returns a function for a child process that makes it die with this one, however it ends; None outside Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1

    def in_child() -> None:
        prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this line
            os._exit(1)

    return in_child


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(launch, options.launch_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
