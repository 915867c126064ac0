"""Decides how a run stops when it is told to: Ctrl-C and SIGTERM raise `Interrupted`, after the step in progress."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. Python delivers a signal between two operations, so never inside a training step."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number  # 130 and 143, as shells report it


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` in the block on SIGINT and SIGTERM, and puts the handlers back after it."""

    def interrupt(signal_number, _frame):
        raise Interrupted(signal_number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
