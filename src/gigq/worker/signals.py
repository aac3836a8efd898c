"""SIGINT and SIGTERM while a worker runs on the main thread; nothing else in the library touches signals."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call ``stop`` with 1 at the first signal, 2 at the second, ...; the old handlers come back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    times = 0

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        told = 0
        while told != times:  # a second one may come while the first is told, and must have the last word
            told = times
            stop(told)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
