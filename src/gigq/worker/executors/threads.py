"""The threads executor: calls run inside the caller's process, from one shared queue.

A thread cannot be killed. One that runs past its job's timeout is asked to stop by an exception and abandoned: its
slot gets a new thread, and what it still returns is dropped.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from gigq import shield
from gigq.worker.calls import Call, Outcome


class Threads:
    """N threads that run calls; no database here."""

    def __init__(self, slots: int, run: Callable[[Call], Outcome], wake: Callable[[], None]) -> None:
        """Args:
        slots: calls at once.
        run: runs one and never raises.
        wake: called when something finished while the loop was asleep; see :meth:`sleeping`.
        """
        self._run = run
        self._wake = wake
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._finished: deque[Outcome] = deque()
        self._late: deque[Call] = deque()
        self._guard = threading.Lock()
        self._running: dict[int, Call] = {}
        self._asleep = False
        self._slots = slots
        self._started = 0
        self.abandoned = 0
        """Threads that went on past their job's timeout and have not ended yet."""

    def dispatch(self, calls: list[Call]) -> None:
        """Queue calls, in order; threads are started as they are needed."""
        for call in calls:
            self._calls.put(call)
        while self._started < self._slots and self._started < len(self._running) + self._calls.qsize():
            self._start_thread()

    def collect(self) -> list[Outcome]:
        """What has finished since the last call."""
        finished = self._finished
        return [finished.popleft() for _ in range(len(finished))]

    def collect_late(self) -> list[Call]:
        """Abandoned calls whose threads have ended."""
        return [self._late.popleft() for _ in range(len(self._late))]

    def sleeping(self, asleep: bool) -> bool:
        """Say whether the loop is about to sleep; False if there is no need to, since something has finished."""
        self._asleep = asleep
        return not (self._finished or self._late)

    def running(self) -> list[Call]:
        """Calls under way."""
        with self._guard:
            return list(self._running.values())

    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return self._calls.qsize()

    def give_back(self) -> list[Call]:
        """Take back every call that has not started."""
        taken = []
        try:
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    taken.append(call)
        except Empty:
            return taken

    def abandon(self, call: Call) -> bool:
        """Give up on a call under way; False if it has just finished after all."""
        with self._guard:
            ident = next((ident for ident, running in self._running.items() if running is call), None)
            if ident is None or call.finished:
                return False
            call.abandoned = True
            del self._running[ident]
            self.abandoned += 1
            cancel = call.cancel
            if cancel is None:
                shield.ask_to_stop(ident)
            else:
                with contextlib.suppress(RuntimeError):  # its loop has just ended
                    cancel()
        self._start_thread()
        return True

    def close(self) -> None:
        """Let the threads end after what they are running."""
        for _ in range(self._started):
            self._calls.put(None)

    def _start_thread(self) -> None:
        self._started += 1
        threading.Thread(target=self._serve, name=f"gigq-job-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        ident = threading.get_ident()
        shield.register()
        call: Call | None = None
        try:
            while (call := self._calls.get()) is not None:
                self._running[ident] = call
                if not self._deliver(ident, call, self._run(call)):
                    return
        except shield.Asked:
            pass  # asked to stop when the job itself was just over
        finally:
            shield.unregister()
            if call is not None and call.abandoned:
                self._end_abandoned(call)

    def _deliver(self, ident: int, call: Call, outcome: Outcome) -> bool:
        """Hand an outcome over; False if the call was abandoned, so that this thread is to end."""
        with self._guard:
            call.finished = True
            if call.abandoned:
                return False
            del self._running[ident]
            self._finished.append(outcome)
        if self._asleep:
            self._wake()
        return True

    def _end_abandoned(self, call: Call) -> None:
        with self._guard:
            self.abandoned -= 1
            self._started -= 1
            self._late.append(call)
        if self._asleep:
            self._wake()
