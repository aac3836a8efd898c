"""How much a worker claims ahead: a time budget, learned from the jobs themselves."""

from __future__ import annotations

from gigq.marks import SLOTS

BUDGET = 50_000_000
"""Nanoseconds of work that may wait behind each slot: a slow job is never hoarded."""
AHEAD = 1536
"""Calls that may wait, at most [m: beside a spinning thread a fifth more than with 1024]."""
BYTES_AHEAD = 4 * 1024 * 1024
_WEIGHT = 0.2


class Pace:
    """Learns how long calls take and how large they are."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._most = min(slots + AHEAD, SLOTS)
        self._duration: float | None = None
        self._size = 0.0

    def learn(self, durations: list[int], sizes: list[int]) -> None:
        """Take in what finished together: nanoseconds, and bytes of params and results."""
        mean = sum(durations) / len(durations)
        # The slowest counts too: behind it the others would wait.
        seen = max(mean, max(durations) / len(durations))
        before = self._duration
        self._duration = seen if before is None else before + _WEIGHT * (seen - before)
        self._size += _WEIGHT * (sum(sizes) / len(sizes) - self._size)

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
