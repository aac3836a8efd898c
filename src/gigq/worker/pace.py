"""How much to claim ahead: a time budget, learned from the jobs themselves, task by task."""

from __future__ import annotations

from gigq.lease import Lease
from gigq.worker.calls import Call

BUDGET = 50_000_000
"""Nanoseconds of work that may wait behind each slot: a slow job is never hoarded."""
BYTES_AHEAD = 4 * 1024 * 1024
_WEIGHT = 0.2
_SAMPLE = 32

Task = tuple[str, str]


def task_of(lease: Lease) -> Task:
    return lease.module, lease.function


class Pace:
    """Learns how long calls take and how large they are."""

    def __init__(self, slots: int, most: int) -> None:
        """Args:
        slots: how many run at once.
        most: how many may be under way and waiting, at most.
        """
        self._slots = slots
        self._most = most
        self._duration: float | None = None
        self._size = 0.0
        self._tasks: dict[Task, float] = {}
        """Nanoseconds by task."""

    def know(self, lease: Lease) -> None:
        """Take a task for one of these, though nobody knows how long it takes."""
        self._tasks.setdefault(task_of(lease), float(BUDGET))

    def knows(self, task: Task) -> bool:
        return task in self._tasks

    def estimate(self, lease: Lease) -> int:
        """Nanoseconds that a call is thought to take; the whole budget where nobody knows."""
        return int(self._tasks.get((lease.module, lease.function), BUDGET))

    def learn(self, calls: list[Call]) -> None:
        """Take in how long calls took that ended together; of many a sample."""
        sample = calls if len(calls) <= _SAMPLE else calls[:: len(calls) // _SAMPLE]
        total = size = 0
        sums: dict[Task, list[int]] = {}
        for call in sample:
            lease = call.lease
            duration = call.ended - call.started
            total += duration
            size += len(lease.params or "") + len(call.result or "")
            seen = sums.setdefault((lease.module, lease.function), [0, 0])
            seen[0] += duration
            seen[1] += 1
        for task, (duration, n) in sums.items():
            self._tasks[task] = _mixed(self._tasks.get(task), duration / n)
        self._duration = _mixed(self._duration, total / len(sample))
        self._size += _WEIGHT * (size / len(sample) - self._size)

    def slow_down(self, duration: int) -> None:
        """A call takes this long already: claim nothing to wait behind it."""
        self._duration = float(max(duration, BUDGET + 1))

    def in_flight(self) -> int:
        """How many calls may be under way and waiting, together."""
        if self._duration is None:
            return min(self._slots, self._most)
        ahead = int(BUDGET * self._slots / max(self._duration, 1.0))
        if self._size > 0:
            ahead = min(ahead, int(BYTES_AHEAD / self._size))
        return min(self._slots + ahead, self._most)


def _mixed(before: float | None, seen: float) -> float:
    return seen if before is None else before + _WEIGHT * (seen - before)
