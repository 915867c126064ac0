"""Interrupts: Ctrl-C and SIGTERM stop a command by raising `Interrupted`, but never inside a training step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number  # 130 and 143, as shells report it


class _Hold:
    """Whether a signal has to wait, and the one that waits. One for the process, as signals are."""

    active = False
    pending = None


def hold() -> None:
    """Makes signals wait until `release`: what runs now must be counted before anything is saved."""
    _Hold.active = True


def release() -> None:
    """Ends `hold`; raises `Interrupted` when a signal came meanwhile."""
    _Hold.active, pending, _Hold.pending = False, _Hold.pending, None
    if pending is not None:
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
    """Raises `Interrupted` in the block on SIGINT and SIGTERM, and puts the handlers back after it."""

    def interrupt(signal_number, _frame):
        if _Hold.active:
            _Hold.pending = signal_number
        else:
            raise Interrupted(signal_number)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _Hold.active, _Hold.pending = False, None
        for number, handler in before.items():
            signal.signal(number, handler)
