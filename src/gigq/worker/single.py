"""One job in the calling thread: claimed, run and settled through the seams that subclasses may override."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from gigq import codec, log
from gigq.clock import Clock
from gigq.errors import StoreError, StoreReplaced
from gigq.lease import Lease
from gigq.status import JobStatus
from gigq.store.extension import end_claim
from gigq.store.rows import Settlement
from gigq.worker import settling
from gigq.worker.calls import Call
from gigq.worker.deliveries import Deliveries
from gigq.worker.desk import Desk
from gigq.worker.runner import Ended, wait_in_own_loop
from gigq.worker.watchdog import Watchdog

_LAST_WORD = 1.0
"""Seconds that a write may wait for its turn when the process is about to end."""
_RUN_WORDS = {JobStatus.TIMEOUT: "timeout", JobStatus.CANCELLED: "cancelled"}


class Seams(Protocol):
    """What a worker lets its subclasses decide."""

    def _claim_job(self) -> dict[str, Any] | None: ...
    def _complete_job(
        self, job_id: str, execution_id: str, status: JobStatus, result: Any = None, error: str | None = None
    ) -> None: ...


class Single:
    """Runs single jobs for a worker, in whatever thread calls."""

    def __init__(self, desk: Desk, seams: Seams, worker_id: str, clock: Clock) -> None:
        self._desk = desk
        self._seams = seams
        self._worker_id = worker_id
        self._clock = clock
        self._deliveries = Deliveries(clock)
        self._saying = threading.Lock()
        self._guard = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._unwritten: dict[str, Settlement] = {}
        """Ends of runs that the database would not take; they are written before the next claim."""
        self._current = threading.local()

    @property
    def job_id(self) -> str | None:
        """The job that the calling thread is running; else any that is running here."""
        mine: str | None = getattr(self._current, "job_id", None)
        return mine or next((call.lease.id for call in list(self._calls.values())), None)

    @property
    def abandoned(self) -> int:
        """Threads that go on with a run that was given up."""
        return sum(call.abandoned for call in list(self._calls.values()))

    def leases(self) -> set[str]:
        """The runs under way here, each with a watchdog of its own."""
        return set(self._calls)

    def process_next(self, *, own_claim: bool) -> bool:
        """Claim a job and run it here; whether there was one.

        Args:
            own_claim: ``_claim_job`` is overridden, and may write by itself: it is called under the gate.

        Raises:
            KeyboardInterrupt: in the main thread; the job was given back, uncharged.
        """
        self._write_again()
        try:
            claimed = self._claim_under_gate() if own_claim else self._seams._claim_job()
        except KeyboardInterrupt:
            self._leave_to_rescue()
            raise
        if claimed is None:
            return False
        lease = self._desk.store.lease(claimed["id"], claimed["execution_id"])
        if lease is None:
            log.lease_lost(claimed["id"], str(claimed.get("name")), 0, self._worker_id)
            return True
        seat = self._desk.seat()
        call = self._calls[lease.lease] = seat.call(lease)
        self._current.job_id = lease.id
        try:
            self._run(call)
        except KeyboardInterrupt:
            self._leave_to_rescue()
            raise
        finally:
            self._current.job_id = None
            if lease.lease not in self._unwritten:
                self._calls.pop(lease.lease, None)
                seat.settled([call])
        return True

    def _write_again(self) -> None:
        for run, settlement in list(self._unwritten.items()):
            self._write(settlement)
            del self._unwritten[run]
            self._desk.seat().settled([self._calls.pop(run)])

    def _leave_to_rescue(self) -> None:
        """Ctrl-C may have come between a claim and its first line here: whoever rescues this seat gives it back."""
        if not self._unwritten and len(self._calls) <= 1:
            self._desk.leave()

    def complete(
        self, job_id: str, execution_id: str, status: JobStatus, result: Any, error: str | None
    ) -> None:
        """Write a final status under the lease; a late one writes nothing."""
        call = self._calls.get(execution_id)
        lease = call.lease if call else self._desk.store.lease(job_id, execution_id)
        if lease is None:
            self._tell_lost(job_id, execution_id)
            return
        now = self._clock.now()
        started_at = self._started_at(call) if call else lease.claimed_at
        if status is JobStatus.COMPLETED:
            text = None if result is None else codec.encode(result, "result", self._desk.max_result)
            settlement = settling.returned(lease, started_at, now, text)
            settlement.grown = call.grown if call else None
            self._write(settlement)
        else:
            run = _RUN_WORDS.get(status, "failed")
            self._write(Settlement(lease, status.value, run, started_at, now, None, error, attempts=1))

    def give_up(self) -> bool:
        """Give back what is running, uncharged: the process is about to end; False if that could not be written."""
        all_written = True
        for call in list(self._calls.values()):
            with self._guard:
                if call.finished or call.abandoned:
                    continue
                call.abandoned = True
            try:
                with self._desk.store.engine.hurried(_LAST_WORD):
                    self._write(self._stopped(call, "stopped by the end of its worker"))
            except StoreError:
                self._desk.seat().marks.finish(
                    call.slot, call.key
                )  # whoever rescues it is not to charge it for our end
                all_written = False
        return all_written

    def _tell_lost(self, job_id: str, execution_id: str) -> None:
        job, runs = self._desk.store.record(job_id) or ({"name": "unknown"}, [])
        run = next((run["run"] for run in runs if run["id"] == execution_id), 0)
        log.lease_lost(job_id, job["name"], run, self._worker_id)

    def _claim_under_gate(self) -> dict[str, Any] | None:
        self._desk.seat()
        store, now = self._desk.store, self._clock.now()
        if store.peek(self._desk.serving).is_due(now):
            store.exchange([], None, now)  # its own SQL claims, but does not promote
        with store.engine.holding_turn() as has_come:
            if not has_come:
                return None
            try:
                return self._seams._claim_job()
            finally:
                end_claim(store.engine)

    def _run(self, call: Call) -> None:
        timeout = call.lease.timeout
        try:
            with Watchdog(
                None if timeout is None else timeout / 1e6,
                lambda: self._give_up(call),
                lambda: self._look_after(call),
            ):
                ended = self._desk.runner().run(call, wait_in_own_loop)
        except KeyboardInterrupt:
            self._write(self._stopped(call, "KeyboardInterrupt: stopped by its user"))
            raise
        self._settle(call, ended)

    def _look_after(self, call: Call) -> None:
        """While a job takes long: deliver what it says, and hear whether it is to stop."""
        store = self._desk.store
        with self._saying:
            if self._desk.notes:
                self._deliveries.add(self._desk.notes.take())
            if said := self._deliveries.rows():
                store.exchange([], None, self._clock.now(), said=said)
                self._deliveries.delivered(len(said), [])
        if call.asked is None and call.lease.lease in store.stop_requests():
            call.asked = "cancelled"
            if (cancel := call.cancel) is not None:
                cancel()

    def _settle(self, call: Call, ended: Ended) -> None:
        """Settle the end of a call; the good and the final ones go through the seam."""
        with self._guard:
            call.finished = True
            late = call.abandoned
        if late:
            self._let_retry_go(call.lease)
            return
        if ended.end == "unavailable":
            self._desk.tell_missing(call.lease, ended.error or "")
        call.backs_off = ended.backs_off
        call.ends(ended.end, ended.ended, ended.error, ended.result, ended.delay)
        settlement = settling.of(call, self._clock.now() - self._clock.monotonic() // 1000)
        if settlement.status in (JobStatus.PENDING.value, JobStatus.CANCELLED.value):
            self._write(settlement)
            return
        status = JobStatus(settlement.status)
        self._seams._complete_job(
            call.lease.id, call.lease.lease, status, result=ended.value, error=settlement.error
        )

    def _stopped(self, call: Call, error: str) -> Settlement:
        started_at = self._started_at(call)
        return settling.decide(call.lease, "stopped", self._clock.now(), started_at=started_at, error=error)

    def _started_at(self, call: Call) -> int:
        return self._clock.now() - (self._clock.monotonic() - call.started) // 1000

    def _write(self, settlement: Settlement) -> None:
        lease = settlement.lease
        try:
            with self._saying:
                if self._desk.notes:
                    self._deliveries.add(self._desk.notes.take())
                said = self._deliveries.rows()
                done = self._desk.store.exchange([settlement], None, self._clock.now(), said=said)
                self._deliveries.delivered(len(said), [])
        except StoreReplaced:
            raise
        except StoreError:
            if lease.lease in self._calls:
                self._unwritten[lease.lease] = settlement
            raise
        if done.lost:
            log.lease_lost(lease.id, lease.name, lease.attempts + 1, self._worker_id)
        else:
            settling.announce(settlement, self._worker_id)

    def _give_up(self, call: Call) -> None:
        with self._guard:
            if call.finished:
                return
            call.abandoned = True
        self._write(
            settling.overdue(call.lease, self._clock.now(), self._started_at(call), thread_goes_on=True)
        )

    def _let_retry_go(self, lease: Lease) -> None:
        retry = settling.overdue(lease, self._clock.now(), None, thread_goes_on=False)
        if retry.status == JobStatus.PENDING.value:
            self._desk.store.hasten(lease, retry.due_at)
