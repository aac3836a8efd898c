"""What a worker has room for: plain functions, and coroutine functions if they have slots of their own."""

from __future__ import annotations

from collections.abc import Collection

from gigq.queues import EVERYTHING, Serving
from gigq.status import NOT_BEGUN
from gigq.store.claiming import Claim
from gigq.worker.calls import Call
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

    def claim(
        self,
        worker: int,
        free: int,
        without: Collection[tuple[str, str, str | None]],
        serving: Serving = EVERYTHING,
    ) -> Claim | None:
        """What to claim now; None for nothing. ``free`` bounds it."""
        if not self._apart or self._coroutines is None:
            want = min(self._plain.room(), free)
            return Claim(worker, want, serving, without) if want else None
        # Fast plain functions could take every slot, and no coroutine would ever be claimed.
        want_async = min(self._coroutines.room(), (free + 1) // 2)
        want = min(self._plain.room(), free - want_async)
        if not want and not want_async:
            return None
        return Claim(worker, want, serving, without, want_async, self._known)

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

    def left(self, calls: list[Call]) -> None:
        """Calls are no longer with the executor: learn from those that ran how long it took."""
        lane = self._coroutines
        if lane is not None and self._apart:
            coroutines = [call for call in calls if call.is_async]
            lane.busy -= len(coroutines)
            _learn(lane, coroutines)
            calls = [call for call in calls if not call.is_async]
        self._plain.busy -= len(calls)
        _learn(self._plain, calls)

    def slow_down(self, duration: int) -> None:
        """Nothing has ended for so long (nanoseconds), while calls wait."""
        for lane in self._open:
            lane.pace.slow_down(duration)


def _learn(lane: _Lane, calls: list[Call]) -> None:
    ran = [call for call in calls if call.started and call.end not in NOT_BEGUN]
    if ran:
        lane.pace.learn(ran)
