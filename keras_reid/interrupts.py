"""Interrupts: Ctrl-C and SIGTERM stop a command by raising `Interrupted`, but never inside a training step.

The first signal is answered by a line at once, whatever TensorFlow computes meanwhile. The second ends the process at
once. What is written then stays half written under a temporary name (`keras_reid.files`), as after SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_SIGNAL = 0.1  # seconds: `timeout` sends its signal twice, to the process and to its group; no hand is as fast
_ANSWER = "finishing this step; again to stop now"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number  # 130 and 143, as shells report it


class _Hold:
    """Whether a signal has to wait, the one that waits, and whether one was raised. One for the process, as signals."""

    active = False
    pending = None
    raised = False  # what that makes the command do, such as saving, is ended by another signal alone


def hold() -> None:
    """Makes signals wait until `release`: what runs now must be counted before anything is saved."""
    _Hold.active = True


def release() -> None:
    """Ends `hold`; raises `Interrupted` when a signal came meanwhile."""
    _Hold.active, pending, _Hold.pending = False, _Hold.pending, None
    if pending is not None:
        _Hold.raised = True
        raise Interrupted(pending)


def pending() -> int | None:
    """Returns the signal that waits."""
    return _Hold.pending


def raise_together(signal_number: int | None) -> None:
    """Raises `Interrupted` for a signal that all workers know of; `hold` goes on when there is none."""
    if signal_number is not None:
        _Hold.pending = signal_number
        release()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` in the block on SIGINT and SIGTERM, and puts the handlers back after it.

    A second signal ends the process, with exit code 130 or 143.
    """
    answered = threading.Event()

    def interrupt(signal_number, _frame):
        answered.wait(1)  # before anything that this makes the command say
        if not _Hold.raised:
            _Hold.pending = signal_number
            if not _Hold.active:
                release()

    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    with _answering(answered):
        before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
        try:
            yield
        finally:
            _Hold.active, _Hold.pending, _Hold.raised = False, None, False
            for number, handler in before.items():
                signal.signal(number, handler)


def end_at_once() -> None:
    """Lets Ctrl-C end this process, which is a command, without a traceback: before it begins, and after its end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def _answering(answered: threading.Event) -> Iterator[None]:
    """Answers signals in a thread of its own: Python's handlers have to wait until TensorFlow returns."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(reader, answered), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def _answer(reader: socket.socket, answered: threading.Event) -> None:
    last = None
    while received := reader.recv(1):
        if received[0] not in _SIGNALS:
            continue
        now = time.monotonic()
        if last is None:
            _say(_ANSWER)
            answered.set()
        elif now - last > _ONE_SIGNAL:
            _say("stopped.")
            os._exit(128 + received[0])
        last = now


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more
        # A terminal shows ^C, and perhaps a line of progress, where the cursor stands.
        sys.stderr.write(f"\n{line}\n" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()
