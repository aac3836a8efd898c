"""A clock that only tests turn."""

from __future__ import annotations

from gigq.clock import SECOND


class TurnedClock:
    """Stands still until it is turned; wall and monotonic time move together."""

    def __init__(self, now: int = 1_750_000_000 * SECOND) -> None:
        self._now = now
        self._monotonic = 1_000_000_000_000

    def now(self) -> int:
        return self._now

    def monotonic(self) -> int:
        return self._monotonic

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self._now += round(seconds * SECOND)
        self._monotonic += round(seconds * 1e9)
