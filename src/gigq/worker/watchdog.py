"""A thread beside a job that runs in its caller's: ends the wait at its timeout, and looks after it until then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from gigq.errors import GigQError

_EVERY = 0.05
"""Seconds between two looks after a job that takes long."""


class Watchdog:
    """Around a job: ``give_up`` is called at its timeout, ``look`` now and then before and after."""

    def __init__(self, timeout: float | None, give_up: Callable[[], None], look: Callable[[], None]) -> None:
        """Args:
        timeout: seconds; None for no limit.
        give_up: called once, if the job is still running by then.
        look: called every 50 ms while it runs.
        """
        self._until = None if timeout is None else time.monotonic() + timeout
        self._give_up = give_up
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gigq-watchdog", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()  # one that gives up is just writing the end of the run

    def _watch(self) -> None:
        try:
            while not self._over.wait(self._seconds()):
                if self._until is not None and time.monotonic() >= self._until:
                    self._until = None
                    self._give_up()
                else:
                    with contextlib.suppress(GigQError):  # the next look, or the end of the run, tries again
                        self._look()
        finally:
            from gigq.store.connections import close_connections

            close_connections()

    def _seconds(self) -> float:
        if self._until is None:
            return _EVERY
        return min(_EVERY, max(0.0, self._until - time.monotonic()))
