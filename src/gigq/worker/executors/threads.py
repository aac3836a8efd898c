"""The threads executor: calls run inside the caller's process, from one shared queue.

A thread cannot be killed. One that runs past its job's timeout is asked to stop by an exception and abandoned: its
slot gets a new thread, and what it still returns is dropped. Coroutines run on one loop, while a thread waits for each.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any

from gigq import shield
from gigq.status import End
from gigq.worker.calls import Call
from gigq.worker.coroutines import Coroutines, enter_family
from gigq.worker.notes import Note, Notes
from gigq.worker.runner import Ended, Runner

AHEAD = 1536
"""Calls that may wait, at most [m: beside a spinning thread a fifth more than with 1024]."""


class Threads:
    """N threads that run calls; see Executor."""

    isolates = False

    def __init__(
        self,
        slots: int,
        runner: Runner[Call],
        notes: Notes[Call],
        wake: Callable[[], None],
        tell_stopping: Callable[[], None],
    ) -> None:
        """Args:
        slots: calls at once.
        runner: runs them.
        notes: what they say meanwhile.
        wake: called when something ended while the loop was asleep; see :meth:`sleeping`.
        tell_stopping: lets those that look know that the worker is about to end.
        """
        self._runner = runner
        self._notes = notes
        self._wake = wake
        self.tell_stopping = tell_stopping
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._finished: deque[Call] = deque()
        self._late: deque[Call] = deque()
        self._guard = threading.Lock()
        self._running: dict[int, Call] = {}
        self._asleep = False
        self._slots = slots
        self._started = 0
        self._coroutines: Coroutines | None = None
        self.abandoned = 0
        """Threads that went on past their job's timeout and have not ended yet."""
        self.gave_up = False
        """Whether threads go on with runs that were given back at the end of the grace."""

    def is_ready(self) -> bool:
        return True

    def dispatch(self, calls: list[Call]) -> None:
        """Queue calls, in order; threads are started as they are needed."""
        for call in calls:
            self._calls.put(call)
        while self._started < self._slots and self._started < len(self._running) + self._calls.qsize():
            self._start_thread()

    def collect(self) -> list[Call]:
        finished = self._finished
        return [finished.popleft() for _ in range(len(finished))]

    def collect_late(self) -> list[Call]:
        return [self._late.popleft() for _ in range(len(self._late))]

    def notes(self) -> list[tuple[Call, Note]]:
        return self._notes.take() if self._notes else []

    def sleeping(self, asleep: bool) -> bool:
        self._asleep = asleep
        return not (self._finished or self._late)

    def running(self) -> list[Call]:
        with self._guard:
            return list(self._running.values())

    def waiting(self) -> int:
        return self._calls.qsize()

    def give_back(self) -> list[Call]:
        taken = []
        try:
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    taken.append(call)
        except Empty:
            return taken

    def stop(self, call: Call, why: End) -> bool:
        """A call that was cancelled is asked, and waited for; one past its timeout is given up."""
        with self._guard:
            ident = next((ident for ident, running in self._running.items() if running is call), None)
            if ident is None or call.finished:
                return False
            call.asked = why
            give_up = why != "cancelled"
            if give_up:
                call.abandoned = True
                del self._running[ident]
                self.abandoned += 1
            if give_up or not call.looks:  # one that looks sees it, and may end in its own way
                self._ask(ident, call)
        if give_up:
            self._start_thread()
        return give_up

    def _ask(self, ident: int, call: Call) -> None:
        cancel = call.cancel
        if cancel is None:
            shield.ask_to_stop(ident)
        else:
            with contextlib.suppress(RuntimeError):  # its loop has just ended
                cancel()

    def end_now(self) -> None:
        now = time.monotonic_ns()
        for call in self.running():
            if self.stop(call, "stopped"):
                self.gave_up = True
                self._finished.append(call.ends("stopped", now, "stopped by the end of its worker"))

    def next_check(self) -> float:
        return math.inf

    def close(self) -> None:
        """Let the threads end after what they are running."""
        for _ in range(self._started):
            self._calls.put(None)
        if self._coroutines is not None:
            self._coroutines.close()

    def _start_thread(self) -> None:
        self._started += 1
        threading.Thread(target=self._serve, name=f"gigq-job-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        ident = threading.get_ident()
        shield.register()
        while (call := self._calls.get()) is not None:
            ended = self._run(ident, call)
            if not self._deliver(ident, call, ended):
                self._end_abandoned(call)
                break
            shield.release()
        shield.unregister()

    def _run(self, ident: int, call: Call) -> Ended:
        """Run a call; from its end on this thread is not asked to stop any more."""
        ended = None
        try:
            self._running[ident] = call
            ended = self._runner.run(call, self._wait)
            shield.hold()
        except shield.Asked:  # when the job itself was just over, or had not begun
            shield.hold()
        return ended or Ended("raised", time.monotonic_ns())

    def _wait(self, coroutine: Coroutine[Any, Any, Any], call: Call) -> Any:
        """Have a coroutine run on the common loop, in this job's context; this thread waits."""
        with self._guard:
            if self._coroutines is None:
                self._coroutines = Coroutines()
        context = copy_context()
        enter_family(context)

        def started(cancel: Callable[[], object]) -> None:
            call.cancel = cancel

        try:
            return self._coroutines.run(coroutine, context, started)
        finally:
            call.cancel = None

    def _deliver(self, ident: int, call: Call, ended: Ended) -> bool:
        """Hand a call over that has ended; False if the call was abandoned, so that this thread is to end."""
        with self._guard:
            call.finished = True
            if call.abandoned:
                return False
            del self._running[ident]
            call.backs_off = ended.backs_off
            self._finished.append(call.ends(ended.end, ended.ended, ended.error, ended.result, ended.delay))
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
