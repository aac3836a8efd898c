"""Deals calls out to children: to each what its budgets allow, so that nobody hoards and nobody waits in vain."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from gigq.lease import Lease
from gigq.worker import wire
from gigq.worker.calls import Call
from gigq.worker.executors.process import Process
from gigq.worker.pace import BUDGET, Pace

CALLS = 1024
"""Calls that one child may have, at most [m: a drain of no-ops by one child is 8 % slower with 512; 1800 gain 4 %]."""
BYTES = 256 * 1024
"""Of params that one child may have, at most; a single call may have more."""


class Dealer:
    """Has the calls that no child has."""

    def __init__(
        self,
        children: Sequence[Process],
        count: int,
        pace: Pace,
        coroutine_pace: Pace,
        *,
        async_slots: int,
        max_jobs: int | None,
        given_parents: Callable[[list[Lease]], dict[int, list[wire.ParentRow]]],
    ) -> None:
        """Args:
        children: those that live, as they come and go.
        count: how many there are to be.
        pace: what is known of how long plain functions take.
        coroutine_pace: the same of coroutines.
        async_slots: coroutines that run at once in a child.
        max_jobs: calls after which a child is replaced.
        given_parents: job number -> parents, of those leases that are known to want them.
        """
        self._children = children
        self._count = count
        self._pace = pace
        self._coroutine_pace = coroutine_pace
        self._async_slots = async_slots
        self._max_jobs = max_jobs
        self._given_parents = given_parents
        self._waiting: deque[Call] = deque()
        self._coroutines: deque[Call] = deque()
        self._alone: deque[Call] = deque()
        """Those whose process has died before: each gets a child for itself, so that an innocent clears its name."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._coroutines) + len(self._alone)

    def put(self, calls: list[Call]) -> None:
        """Calls in order, behind those that wait."""
        for call in calls:
            self._line_of(call).append(call)

    def put_back(self, call: Call) -> None:
        """A call that a child had and has not started, where it was."""
        self._line_of(call).appendleft(call)

    def _line_of(self, call: Call) -> deque[Call]:
        if call.lease.crashes:
            return self._alone
        return self._coroutines if call.is_async else self._waiting

    def take_all(self) -> list[Call]:
        """All that wait."""
        taken = [*self._waiting, *self._coroutines, *self._alone]
        for waiting in (self._waiting, self._coroutines, self._alone):
            waiting.clear()
        return taken

    def take(self, call: Call) -> bool:
        """One of them; False if it does not wait here."""
        waiting = self._line_of(call)
        if call not in waiting:
            return False
        waiting.remove(call)
        return True

    def deal(self) -> None:
        """To whoever has room."""
        if self._alone:
            self._deal_alone()
        if self._waiting:
            self._deal_plain()
        if self._coroutines:
            self._deal_coroutines()

    def returned(self, child: Process, count: int) -> None:
        """A child has given so many back."""
        child.returned += count
        child.is_closing = self._left(child) <= 0

    def _deal_alone(self) -> None:
        for child in self._children:
            if not self._alone:
                return
            is_free = child.is_ready and child.alone is None and not child.is_closing
            if is_free and child.is_idle():
                child.alone = self._alone.popleft()
                self._send(child, [child.alone])

    def _deal_plain(self) -> None:
        """Share calls out: as many each, and to each no more than its budget.

        Beside coroutines only what finds no other place: what ends a process ends all that runs in it.
        """
        able = [child for child in self._open() if self._has_room(child)]
        self._share([child for child in able if not child.coroutines])
        self._share([child for child in able if child.coroutines])

    def _share(self, able: list[Process]) -> None:
        able.sort(key=lambda child: len(child.calls))
        for place, child in enumerate(able):
            share = math.ceil(len(self._waiting) / (len(able) - place))
            room = min(share, CALLS - len(child.calls), self._left(child))
            if calls := self._fill(child, room):
                self._send(child, calls)

    def _fill(self, child: Process, room: int) -> list[Call]:
        """Take the next calls for a child; the first one in any case, if it has none."""
        waiting = self._waiting
        calls: list[Call] = []
        load, size = child.load, child.bytes
        is_empty = not child.calls
        module = function = None
        estimate = 0
        while waiting and len(calls) < room:
            call = waiting[0]
            lease = call.lease
            if lease.function != function or lease.module != module:
                module, function = lease.module, lease.function
                estimate = self._pace.estimate(lease)
            if (calls or not is_empty) and (load + estimate > BUDGET or size > BYTES):
                break
            call.estimate = estimate
            load += estimate
            if lease.params is not None:
                size += len(lease.params)
            calls.append(waiting.popleft())
        child.load, child.bytes = load, size
        return calls

    def _left(self, child: Process) -> int:
        """Calls that a child may still get before it is replaced."""
        return CALLS if self._max_jobs is None else self._max_jobs - child.sent + child.returned

    def _has_room(self, child: Process) -> bool:
        return not child.is_slow and len(child.calls) < CALLS

    def _open(self) -> list[Process]:
        """Children that may get calls: the idlest run empty for those that must be alone."""
        able = [child for child in self._children if child.is_ready and not (child.is_closing or child.alone)]
        if self._alone:
            able.sort(key=lambda child: (child.is_slow, len(child.calls) + len(child.coroutines)))
            del able[: len(self._alone)]
        return able

    def _deal_coroutines(self) -> None:
        able = self._open()
        slots = self._async_slots
        most = max(slots, math.ceil(self._coroutine_pace.in_flight() / self._count))
        able = [child for child in able if not child.calls and len(child.coroutines) < slots] or able
        able.sort(key=lambda child: len(child.coroutines))
        for place, child in enumerate(able):
            share = math.ceil(len(self._coroutines) / (len(able) - place))
            calls: list[Call] = []
            # The first child that is up is not to hoard what the others have slots for.
            share = min(share, self._left(child), most - len(child.coroutines))
            while self._coroutines and len(calls) < share and child.bytes <= BYTES:
                calls.append(self._coroutines.popleft())
                child.bytes += len(calls[-1].lease.params or "")
            if calls:
                self._send(child, calls)

    def _send(self, child: Process, calls: list[Call]) -> None:
        """Calls of one kind."""
        is_async = calls[0].is_async
        held = child.coroutines if is_async else child.calls
        for call in calls:
            call.child = child
            held[call.slot] = call
        leases = [call.lease for call in calls]
        child.sent += len(calls)
        child.send(wire.Calls([call.slot for call in calls], leases, is_async, self._given_parents(leases)))
        child.is_closing = self._left(child) <= 0
