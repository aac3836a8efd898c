"""The children of a worker: started, watched, replaced, seen off."""

from __future__ import annotations

import math
import selectors
import sys
import time

from gigq.errors import WorkerFailed
from gigq.worker import wire
from gigq.worker.executors.process import Process

_FAILED_STARTS = 3
"""Children that die one after the other before they are ready: more will not help."""
_START_AGAIN = 1_000_000_000
"""Nanoseconds until a child is started whose process could not be made."""
_FAREWELL = 2.0
"""Seconds that a child has to end in good order."""


class Nursery:
    """Keeps as many children as there were at first."""

    def __init__(self, count: int, setup: wire.Setup) -> None:
        """Raises WorkerFailed where they cannot be started."""
        self._setup = setup
        self._selector = selectors.DefaultSelector()
        self.children: list[Process] = []
        """Those that may have calls."""
        self._leaving: list[tuple[Process, int]] = []
        """Those that were replaced, and when they are ended by force (monotonic nanoseconds)."""
        self._failed_starts = 0
        self._missing = 0
        """Those that could not be started in the place of others, and will be."""
        self._start_at = 0
        try:
            for _ in range(count):
                self.children.append(self._start())
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Readable when a child has something to say, or dies."""
        number: int = self._selector.fileno()  # epoll's, or kqueue's
        return number

    def with_news(self) -> list[Process]:
        """Those that have something to say, have died, or take more of what is to be sent."""
        events = self._selector.select(0)
        told: dict[Process, None] = dict.fromkeys(key.data for key, _ in events)
        return [child for child in told if child in self.children]

    def look_after(self, now: int) -> None:
        """Close those that have left, and start those that are missing."""
        if self._leaving:
            self._see_off(now)
        if self._missing and now >= self._start_at:
            missing, self._missing = self._missing, 0
            for _ in range(missing):
                self._add()

    def next_check(self, now: int) -> float:
        """Nanoseconds until :meth:`look_after` has something to do."""
        left = min((by - now for _, by in self._leaving), default=math.inf)
        return min(left, self._start_at - now) if self._missing else left

    def is_ready(self, child: Process) -> None:
        """A child is set up."""
        child.is_ready = True
        self._failed_starts = 0

    def watch(self, child: Process) -> None:
        """Wake for room in its pipe only while there is something to be sent."""
        wants = child.wants_to_write()
        if wants == child.is_watched:
            return
        child.is_watched = wants
        if wants:
            self._selector.register(child.write_fd, selectors.EVENT_WRITE, child)
        else:
            self._selector.unregister(child.write_fd)

    def replace(self, child: Process) -> None:
        """Let one go that has done enough, and start another in its place."""
        self.forget(child)
        child.send(wire.Close())
        self._leaving.append((child, time.monotonic_ns() + int(_FAREWELL * 1e9)))
        self._add()

    def forget(self, child: Process) -> None:
        """It is not to have calls any more."""
        for fd in [*child.filenos(), *([child.write_fd] if child.is_watched else [])]:
            self._selector.unregister(fd)
        child.is_watched = False
        self.children.remove(child)

    def succeed(self, child: Process, reason: str) -> None:
        """Start one in the place of a child that has died.

        Raises:
            WorkerFailed: several in a row have died before they were ready.
        """
        if not child.is_ready and not child.is_forced:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise WorkerFailed(
                    f"{self._failed_starts} child processes in a row ended before they were ready "
                    f"({reason.replace(' while running', '')}). Their stderr says more; "
                    "executor='thread' works without children."
                )
        self._add()

    def close(self) -> None:
        for child in self.children:
            child.send(wire.Close())
        for child in [*self.children, *(left for left, _ in self._leaving)]:
            child.close(_FAREWELL)
        self.children.clear()
        self._leaving.clear()
        self._selector.close()

    def _add(self) -> None:
        """Start one in the place of another; if that fails now, again a little later."""
        try:
            self.children.append(self._start())
        except WorkerFailed as error:
            if not self._missing:
                print(f"gigq: {error}; trying again", file=sys.stderr, flush=True)
            self._missing += 1
            self._start_at = time.monotonic_ns() + _START_AGAIN

    def _start(self) -> Process:
        """Raises WorkerFailed."""
        try:
            child = Process(self._setup)
        except OSError as error:
            raise WorkerFailed(f"a child process cannot be started: {error}") from error
        for fd in child.filenos():
            self._selector.register(fd, selectors.EVENT_READ, child)
        self.watch(child)
        return child

    def _see_off(self, now: int) -> None:
        """Close those that have left, and end those that do not: a job's threads may keep a process for ever."""
        for child, by in list(self._leaving):
            if child.is_dead() or now >= by:
                child.close(0.0)
                self._leaving.remove((child, by))
