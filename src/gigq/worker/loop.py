"""The worker's loop: collect what finished, exchange it for what is next, dispatch. One thread owns the store."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection

from gigq import log
from gigq.clock import Clock
from gigq.errors import StoreBusy, StoreError, StoreReplaced
from gigq.status import End
from gigq.store import Store
from gigq.store.base import Peek
from gigq.store.exchange import Claim
from gigq.store.rows import Lease, Settlement
from gigq.worker import settling
from gigq.worker.calls import Call, Outcome
from gigq.worker.executors.threads import Threads
from gigq.worker.pace import Pace
from gigq.worker.seat import Seat
from gigq.worker.upkeep import Upkeep
from gigq.worker.waker import Waker

_PATIENCE = 0.05
"""Seconds the loop stands at the gate itself; then a helper stands in line, and the loop goes on."""
_HOARDING = 100_000_000
"""Nanoseconds over its estimate after which a call lets those behind it go."""
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


class Loop:
    """One run of :meth:`gigq.Worker.start`."""

    def __init__(
        self,
        store: Store,
        seat: Seat,
        threads: Threads,
        upkeep: Upkeep,
        waker: Waker,
        *,
        clock: Clock,
        concurrency: int,
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
        self._threads = threads
        self._upkeep = upkeep
        self._waker = waker
        self._clock = clock
        self._polling = polling_interval
        self._should_stop = should_stop
        self._on_missing = on_missing
        self._missing = missing
        self._pace = Pace(concurrency)
        self._open: dict[str, Call] = {}
        """Every claimed run that is not settled, by its lease."""
        self._ended: list[Settlement] = []
        self._solo: deque[Call] = deque()
        """Those whose process has died before: each runs with nothing beside it, so that an innocent clears its name."""
        self._alone: Call | None = None
        self._solo_since = 0
        self._look = True
        """Whether something may be ready."""
        self._look_by = 0
        """Monotonic nanoseconds at which to look even though no bell was heard."""
        self._next_due: int | None = None
        self._last_progress = clock.monotonic()
        self._trouble: StoreError | None = None
        self._trouble_until = 0
        self._wait = _PATIENCE
        self.gave_up = False
        """Whether threads go on with runs that were given back at the end of the grace."""

    def run(self) -> bool:
        """Work until told to stop; False if something could not be given back before the grace ended.

        Raises:
            StoreReplaced: the database is no longer the file it was; what is running cannot be settled.
        """
        while True:
            self._collect()
            left = self._should_stop()
            if left is not None:
                self._settle_as("unstarted", self._threads.give_back() + self._take_solo())
                if left <= 0:
                    self._settle_as("stopped", self._threads.running())
                    self._wait, self._trouble = _LAST_WORD, None
            self._look_after_slow_ones()
            if self._upkeep.is_due():
                self._do_upkeep()
            self._exchange(stopping=left is not None)
            if left is not None and (left <= 0 or not self._open):
                for settlement in self._ended:  # whoever rescues these runs is not to charge them for our end
                    call = self._open[settlement.lease.lease]
                    self._seat.marks.finish(call.slot, call.key)
                return not self._ended
            self._sleep()

    @property
    def job_id(self) -> str | None:
        """A job that is running."""
        running = self._threads.running()
        return running[0].lease.id if running else None

    # -- collect -----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        outcomes = self._threads.collect()
        if outcomes:
            self._last_progress = self._clock.monotonic()
            self._pace.learn(
                [outcome.ended - outcome.call.started for outcome in outcomes],
                [len(outcome.call.lease.params or "") + len(outcome.result or "") for outcome in outcomes],
            )
            offset = self._clock.now() - self._clock.monotonic() // 1000
            self._ended += [self._settlement(outcome, offset) for outcome in outcomes]
        for call in self._threads.collect_late():
            self._let_retry_go(call)

    def _settlement(self, outcome: Outcome, offset: int) -> Settlement:
        lease = outcome.call.lease
        ended_at = outcome.ended // 1000 + offset
        if outcome.end == "unavailable":
            self._on_missing(lease, outcome.error or "")
            return settling.decide(lease, "unavailable", ended_at, started_at=None, error=outcome.error)
        started_at = outcome.call.started // 1000 + offset
        if outcome.end == "returned":
            return settling.returned(lease, started_at, ended_at, outcome.result)
        return settling.decide(lease, outcome.end, ended_at, started_at=started_at, error=outcome.error)

    def _let_retry_go(self, call: Call) -> None:
        if call.lease.attempts + 1 < call.lease.max_attempts:
            due_at = self._clock.now() + call.lease.retry_delay if call.lease.retry_delay else None
            try:
                with self._store.engine.hurried(_PATIENCE):
                    self._store.hasten(call.lease, due_at)
            except StoreError:
                return  # it goes by itself when its time comes
            self._look = True

    def _settle_as(self, end: End, calls: list[Call]) -> None:
        """Give runs up, started or not, and stop waiting for them."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        for call in calls:
            if end == "stopped":
                if not self._threads.abandon(call):
                    continue
                self.gave_up = True
            started = now - (monotonic - call.started) // 1000 if call.started else None
            error = "stopped by the end of its worker" if end == "stopped" else None
            self._ended.append(settling.decide(call.lease, end, now, started_at=started, error=error))

    def _take_solo(self) -> list[Call]:
        taken, self._solo = list(self._solo), deque()
        return taken

    # -- timeouts ----------------------------------------------------------------------------------------------

    def _look_after_slow_ones(self) -> None:
        now = self._clock.monotonic()
        for call in self._threads.running():
            timeout = call.lease.timeout
            if timeout is None or not call.started or now - call.started <= timeout * 1000:
                continue
            if self._threads.abandon(call):
                started_at = self._clock.now() - (now - call.started) // 1000
                self._ended.append(
                    settling.overdue(call.lease, self._clock.now(), started_at, thread_goes_on=True)
                )
        if self._solo and now - self._solo_since > _SOLO_PATIENCE:
            self._let_solo_go()
        if self._threads.waiting() and now - self._last_progress > _HOARDING:
            self._pace.slow_down(now - self._last_progress)
            self._settle_as("unstarted", self._threads.give_back())

    def _let_solo_go(self) -> None:
        """Others are busy for longer: do not hold up everything for it, and let another worker have it."""
        calls = self._take_solo()
        given = len(self._ended)
        self._settle_as("unstarted", calls)
        for settlement in self._ended[given:]:
            settlement.due_at = self._clock.now() + _SOLO_AGAIN

    def _do_upkeep(self) -> None:
        if self._store.engine.is_replaced():
            raise StoreReplaced(
                f"{self._store.engine.name}: the database or its sidecar was replaced, renamed or deleted. "
                "The worker has stopped; what it was running will be rescued if the file comes back."
            )
        try:
            with self._store.engine.hurried(_PATIENCE):
                if self._upkeep.run_once(self._seat.number):
                    self._look = True
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
        want = 0 if stopping else self._want()
        if not self._ended and not (want and self._may_claim()):
            return
        claim = Claim(self._seat.number, want, without=self._missing) if want else None
        ended, later = _first_bytes(self._ended)
        try:
            done = self._store.exchange(
                ended, claim, self._clock.now(), wait=self._wait, when_free=self._waker.wake
            )
        except StoreReplaced:
            raise
        except StoreBusy:
            return  # the outcomes are kept; woken when the turn has come
        except StoreError as error:
            self._in_trouble(error)
            return
        self._trouble = None
        self._ended = later
        self._after(ended, done.lost, done.refused)
        self._dispatch(done.claimed)
        if want:
            self._look = len(done.claimed) >= want
            self._next_due = None
            if not self._look and (found := self._peek()):
                self._next_due = found.next_due

    def _want(self) -> int:
        if self._solo or self._alone:
            return 0
        return max(0, self._pace.in_flight() - len(self._open) + len(self._ended))

    def _may_claim(self) -> bool:
        """Look before writing: an idle worker writes nothing."""
        if self._next_due is not None and self._clock.now() >= self._next_due:
            self._look = True
        now = self._clock.monotonic()
        if not self._look and now < self._look_by:
            return False
        self._look_by = now + int(self._polling * 1e9)
        found = self._peek()
        if found is None:
            return False
        self._next_due = found.next_due
        self._look = found.has_work(self._clock.now())
        return self._look

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
        self._look = True
        return None

    def _after(self, ended: list[Settlement], lost: list[Settlement], refused: list[Settlement]) -> None:
        late = {one.lease.lease for one in lost}
        told = log.worker.isEnabledFor(20)
        for settlement in ended:
            run = settlement.lease.lease
            call = self._open.pop(run)
            self._seat.settled(call)
            if call is self._alone:
                self._alone = None
            if (told or settlement.status != "completed") and run not in late:
                settling.announce(settlement, self._seat.worker_id)
        for settlement in lost:
            lease = settlement.lease
            log.lease_lost(lease.id, lease.name, lease.attempts + 1, self._seat.worker_id)
        for settlement in refused:
            lease = settlement.lease
            log.failed(
                lease.id, lease.name, lease.attempts + 1, self._seat.worker_id, "its end could not be stored"
            )

    def _dispatch(self, claimed: list[Lease]) -> None:
        calls: list[Call] = []
        for lease in claimed:
            call = self._open[lease.lease] = self._seat.call(lease)
            (self._solo if lease.crashes else calls).append(call)
            self._solo_since = self._clock.monotonic()
        if self._solo and len(self._open) == len(self._solo):
            self._alone = self._solo.popleft()
            calls.append(self._alone)
        if calls:
            self._last_progress = self._clock.monotonic()
            self._threads.dispatch(calls)

    def _in_trouble(self, error: StoreError) -> None:
        """Claiming pauses, outcomes are held (as many as were claimed, no more), and it is tried again."""
        if self._trouble is None:
            log.worker_waits_for_store(self._seat.worker_id, error)
            print(f"gigq: {error}", file=sys.stderr, flush=True)
        self._trouble = error
        self._trouble_until = self._clock.monotonic() + int(_TROUBLE * 1e9)

    # -- sleep -------------------------------------------------------------------------------------------------

    def _sleep(self) -> None:
        if self._look and not self._trouble and self._want():
            return
        seconds = self._seconds()
        if seconds > 0 and self._threads.sleeping(True) and self._waker.sleep(seconds):
            self._look = True
        self._threads.sleeping(False)

    def _seconds(self) -> float:
        """Until something is due: a retry, a timeout, the upkeep, the polling net, the end of the grace."""
        left = min(self._upkeep.seconds_left(), self._polling)
        if self._next_due is not None and not self._trouble and self._want():
            left = min(left, (self._next_due - self._clock.now()) / 1e6)
        now = self._clock.monotonic()
        for call in self._threads.running():
            if call.lease.timeout is not None and call.started:
                left = min(left, (call.started + call.lease.timeout * 1000 - now) / 1e9)
        if self._threads.waiting():
            left = min(left, (self._last_progress + _HOARDING - now) / 1e9)
        if self._ended or (self._threads.running() and self._should_stop() is not None):
            left = min(left, _PATIENCE)
        return max(0.0, left)


def _first_bytes(settlements: list[Settlement]) -> tuple[list[Settlement], list[Settlement]]:
    """Split off what is more than one transaction should carry."""
    total = 0
    for place, settlement in enumerate(settlements):
        total += len(settlement.result or "")
        if total > _BYTES and place:
            return settlements[:place], settlements[place:]
    return settlements, []
