"""The processes executor: calls run in warm child processes, which can be ended at any instant.

The parent owns the database and never decodes what it carries. A child marks each start and writes each result before
the next start, so a child that dies costs exactly the run that its mark shows; what it had not started goes to
another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from gigq.errors import WorkerFailed
from gigq.lease import Lease
from gigq.marks import Marks
from gigq.status import End
from gigq.worker import wire
from gigq.worker.calls import Call
from gigq.worker.executors.dealing import Dealer
from gigq.worker.executors.nursery import Nursery
from gigq.worker.executors.process import Process
from gigq.worker.notes import Note, Progress
from gigq.worker.pace import Pace

_HOARDING = 100_000_000
"""Nanoseconds over its estimate after which a call lets those behind it go."""
_MEMORY_EVERY = 200_000_000
"""Nanoseconds between two looks at the children's memory."""


class Processes:
    """``count`` children that run calls; see Executor."""

    isolates = True

    def __init__(
        self,
        count: int,
        setup: wire.Setup,
        marks: Marks,
        pace: Pace,
        coroutine_pace: Pace,
        *,
        answer: Callable[[Call, wire.Ask], wire.Answer],
        tell_started: Callable[[Call], None],
        given_parents: Callable[[list[Lease]], dict[int, list[wire.ParentRow]]],
        kill_grace: float,
        max_jobs: int | None,
        max_memory: int | None,
    ) -> None:
        """Args:
        count: children.
        setup: what each is told first.
        marks: where they note their starts.
        pace: what is known of how long plain functions take.
        coroutine_pace: the same of coroutines.
        answer: to what a call asks for.
        tell_started: told of each start, if the setup says so.
        given_parents: job number -> parents, of those leases that are known to want them.
        kill_grace: seconds between SIGTERM and SIGKILL for a call that does not stop.
        max_jobs: calls after which a child is replaced.
        max_memory: bytes resident above which a child is ended, and the call that it runs charged as a crash.
        """
        self._setup = setup
        self._marks = marks
        self._coroutine_pace = coroutine_pace
        self._answer = answer
        self._tell_started = tell_started
        self._kill_grace = kill_grace
        self._max_memory = max_memory
        self._ended: list[Call] = []
        self._notes: list[tuple[Call, Note]] = []
        self._memory_at = 0
        self._is_over = False
        self._nursery = Nursery(count, setup)
        self._children = self._nursery.children
        self._dealer = Dealer(
            self._children,
            count,
            pace,
            coroutine_pace,
            async_slots=setup.async_slots,
            max_jobs=max_jobs,
            given_parents=given_parents,
        )

    def is_ready(self) -> bool:
        return any(child.is_ready for child in self._children)

    def fileno(self) -> int:
        """Readable when a child has something to say, so that a sleeping loop can watch it."""
        return self._nursery.fileno()

    @property
    def pids(self) -> list[int]:
        """The children that live."""
        return [child.pid for child in self._children]

    # -- calls in ----------------------------------------------------------------------------------------------

    def dispatch(self, calls: list[Call]) -> None:
        self._dealer.put(calls)
        self._deal()

    def _deal(self) -> None:
        if not self._is_over and len(self._dealer):
            self._dealer.deal()
            for child in self._children:
                self._nursery.watch(child)

    # -- ends out ------------------------------------------------------------------------------------------

    def collect(self) -> list[Call]:
        """See Executor.

        Raises:
            WorkerFailed: children do not start.
        """
        for child in self._nursery.with_news():
            child.flush()
            self._hear(child, child.receive())
            if child.is_dead():
                self._bury(child)
            else:
                self._nursery.watch(child)
        now = time.monotonic_ns()
        for child in list(self._children):
            self._look_after(child, now)
        self._nursery.look_after(now)
        if self._max_memory is not None and now >= self._memory_at:
            self._look_at_memory(now)
        self._deal()
        ended, self._ended = self._ended, []
        return ended

    def collect_late(self) -> list[Call]:
        return []

    def notes(self) -> list[tuple[Call, Note]]:
        notes, self._notes = self._notes, []
        return notes

    def _hear(self, child: Process, messages: Iterable[Any]) -> None:
        for message in messages:
            if type(message) is wire.Done:
                self._done(child, message)
            else:
                self._hear_other(child, message)

    def _done(self, child: Process, done: wire.Done) -> None:
        call = child.take(done.slot)
        if call is None:
            return
        if done.is_async and not call.is_async:
            self._coroutine_pace.know(call.lease)
        call.started = done.started
        call.end = done.end  # type: ignore[assignment] # the word of our own child
        call.ended = done.ended
        call.result = done.result
        call.error = done.error
        if done.delay is not None:
            call.delay = done.delay
            call.backs_off = done.backs_off
        self._ended.append(call)

    def _hear_other(self, child: Process, message: wire.ToParent) -> None:
        match message:
            case wire.Ready(trouble):
                if trouble is not None and not self._is_over:
                    raise WorkerFailed(f"a child process cannot be set up: {trouble}")
                self._nursery.is_ready(child)
            case wire.Returned(slots):
                calls = [call for slot in slots if (call := child.take(slot)) is not None]
                self._dealer.returned(child, len(calls))
                self._take_back(calls, to_loop=child.recalled_for_loop)
            case wire.Started(slot):
                if (call := child.find(slot)) is not None:
                    self._tell_started(call)
            case wire.Said():
                if (call := child.find(message.slot)) is not None:
                    progress = None
                    if message.has_progress:
                        progress = Progress(message.done or 0.0, message.total, message.message)
                    self._notes.append((call, Note(message.text, progress)))
            case wire.Grown(slot, jobs):
                if (call := child.find(slot)) is not None:
                    call.grown = jobs
            case wire.Ask():
                if (call := child.find(message.slot)) is not None:
                    child.send(self._answer(call, message))

    def _take_back(self, calls: list[Call], *, to_loop: bool = False) -> None:
        """Calls that have not started and will not, where they were: they go to another child, or back to the queue."""
        now = time.monotonic_ns()
        for call in reversed(calls):
            call.child = None
            if call.asked == "cancelled":
                self._ended.append(call.ends("cancelled", now))
            elif to_loop or self._is_over:
                self._ended.append(call.ends("unstarted", now))
            else:
                self._dealer.put_back(call)

    # -- what takes long ---------------------------------------------------------------------------------------

    def running(self) -> list[Call]:
        found = []
        for child in self._children:
            head = child.head()
            for call in ([head] if head else []) + list(child.coroutines.values()):
                if not call.started and (mark := self._marks.of(call.slot, call.key)) is not None:
                    call.started = mark.started
                if call.started:
                    found.append(call)
        return found

    def waiting(self) -> int:
        slots = self._setup.async_slots
        return len(self._dealer) + sum(
            max(0, len(child.calls) - 1) + max(0, len(child.coroutines) - slots) for child in self._children
        )

    def give_back(self) -> list[Call]:
        taken = self._dealer.take_all()
        for child in self._children:
            self._recall(child, for_loop=True)
        return taken

    def _recall(self, child: Process, *, for_loop: bool) -> None:
        """Ask for what has not started, once for what was sent so far."""
        child.recalled_for_loop = for_loop
        if child.recalled_at != child.sent and not child.is_idle():
            child.recalled_at = child.sent
            child.send(wire.Recall())
            self._nursery.watch(child)

    def stop(self, call: Call, why: End) -> bool:
        child: Process | None = call.child
        if call.asked is not None:
            return False
        if child is None:
            if self._dealer.take(call):
                call.asked = why
                self._ended.append(call.ends(why, time.monotonic_ns()))
        elif child.find(call.slot) is call:  # else it has just ended: nobody is to be ended for its sake
            call.asked = why
            child.ask_to_stop(call, time.monotonic_ns())
            self._nursery.watch(child)
        return False

    def tell_stopping(self) -> None:
        for child in self._children:
            child.send(wire.Stopping())
            self._nursery.watch(child)

    def end_now(self) -> None:
        self._is_over = True
        self._take_back(self.give_back())
        for child in self._children:
            child.kill("the worker ended")
        for child in list(self._children):
            self._bury(child)

    def sleeping(self, asleep: bool) -> bool:
        return not self._ended

    def next_check(self) -> float:
        now = time.monotonic_ns()
        left = math.inf
        for child in self._children:
            if child.asked is not None:
                left = min(left, child.force_at - now)
            if len(child.calls) > 1 and not child.is_slow:
                left = min(left, _HOARDING)
            if self._max_memory is not None and not child.is_idle():
                left = min(left, self._memory_at - now)
        left = min(left, self._nursery.next_check(now))
        return max(0.0, left / 1e9)

    def _look_after(self, child: Process, now: int) -> None:
        if child.asked is not None and now >= child.force_at:
            child.force(now, self._kill_grace)
        if len(child.calls) > 1 and not child.is_slow and self._is_slow(child, now):
            child.is_slow = True
            self._recall(child, for_loop=False)
        if child.is_closing and child.is_idle():
            self._nursery.replace(child)

    def _is_slow(self, child: Process, now: int) -> bool:
        head = child.head()
        mark = self._marks.of(head.slot, head.key) if head else None
        return mark is not None and head is not None and now - mark.started > head.estimate + _HOARDING

    def _look_at_memory(self, now: int) -> None:
        self._memory_at = now + _MEMORY_EVERY
        most = self._max_memory or 0
        for child in list(self._children):
            used = child.memory()
            if used is None or used <= most:
                continue
            if child.is_idle():
                child.is_closing = True
            else:
                child.exceeded = True
                child.kill(f"out of memory: its process used {used:,} bytes, over max_memory={most:,}")
                self._bury(child)

    def _bury(self, child: Process) -> None:
        """Settle what a dead child had: one charged run, and no finished work lost."""
        self._hear(child, child.receive())
        self._nursery.forget(child)
        reason = child.bury()
        now = time.monotonic_ns()
        left: list[Call] = []
        for call in child.outstanding():
            mark = self._marks.of(call.slot, call.key)
            if mark is None:
                left.append(call)
                continue
            call.started = mark.started
            end, why = self._fate(child, call, reason, is_over=mark.is_over)
            self._ended.append(call.ends(end, now, why))
        self._take_back(left)
        if not self._is_over:
            self._nursery.succeed(child, reason)

    def _fate(self, child: Process, call: Call, reason: str, *, is_over: bool) -> tuple[End, str | None]:
        if call.asked is not None and not self._is_over:
            return call.asked, None
        if child.is_garbled or (child.exceeded and not is_over):
            return "died", child.ended_for
        if self._is_over:
            return "stopped", "stopped by the end of its worker"
        if is_over:
            return "stopped", f"{reason}, before the end of this run was told"
        if child.is_forced:
            return "stopped", "its process was ended because another job in it did not stop"
        return "died", reason

    def close(self) -> None:
        self._nursery.close()
