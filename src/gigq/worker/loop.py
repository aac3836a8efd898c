"""The worker's loop: collect what ended, exchange it for what is next, dispatch. One thread owns the store."""

from __future__ import annotations

import contextlib
import math
import sys
from collections import deque
from collections.abc import Callable, Collection

from gigq import log
from gigq.clock import Clock
from gigq.errors import StoreBusy, StoreError, StoreReplaced, WorkerFailed
from gigq.lease import Lease
from gigq.store import Store
from gigq.store.rows import Peek, Settlement
from gigq.worker import settling
from gigq.worker.calls import Call
from gigq.worker.deliveries import Deliveries
from gigq.worker.executors import Executor
from gigq.worker.lanes import Lanes
from gigq.worker.seat import Seat
from gigq.worker.upkeep import Upkeep
from gigq.worker.waker import Waker

_PATIENCE = 0.05
"""Seconds the loop stands at the gate itself; then a helper stands in line, and the loop goes on."""
_HOARDING = 100_000_000
"""Nanoseconds without an end after which what waits goes back to the queue."""
_BYTES = 64 * 1024 * 1024
"""Of results in one transaction."""
_LAST_WORD = 1.0
"""Seconds the loop waits for the gate when its grace is over."""
_SOLO_PATIENCE = 1_000_000_000
"""Nanoseconds that a call which must run alone waits for the others to end."""
_SOLO_AGAIN = 2_000_000
"""Microseconds until it may be claimed again."""
_TROUBLE = 1.0
"""Seconds between two tries while the database cannot be written."""
_CHECK_EVERY = 50_000_000
"""Nanoseconds between two looks for timeouts and for runs that are asked to stop, while there is no rest."""
_STOPS_APART = 20_000_000
"""Nanoseconds between two looks for runs that are asked to stop, however often the bell rings."""


class Loop:
    """One run of :meth:`gigq.Worker.start`."""

    def __init__(
        self,
        store: Store,
        seat: Seat,
        executor: Executor,
        lanes: Lanes,
        upkeep: Upkeep,
        waker: Waker,
        *,
        clock: Clock,
        polling_interval: float,
        should_stop: Callable[[], float | None],
        on_missing: Callable[[Lease, str], None],
        missing: Collection[tuple[str, str, str | None]],
    ) -> None:
        """Args:
        should_stop: None to go on; else the seconds that are left for what is running (inf: as long as it takes).
        on_missing: told of a job whose function this worker does not have.
        missing: all of these functions so far.
        """
        self._store = store
        self._seat = seat
        self._executor = executor
        self._lanes = lanes
        self._upkeep = upkeep
        self._waker = waker
        self._clock = clock
        self._polling = polling_interval
        self._should_stop = should_stop
        self._on_missing = on_missing
        self._missing = missing
        self._open: dict[int, Call] = {}
        """Every claimed run that is not settled, by the number of its job."""
        self._ended: list[Settlement] = []
        self._deliveries = Deliveries(clock)
        self._solo: deque[Call] = deque()
        """Those whose process has died before: each runs with nothing beside it, so that an innocent clears its name."""
        self._alone: Call | None = None
        self._solo_since = 0
        self._look_by = 0
        """Monotonic nanoseconds at which to look for jobs even though no bell was heard."""
        self._check_at = 0
        """The same for timeouts, and for runs that are asked to stop."""
        self._rang = False
        self._next_due: int | None = None
        self._last_progress = clock.monotonic()
        self._trouble: StoreError | None = None
        self._trouble_until = 0
        self._later = False
        """Whether there was more than one transaction should carry, and the last one was written."""
        self._wait = _PATIENCE
        self._is_winding_up = False

    def run(self) -> bool:
        """Work until told to stop; False if something could not be given back before the grace ended.

        Raises:
            StoreReplaced: the database is no longer the file it was; what is running cannot be settled.
            WorkerFailed: the executor cannot go on.
        """
        try:
            return self._run()
        except WorkerFailed:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """The executor cannot go on: what it had goes back at once, as far as the database can be written."""
        with contextlib.suppress(WorkerFailed):
            self._wind_up(0.0)
        self._exchange(stopping=True)

    def _run(self) -> bool:
        while True:
            self._collect()
            left = self._should_stop()
            if left is not None:
                self._wind_up(left)
            self._look_after_running()
            if self._upkeep.is_due():
                self._do_upkeep()
            self._exchange(stopping=left is not None)
            while left is not None and left <= 0 and self._later:
                self._exchange(stopping=True)
            if left is not None and (left <= 0 or not self._open):
                for settlement in self._ended:  # whoever rescues these runs is not to charge them for our end
                    call = self._open[settlement.lease.seq]
                    self._seat.marks.finish(call.slot, call.key)
                return not self._ended
            self._sleep()

    @property
    def job_id(self) -> str | None:
        """A job that is running."""
        running = self._executor.running()
        return running[0].lease.id if running else None

    # -- collect -----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        calls = self._executor.collect()
        if calls:
            self._last_progress = self._clock.monotonic()
            offset = self._clock.now() - self._clock.monotonic() // 1000
            self._end(calls, [settling.of(call, offset) for call in calls])
            for call in calls:
                if call.end == "unavailable":
                    self._on_missing(call.lease, call.error or "")
        if notes := self._executor.notes():
            self._deliveries.add(notes)
        for call in self._executor.collect_late():
            self._let_retry_go(call)

    def _end(self, calls: list[Call], settlements: list[Settlement]) -> None:
        """Calls have left the executor; their ends wait for the next exchange."""
        self._lanes.left(calls)
        self._ended += settlements

    def _let_retry_go(self, call: Call) -> None:
        if call.lease.attempts + 1 < call.lease.max_attempts:
            due_at = self._clock.now() + call.lease.retry_delay if call.lease.retry_delay else None
            try:
                with self._store.engine.hurried(_PATIENCE):
                    self._store.hasten(call.lease, due_at)
            except StoreError:
                return  # it goes by itself when its time comes
            self._lanes.look()

    def _give_back(self, calls: list[Call], due_at: int | None = None) -> None:
        """Let others have calls that have not started."""
        now = self._clock.now()
        settlements = [settling.decide(call.lease, "unstarted", now, started_at=None) for call in calls]
        for settlement in settlements:
            settlement.due_at = due_at
        self._end(calls, settlements)

    def _take_solo(self) -> list[Call]:
        taken, self._solo = list(self._solo), deque()
        return taken

    def _wind_up(self, left: float) -> None:
        """No new work; what has not started goes back, and at the end of the grace what runs too."""
        if not self._is_winding_up:
            self._is_winding_up = True
            self._executor.tell_stopping()
        self._give_back(self._executor.give_back() + self._take_solo())
        if left <= 0:
            self._executor.end_now()
            self._collect()
            self._wait, self._trouble = _LAST_WORD, None

    # -- what runs ---------------------------------------------------------------------------------------------

    def _look_after_running(self) -> None:
        now = self._clock.monotonic()
        if self._open and (now >= self._check_at or self._rang):
            self._check_at = now + _CHECK_EVERY
            self._stop_overdue(now)
            self._stop_cancelled()
        self._rang = False
        if self._solo and now - self._solo_since > _SOLO_PATIENCE:
            # Others are busy for longer: do not hold up everything for it, and let another worker have it.
            self._give_back(self._take_solo(), self._clock.now() + _SOLO_AGAIN)
        if now - self._last_progress > _HOARDING and self._executor.waiting():
            self._lanes.slow_down(now - self._last_progress)
            self._give_back(self._executor.give_back())

    def _stop_overdue(self, now: int) -> None:
        for call in self._executor.running():
            timeout = call.lease.timeout
            if timeout is None or not call.started or now - call.started <= timeout * 1000:
                continue
            if self._is_told(call):
                continue
            if self._executor.stop(call, "timeout"):
                wall = self._clock.now()
                started_at = wall - (now - call.started) // 1000
                self._end([call], [settling.overdue(call.lease, wall, started_at, thread_goes_on=True)])

    def _is_told(self, call: Call) -> bool:
        """Whether its timeout has nothing to add: it is being ended already, by force if it must."""
        return call.asked == "timeout" or (call.asked is not None and self._executor.isolates)

    def _stop_cancelled(self) -> None:
        try:
            with self._store.engine.hurried(_PATIENCE):
                asked = self._store.stop_requests()
        except StoreReplaced:
            raise
        except StoreError:
            return  # the next look comes soon
        if asked:
            wanted = frozenset(asked)
            for call in list(self._open.values()):
                if call.asked is None and call.lease.lease in wanted:
                    self._executor.stop(call, "cancelled")

    def _do_upkeep(self) -> None:
        if self._store.engine.is_replaced():
            raise StoreReplaced(
                f"{self._store.engine.name}: the database or its sidecar was replaced, renamed or deleted. "
                "The worker has stopped; what it was running will be rescued if the file comes back."
            )
        try:
            with self._store.engine.hurried(_PATIENCE):
                if self._upkeep.run_once(self._seat.number):
                    self._lanes.look()
        except StoreReplaced:
            raise
        except StoreBusy:
            return  # the next turn comes soon
        except StoreError as error:
            self._in_trouble(error)

    # -- exchange ----------------------------------------------------------------------------------------------

    def _exchange(self, *, stopping: bool) -> None:
        if self._trouble is not None and self._clock.monotonic() < self._trouble_until:
            return
        claim = None
        if not stopping and self._can_claim():
            claim = self._lanes.claim(self._seat.number, self._seat.free, self._missing)
        hurried = self._deliveries.seconds_left() == 0
        if not self._ended and not hurried and not (claim and self._may_claim()):
            return
        ended, later = _first_bytes(self._ended)
        self._later = False
        try:
            done = self._store.exchange(
                ended,
                claim,
                self._clock.now(),
                said=self._deliveries.rows(),
                wait=self._wait,
                when_free=self._waker.wake,
            )
        except StoreReplaced:
            raise
        except StoreBusy:
            return  # the outcomes are kept; woken when the turn has come
        except StoreError as error:
            self._in_trouble(error)
            return
        self._trouble = None
        self._ended, self._later = later, bool(later)
        self._after(ended, done.lost, done.refused)
        calls = self._seat.calls(done.claimed)
        if claim is not None:
            self._lanes.took(claim, calls)
            if done.more:
                self._lanes.look()
            self._next_due = None
            if not self._lanes.looks() and (found := self._peek()):
                self._next_due = found.next_due
        self._dispatch(calls)

    def _can_claim(self) -> bool:
        """Whether what is claimed could start, and has a slot for its mark."""
        return not self._solo and not self._alone and self._seat.free > 0 and self._executor.is_ready()

    def _may_claim(self) -> bool:
        """Look before writing: an idle worker writes nothing."""
        if self._next_due is not None and self._clock.now() >= self._next_due:
            self._lanes.look()
        now = self._clock.monotonic()
        if not self._lanes.looks() and now < self._look_by:
            return False
        self._look_by = now + int(self._polling * 1e9)
        found = self._peek()
        if found is None:
            return False
        self._next_due = found.next_due
        if found.has_work(self._clock.now()):
            self._lanes.look()
            return True
        self._lanes.nothing_is_ready()
        return False

    def _peek(self) -> Peek | None:
        """None while the database cannot be read; then it is tried again."""
        try:
            with self._store.engine.hurried(_PATIENCE):
                return self._store.peek()
        except StoreReplaced:
            raise
        except StoreBusy:
            pass
        except StoreError as error:
            self._in_trouble(error)
        self._lanes.look()
        return None

    def _after(self, ended: list[Settlement], lost: list[Settlement], refused: list[Settlement]) -> None:
        take = self._open.pop
        over = [take(settlement.lease.seq) for settlement in ended]
        self._seat.settled(over)
        self._deliveries.delivered(over)
        if self._alone is not None and self._alone in over:
            self._alone = None
        late = {one.lease.seq for one in lost}
        told = log.worker.isEnabledFor(20)
        for settlement in ended:
            if (told or settlement.status != "completed") and settlement.lease.seq not in late:
                settling.announce(settlement, self._seat.worker_id)
        for settlement in lost:
            lease = settlement.lease
            log.lease_lost(lease.id, lease.name, lease.attempts + 1, self._seat.worker_id)
        for settlement in refused:
            lease = settlement.lease
            log.failed(
                lease.id, lease.name, lease.attempts + 1, self._seat.worker_id, "its end could not be stored"
            )

    def _dispatch(self, claimed: list[Call]) -> None:
        calls = claimed
        self._open.update([(call.lease.seq, call) for call in claimed])
        if not self._executor.isolates and any(call.lease.crashes for call in claimed):
            calls = [call for call in claimed if not call.lease.crashes]
            self._solo.extend(call for call in claimed if call.lease.crashes)
            self._solo_since = self._clock.monotonic()
        if self._solo and len(self._open) == len(self._solo):
            self._alone = self._solo.popleft()
            calls.append(self._alone)
        if calls:
            self._last_progress = self._clock.monotonic()
            self._executor.dispatch(calls)

    def _in_trouble(self, error: StoreError) -> None:
        """Claiming pauses, outcomes are held (as many as were claimed, no more), and it is tried again."""
        if self._trouble is None:
            log.worker_waits_for_store(self._seat.worker_id, error)
            print(f"gigq: {error}", file=sys.stderr, flush=True)
        self._trouble = error
        self._trouble_until = self._clock.monotonic() + int(_TROUBLE * 1e9)

    # -- sleep -------------------------------------------------------------------------------------------------

    def _sleep(self) -> None:
        if not self._trouble and self._can_claim() and self._lanes.looks():
            return
        seconds = self._seconds()
        if seconds > 0 and self._executor.sleeping(True) and self._waker.sleep(seconds):
            self._rang = True
            self._lanes.look()
        self._executor.sleeping(False)

    def _seconds(self) -> float:
        """Until something is due: a retry, a timeout, the upkeep, the polling net, the end of the grace."""
        left = min(self._upkeep.seconds_left(), self._polling, self._executor.next_check())
        if self._next_due is not None and not self._trouble and self._lanes.has_room():
            left = min(left, (self._next_due - self._clock.now()) / 1e6)
        said = self._deliveries.seconds_left()
        if said is not None:
            left = min(left, max(said, _PATIENCE if self._trouble else 0.0))
        now = self._clock.monotonic()
        running = self._executor.running()
        for call in running:
            if call.lease.timeout is not None and call.started and not self._is_told(call):
                left = min(left, (call.started + call.lease.timeout * 1000 - now) / 1e9)
        if self._executor.waiting():
            left = min(left, (self._last_progress + _HOARDING - now) / 1e9)
        if len(running) < len(self._open) - len(self._ended) or (
            self._ended or (running and self._should_stop() is not None)
        ):
            left = min(left, _PATIENCE)  # not all starts are known, or there is something to be told
        return max(0.0, left) if math.isfinite(left) else 1.0


def _first_bytes(settlements: list[Settlement]) -> tuple[list[Settlement], list[Settlement]]:
    """Split off what is more than one transaction should carry."""
    total = 0
    if sum([len(one.result) for one in settlements if one.result is not None]) <= _BYTES:
        return settlements, []
    for place, settlement in enumerate(settlements):
        total += len(settlement.result or "")
        if total > _BYTES and place:
            return settlements[:place], settlements[place:]
    return settlements, []
