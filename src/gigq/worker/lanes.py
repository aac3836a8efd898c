"""What a worker has room for: plain functions, and coroutine functions if they have slots of their own."""

from __future__ import annotations

from collections.abc import Collection

from gigq.store.exchange import Claim
from gigq.worker.calls import Call, Outcome
from gigq.worker.pace import Pace, Task, task_of


class _Lane:
    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.busy = 0
        """Calls that the executor has."""
        self.look = True
        """Whether there may be more ready than the last claim got."""

    def room(self) -> int:
        return max(0, self.pace.in_flight() - self.busy)


class Lanes:
    """One worker's. Coroutines have theirs from the first one on that is seen."""

    def __init__(self, pace: Pace, coroutine_pace: Pace | None) -> None:
        """Args:
        pace: of plain functions, and of all where ``coroutine_pace`` is None.
        coroutine_pace: of coroutine functions.
        """
        self._plain = _Lane(pace)
        self._coroutines = _Lane(coroutine_pace) if coroutine_pace is not None else None
        self._apart = False
        """Whether a coroutine function has been seen."""
        self._known: set[Task] = set()
        """Coroutine functions of which the database does not know the kind."""

    @property
    def _open(self) -> list[_Lane]:
        return [self._plain, self._coroutines] if self._apart and self._coroutines else [self._plain]

    def look(self) -> None:
        """Something may be ready."""
        for lane in self._open:
            lane.look = True

    def looks(self) -> bool:
        """Whether there is room for what may be ready."""
        return any(lane.look and lane.room() for lane in self._open)

    def has_room(self) -> bool:
        return any(lane.room() for lane in self._open)

    def nothing_is_ready(self) -> None:
        for lane in self._open:
            lane.look = False

    def claim(self, worker: int, free: int, without: Collection[tuple[str, str, str | None]]) -> Claim | None:
        """What to claim now; None for nothing. ``free`` bounds it."""
        want = min(self._plain.room(), free)
        if not self._apart or self._coroutines is None:
            return Claim(worker, want, without=without) if want else None
        want_async = min(self._coroutines.room(), free - want)
        if not want and not want_async:
            return None
        return Claim(worker, want, without=without, want_async=want_async, coroutines=self._unknown_kind())

    def _unknown_kind(self) -> Collection[Task]:
        return self._known

    def took(self, what: Claim, calls: list[Call]) -> None:
        """Note what a claim got, and tell coroutines from plain functions."""
        lane = self._coroutines
        n_async = 0
        if lane is not None:
            for call in calls:
                if self._is_async(call, lane):
                    call.is_async = True
                    n_async += 1
            if n_async and not self._apart:
                self._apart = lane.look = True
            lane.busy += n_async
            if what.want_async is not None:
                lane.look = n_async >= what.want_async
        plain = len(calls) - n_async
        self._plain.busy += plain
        self._plain.look = (plain if what.want_async is not None else len(calls)) >= what.want

    def _is_async(self, call: Call, lane: _Lane) -> bool:
        lease = call.lease
        if lease.is_async is not None:
            return bool(lease.is_async)
        task = task_of(lease)
        if lane.pace.knows(task):
            self._known.add(task)
            return True
        return False

    def learn(self, outcomes: list[Outcome]) -> None:
        """Take in how long calls took that ran to their end."""
        for lane in self._open:
            is_async = lane is self._coroutines
            ran = [one for one in outcomes if one.call.started and one.call.is_async == is_async]
            if ran:
                lane.pace.learn(ran)

    def left(self, call: Call) -> None:
        """A call is no longer with the executor."""
        lane = self._coroutines if call.is_async and self._coroutines is not None else self._plain
        lane.busy -= 1

    def slow_down(self, duration: int) -> None:
        """Nothing has ended for so long (nanoseconds), while calls wait."""
        for lane in self._open:
            lane.pace.slow_down(duration)
