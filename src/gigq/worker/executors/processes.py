"""The processes executor: calls run in warm child processes, which can be ended at any instant.

The parent owns the database and never decodes what it carries. A child marks each start and writes each result before
the next start, so a child that dies costs exactly the run that its mark shows; what it had not started goes to
another.
"""

from __future__ import annotations

import math
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gigq.errors import WorkerFailed
from gigq.lease import Lease
from gigq.marks import Marks
from gigq.status import End
from gigq.worker import wire
from gigq.worker.calls import Call
from gigq.worker.executors.process import Process
from gigq.worker.notes import Note, Progress
from gigq.worker.pace import BUDGET, Pace

CALLS = 1024
"""Calls that one child may have, at most [m: a drain of no-ops by one child is 8 % slower with 512; 1800 gain 4 %]."""
BYTES = 256 * 1024
"""Of params that one child may have, at most; a single call may have more."""
_HOARDING = 100_000_000
"""Nanoseconds over its estimate after which a call lets those behind it go."""
_MEMORY_EVERY = 200_000_000
"""Nanoseconds between two looks at the children's memory."""
_FAILED_STARTS = 3
"""Children that die one after the other before they are ready: more will not help."""
_START_AGAIN = 1_000_000_000
"""Nanoseconds until a child is started whose process could not be made."""
_FAREWELL = 2.0
"""Seconds that a child has to end in good order."""


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
        self._count = count
        self._setup = setup
        self._marks = marks
        self._pace = pace
        self._coroutine_pace = coroutine_pace
        self._answer = answer
        self._tell_started = tell_started
        self._given_parents = given_parents
        self._kill_grace = kill_grace
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[Call] = deque()
        self._coroutines: deque[Call] = deque()
        self._alone: deque[Call] = deque()
        """Those whose process has died before: each gets a child for itself, so that an innocent clears its name."""
        self._ended: list[Call] = []
        self._notes: list[tuple[Call, Note]] = []
        self._failed_starts = 0
        self._missing = 0
        """Children that could not be started in the place of others, and will be."""
        self._start_at = 0
        self._memory_at = 0
        self._is_over = False
        self._children: list[Process] = []
        self._leaving: list[tuple[Process, int]] = []
        """Children that were replaced, and when they are ended by force (monotonic nanoseconds)."""
        try:
            for _ in range(count):
                self._children.append(self._start())
        except BaseException:
            self.close()
            raise

    def is_ready(self) -> bool:
        return any(child.is_ready for child in self._children)

    def fileno(self) -> int:
        """Readable when a child has something to say, so that a sleeping loop can watch it."""
        number: int = self._selector.fileno()  # epoll's, or kqueue's
        return number

    @property
    def pids(self) -> list[int]:
        """The children that live."""
        return [child.pid for child in self._children]

    # -- calls in ----------------------------------------------------------------------------------------------

    def dispatch(self, calls: list[Call]) -> None:
        for call in calls:
            if call.lease.crashes:
                self._alone.append(call)
            else:
                (self._coroutines if call.is_async else self._waiting).append(call)
        self._feed()

    def _feed(self) -> None:
        if self._is_over:
            return
        if self._alone:
            self._feed_alone()
        if self._waiting:
            self._deal()
        if self._coroutines:
            self._deal_coroutines()

    def _feed_alone(self) -> None:
        for child in self._children:
            if not self._alone:
                return
            is_free = child.is_ready and child.alone is None and not child.is_closing
            if is_free and child.is_idle():
                child.alone = self._alone.popleft()
                self._send(child, [child.alone])

    def _deal(self) -> None:
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
        slots = self._setup.async_slots
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
        self._watch(child)

    # -- ends out ------------------------------------------------------------------------------------------

    def collect(self) -> list[Call]:
        """See Executor.

        Raises:
            WorkerFailed: children do not start.
        """
        for key, _ in self._selector.select(0):
            child: Process = key.data
            if child not in self._children:
                continue  # two descriptors tell of one death
            child.flush()
            self._hear(child, child.receive())
            if child.is_dead():
                self._bury(child)
            else:
                self._watch(child)
        now = time.monotonic_ns()
        for child in list(self._children):
            self._look_after(child, now)
        if self._leaving:
            self._see_off(now)
        if self._missing and now >= self._start_at:
            missing, self._missing = self._missing, 0
            for _ in range(missing):
                self._add_child()
        if self._max_memory is not None and now >= self._memory_at:
            self._look_at_memory(now)
        self._feed()
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
                child.is_ready = True
                self._failed_starts = 0
            case wire.Returned(slots):
                calls = [call for slot in slots if (call := child.take(slot)) is not None]
                child.returned += len(calls)
                child.is_closing = self._left(child) <= 0
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
            elif call.lease.crashes:
                self._alone.appendleft(call)
            else:
                (self._coroutines if call.is_async else self._waiting).appendleft(call)

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
        waiting = len(self._waiting) + len(self._coroutines) + len(self._alone)
        slots = self._setup.async_slots
        return waiting + sum(
            max(0, len(child.calls) - 1) + max(0, len(child.coroutines) - slots) for child in self._children
        )

    def give_back(self) -> list[Call]:
        taken = [*self._waiting, *self._coroutines, *self._alone]
        for waiting in (self._waiting, self._coroutines, self._alone):
            waiting.clear()
        for child in self._children:
            self._recall(child, for_loop=True)
        return taken

    def _recall(self, child: Process, *, for_loop: bool) -> None:
        """Ask for what has not started, once for what was sent so far."""
        child.recalled_for_loop = for_loop
        if child.recalled_at != child.sent and not child.is_idle():
            child.recalled_at = child.sent
            child.send(wire.Recall())
            self._watch(child)

    def stop(self, call: Call, why: End) -> bool:
        child: Process | None = call.child
        if call.asked is not None:
            return False
        if child is None:
            self._drop(call, why)
        elif child.find(call.slot) is call:  # else it has just ended: nobody is to be ended for its sake
            call.asked = why
            child.ask_to_stop(call, time.monotonic_ns())
            self._watch(child)
        return False

    def _drop(self, call: Call, why: End) -> None:
        """Stop a call that no child has."""
        for waiting in (self._waiting, self._coroutines, self._alone):
            if call in waiting:
                waiting.remove(call)
                call.asked = why
                self._ended.append(call.ends(why, time.monotonic_ns()))

    def tell_stopping(self) -> None:
        for child in self._children:
            child.send(wire.Stopping())
            self._watch(child)

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
        for _, by in self._leaving:
            left = min(left, by - now)
        if self._missing:
            left = min(left, self._start_at - now)
        return max(0.0, left / 1e9)

    def _look_after(self, child: Process, now: int) -> None:
        if child.asked is not None and now >= child.force_at:
            child.force(now, self._kill_grace)
        if len(child.calls) > 1 and not child.is_slow and self._is_slow(child, now):
            child.is_slow = True
            self._recall(child, for_loop=False)
        if child.is_closing and child.is_idle():
            self._replace(child)

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

    # -- lives and deaths --------------------------------------------------------------------------------------

    def _add_child(self) -> None:
        """Start one in the place of another; if that fails now, again a little later."""
        try:
            self._children.append(self._start())
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
        self._watch(child)
        return child

    def _watch(self, child: Process) -> None:
        """Wake for room in its pipe only while there is something to be sent."""
        wants = child.wants_to_write()
        if wants == child.is_watched:
            return
        child.is_watched = wants
        if wants:
            self._selector.register(child.write_fd, selectors.EVENT_WRITE, child)
        else:
            self._selector.unregister(child.write_fd)

    def _replace(self, child: Process) -> None:
        self._forget(child)
        child.send(wire.Close())
        self._leaving.append((child, time.monotonic_ns() + int(_FAREWELL * 1e9)))
        self._add_child()

    def _see_off(self, now: int) -> None:
        """Close those that have left, and end those that do not: a job's threads may keep a process for ever."""
        for child, by in list(self._leaving):
            if child.is_dead() or now >= by:
                child.close(0.0)
                self._leaving.remove((child, by))

    def _forget(self, child: Process) -> None:
        for fd in [*child.filenos(), *([child.write_fd] if child.is_watched else [])]:
            self._selector.unregister(fd)
        child.is_watched = False
        self._children.remove(child)

    def _bury(self, child: Process) -> None:
        """Settle what a dead child had: one charged run, and no finished work lost."""
        self._hear(child, child.receive())
        self._forget(child)
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
        if self._is_over:
            return
        if not child.is_ready and not child.is_forced:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise WorkerFailed(
                    f"{self._failed_starts} child processes in a row ended before they were ready "
                    f"({reason.replace(' while running', '')}). Their stderr says more; "
                    "executor='thread' works without children."
                )
        self._add_child()

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
        for child in self._children:
            child.send(wire.Close())
        for child in [*self._children, *(left for left, _ in self._leaving)]:
            child.close(_FAREWELL)
        self._children.clear()
        self._leaving.clear()
        self._selector.close()
