"""The worker's loop: collect what ended, exchange it for what is next, dispatch. One thread owns the store."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Collection

from gigq import log
from gigq.clock import Clock
from gigq.errors import StoreBusy, StoreError, StoreReplaced, WorkerFailed
from gigq.lease import Lease
from gigq.store import Store
from gigq.store.rows import Exchanged, Peek, Settlement
from gigq.worker import settling
from gigq.worker.calls import Call
from gigq.worker.deliveries import Deliveries
from gigq.worker.exchanges import PATIENCE, Exchanges, Order
from gigq.worker.executors import Executor
from gigq.worker.lanes import Lanes
from gigq.worker.seat import Seat
from gigq.worker.upkeep import Upkeep
from gigq.worker.waker import Waker

_HOARDING = 100_000_000
"""Nanoseconds without an end after which what waits goes back to the queue."""
_LAST_WORD = 1.0
"""Seconds the loop waits for the gate when its grace is over."""
_SOLO_PATIENCE = 1_000_000_000
"""Nanoseconds that a call which must run alone waits for the others to end."""
_SOLO_AGAIN = 2_000_000
"""Microseconds until it may be claimed again."""
_CHECK_EVERY = 50_000_000
"""Nanoseconds between two looks for timeouts and for runs that are asked to stop, while there is no rest."""
_STOPS_APART = 20_000_000
"""Nanoseconds between two looks for runs that are asked to stop, however often the bell rings."""
_BESIDE = 0.002
"""Seconds between two looks at the executor while an exchange goes on beside the loop: what ends comes in batches."""


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
        beside: bool,
    ) -> None:
        """Args:
        should_stop: None to go on; else the seconds that are left for what is running (inf: as long as it takes).
        on_missing: told of a job whose function this worker does not have.
        missing: all of these functions so far.
        beside: whether exchanges may go on in a thread of their own; see Exchanges.
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
        self._exchanges = Exchanges(store, clock, seat.worker_id, waker.wake, beside=beside)
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
        self._is_winding_up = False
        self._paused: frozenset[str] = frozenset()
        """Queues that were paused at the last look."""

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
        finally:
            self._exchanges.close()

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
            while left is not None and left <= 0 and self._exchanges.has_more:
                self._exchange(stopping=True)
            if left is not None and (left <= 0 or not self._open):
                unsaid = self._exchanges.ended
                for settlement in unsaid:  # whoever rescues these runs is not to charge them for our end
                    call = self._open[settlement.lease.seq]
                    self._seat.marks.finish(call.slot, call.key)
                return not unsaid
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
        self._exchanges.ended += settlements

    def _let_retry_go(self, call: Call) -> None:
        retry = settling.overdue(call.lease, self._clock.now(), None, thread_goes_on=False)
        if retry.status == "pending":
            try:
                with self._store.engine.hurried(PATIENCE):
                    self._store.hasten(call.lease, retry.due_at)
            except StoreError:
                return  # it goes by itself when its time comes
            self._lanes.look()

    def _give_back(self, calls: list[Call], delay: int | None = None) -> None:
        """Let others have calls that have not started; in ``delay`` microseconds, if not at once."""
        now = self._clock.now()
        ends = [settling.decide(call.lease, "unstarted", now, started_at=None, delay=delay) for call in calls]
        self._end(calls, ends)

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
            self._exchanges.wait = _LAST_WORD
            self._exchanges.try_at_once()

    # -- what runs ---------------------------------------------------------------------------------------------

    def _look_after_running(self) -> None:
        now = self._clock.monotonic()
        if self._open and (now >= self._check_at or self._rang):
            self._check_at = now + _CHECK_EVERY
            self._stop_overdue(now)
            self._heed_wishes()
        self._rang = False
        if self._solo and now - self._solo_since > _SOLO_PATIENCE:
            # Others are busy for longer: do not hold up everything for it, and let another worker have it.
            self._give_back(self._take_solo(), _SOLO_AGAIN)
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

    def _heed_wishes(self) -> None:
        """Runs that are asked to stop, and queues that are paused."""
        try:
            with self._store.engine.hurried(PATIENCE):
                asked, paused = self._store.stop_requests(), self._store.paused()
        except StoreReplaced:
            raise
        except StoreError:
            return  # the next look comes soon
        if asked:
            wanted = frozenset(asked)
            for call in list(self._open.values()):
                if call.asked is None and call.lease.lease in wanted:
                    self._executor.stop(call, "cancelled")
        if paused or self._paused:
            self._heed_pauses(frozenset(paused))

    def _heed_pauses(self, paused: frozenset[str]) -> None:
        """What was claimed ahead of a queue that is paused since goes back, with all that has not started."""
        newly, self._paused = paused - self._paused, paused
        if newly and any(call.lease.queue in newly and not call.started for call in self._open.values()):
            self._give_back(self._executor.give_back())

    def _do_upkeep(self) -> None:
        if self._store.engine.is_replaced():
            raise StoreReplaced(
                f"{self._store.engine.name}: the database or its sidecar was replaced, renamed or deleted. "
                "The worker has stopped; what it was running will be rescued if the file comes back."
            )
        try:
            with self._store.engine.hurried(PATIENCE):
                if self._upkeep.run_once(self._seat.number):
                    self._lanes.look()
        except StoreReplaced:
            raise
        except StoreBusy:
            return  # the next turn comes soon
        except StoreError as error:
            self._exchanges.in_trouble(error)

    # -- exchange ----------------------------------------------------------------------------------------------

    def _exchange(self, *, stopping: bool) -> None:
        exchanges = self._exchanges
        claimed: list[Call] = []
        if exchanges.is_under_way:
            if not stopping and not exchanges.is_answered:
                return
            claimed = self._finish_exchange()
            if stopping:
                self._give_back(claimed)
                claimed = []
        # The next one first, so that the database has work while what was claimed is dispatched.
        if self._begin_exchange(stopping=stopping) and exchanges.is_answered:
            claimed += self._finish_exchange()
        if claimed or self._solo:  # whose turn may have come by what has just ended
            self._dispatch(claimed)

    def _begin_exchange(self, *, stopping: bool) -> bool:
        """Whether there was anything to exchange."""
        exchanges = self._exchanges
        if not exchanges.may_try:
            return False
        claim = None
        if not stopping and self._can_claim():
            claim = self._lanes.claim(self._seat.number, self._seat.free, self._missing, self._seat.serving)
        hurried = self._deliveries.seconds_left() == 0
        if not exchanges.ended and not hurried and not (claim and self._may_claim()):
            return False
        exchanges.begin(claim, self._deliveries.rows(), here=stopping)
        return True

    def _finish_exchange(self) -> list[Call]:
        """What was claimed."""
        written = self._exchanges.finish()
        if written is None:
            return []
        order, answer = written
        self._after(order, answer)
        calls = self._seat.calls(answer.claimed)
        self._open.update([(call.lease.seq, call) for call in calls])
        if order.claim is not None:
            self._lanes.took(order.claim, calls)
            if answer.more:
                self._lanes.look()
            self._next_due = None
            if not self._lanes.looks() and (found := self._peek()):
                self._next_due = found.next_due
        return calls

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
            with self._store.engine.hurried(PATIENCE):
                found = self._store.peek(self._seat.serving)
        except StoreReplaced:
            raise
        except StoreBusy:
            pass
        except StoreError as error:
            self._exchanges.in_trouble(error)
        else:
            self._upkeep.next_tick = found.next_tick
            return found
        self._lanes.look()
        return None

    def _after(self, order: Order, answer: Exchanged) -> None:
        ended, lost, refused = order.ended, answer.lost, answer.refused
        take = self._open.pop
        over = [take(settlement.lease.seq) for settlement in ended]
        self._seat.settled(over)
        self._deliveries.delivered(len(order.said), over)
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

    # -- sleep -------------------------------------------------------------------------------------------------

    def _sleep(self) -> None:
        if self._exchanges.is_under_way:
            self._exchanges.pause(_BESIDE)
            return
        if not self._exchanges.is_in_trouble and self._can_claim() and self._lanes.looks():
            return
        seconds = self._seconds()
        if seconds > 0 and self._executor.sleeping(True) and self._waker.sleep(seconds):
            self._rang = True
            self._lanes.look()
        self._executor.sleeping(False)

    def _seconds(self) -> float:
        """Until something is due: a retry, a timeout, the upkeep, the polling net, the end of the grace."""
        left = min(self._upkeep.seconds_left(), self._polling, self._executor.next_check())
        if self._next_due is not None and not self._exchanges.is_in_trouble and self._lanes.has_room():
            left = min(left, (self._next_due - self._clock.now()) / 1e6)
        said = self._deliveries.seconds_left()
        if said is not None:
            left = min(left, max(said, PATIENCE if self._exchanges.is_in_trouble else 0.0))
        now = self._clock.monotonic()
        running = self._executor.running()
        for call in running:
            if call.lease.timeout is not None and call.started and not self._is_told(call):
                left = min(left, (call.started + call.lease.timeout * 1000 - now) / 1e9)
        if self._executor.waiting():
            left = min(left, (self._last_progress + _HOARDING - now) / 1e9)
        unsaid = self._exchanges.ended
        if len(running) < len(self._open) - len(unsaid) or (
            unsaid or (running and self._should_stop() is not None)
        ):
            left = min(left, PATIENCE)  # not all starts are known, or there is something to be told
        return max(0.0, left) if math.isfinite(left) else 1.0
