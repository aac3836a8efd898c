"""Worker: the public face of the loop, and the seams that subclasses override."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gigq import callables, codec, ids, log
from gigq.clock import SYSTEM, Clock
from gigq.errors import GigQError, InvalidJob, StoreError
from gigq.queue import JobQueue
from gigq.status import JobStatus
from gigq.store.base import Parent, Store
from gigq.store.exchange import Claim
from gigq.store.rows import Lease, Settlement
from gigq.worker import settling
from gigq.worker.calls import Call, Outcome, Runner, too_large
from gigq.worker.executors.threads import Threads
from gigq.worker.loop import Loop
from gigq.worker.seat import Seat
from gigq.worker.signals import stop_on_signals
from gigq.worker.upkeep import Upkeep
from gigq.worker.waker import Waker

if TYPE_CHECKING:
    import sqlite3

    from gigq.store.sqlite import Durability

_SEAMS = ("_claim_job", "_complete_job", "_import_function")


class Worker:
    """
    A worker that processes jobs from the queue.

    May be made in one thread and used in another. A subclass that overrides ``_claim_job``, ``_complete_job`` or
    ``_import_function`` works one job per transaction, in ``concurrency`` threads.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | JobQueue,
        worker_id: str | None = None,
        polling_interval: float = 5,
        concurrency: int = 1,
        *,
        durability: Durability = "full",
        clock: Clock = SYSTEM,
    ) -> None:
        """
        Initialize a worker.

        Args:
            db_path: Path to the SQLite database file, or a JobQueue (the way to work on one in memory).
            worker_id: Unique identifier for this worker (auto-generated if not provided).
            polling_interval: How often to check for new jobs, in seconds, where no bell is heard.
            concurrency: How many jobs run at once, each in a thread.
            durability: As for JobQueue.
            clock: Where the time is read; for tests.

        Raises:
            InvalidJob: An argument cannot be accepted.
            StoreError: The database cannot be opened.
        """
        if not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidJob(f"concurrency: a whole number of at least 1, not {concurrency!r}")
        if not isinstance(polling_interval, int | float) or not 0 < polling_interval < 1e6:
            raise InvalidJob(f"polling_interval: seconds above 0, not {polling_interval!r}")
        if isinstance(db_path, JobQueue):
            self._queue = db_path
        elif os.fspath(db_path) == ":memory:":
            raise InvalidJob(
                'Worker(":memory:") would have a queue of its own, without jobs. '
                'Pass the queue itself: queue = JobQueue(":memory:"); Worker(queue)'
            )
        else:
            self._queue = JobQueue(db_path, durability=durability, clock=clock)
        self.db_path = self._queue._name
        self.worker_id = worker_id or ids.worker_id()
        self.polling_interval = polling_interval
        self.concurrency = concurrency
        self.running = False
        self._clock = self._queue.clock
        self._guard = threading.Lock()
        self._seat: Seat | None = None
        self._runner: Runner | None = None
        self._waker: Waker | None = None
        self._stop_by: float | None = None
        self._current = threading.local()
        self._latest_job_id: str | None = None
        self._missing: set[tuple[str, str, str | None]] = set()
        self._calls: dict[str, Call] = {}

    # -- the reference -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker process.

        Blocks until :meth:`stop` is called or, on the main thread, SIGINT or SIGTERM comes. Then what is running
        is finished, however long it takes, and what has not started goes back; a second signal ends it at once.

        Raises:
            StoreError: The database cannot be opened, or was replaced while the worker ran.
        """
        callables.end_load()
        if self.running:
            raise GigQError(f"worker {self.worker_id} is running already")
        self.running = True
        self._stop_by = None
        log.worker_started(self.worker_id, self.concurrency)
        try:
            with stop_on_signals(self._on_signal):
                if self._is_extended():
                    self._work_through_seams()
                else:
                    self._work()
        finally:
            self.running = False
            self.close()
            log.worker_stopped(self.worker_id)

    def stop(self, grace: float | None = None) -> None:
        """Stop the worker process.

        Returns at once; :meth:`start` returns when the current jobs are finished.

        Args:
            grace: Seconds after which jobs that are still running are given back, uncharged, and the process
                ends, since a thread cannot be stopped. None waits as long as they take.
        """
        if self.running:
            log.worker_stopping(self.worker_id)
        self._stop_by = None if grace is None else time.monotonic() + grace
        self.running = False
        waker = self._waker
        if waker is not None:
            waker.wake()

    def process_one(self) -> bool:
        """
        Process a single job from the queue.

        It runs in the calling thread. Overdue runs, and those of dead workers, are settled first.

        Returns:
            True if a job was processed, False if no job was available.
        """
        callables.end_load()
        self._check_for_timeouts()
        self._rescue().announce(self._rescue().rescue.dead_workers(self._take_seat().number))
        return self._process_next()

    def close(self) -> None:
        """Give up the worker's place and close this thread's connection; the next call takes a new one."""
        with self._guard:
            seat, self._seat, self._runner = self._seat, None, None
        if seat is not None:
            with contextlib.suppress(StoreError):
                seat.leave()
        self._queue.close()

    @property
    def current_job_id(self) -> str | None:
        """The job that this thread is processing; in other threads, the one that was started last, while it runs."""
        mine: str | None = getattr(self._current, "job_id", None)
        return mine or self._latest_job_id

    # -- the seams ---------------------------------------------------------------------------------------------

    def _get_connection(self) -> sqlite3.Connection:
        """Gets a connection to the SQLite database with appropriate settings."""
        if type(self)._claim_job is Worker._claim_job or self._queue._name == ":memory:":
            return self._queue._get_connection()
        from gigq.store.extension import prepare_for_claims
        from gigq.store.sqlite import thread_connection

        connection = thread_connection(self._queue._name, self._queue.durability, self.worker_id)
        prepare_for_claims(connection, self._take_seat().number)
        return connection

    def _import_function(self, module_name: str, function_name: str) -> Callable[..., Any]:
        """Dynamically imports a function from a module."""
        return callables.load(module_name, function_name)

    def _claim_job(self) -> dict[str, Any] | None:
        """Attempts to claim a job from the queue using an exclusive transaction.

        Returns:
            The job as ``get_status`` shows it, without ``exists`` and ``executions`` and with ``execution_id``; or
            None.
        """
        claim = Claim(self._take_seat().number, 1)
        peek = self._store.peek()
        due = peek.next_due is not None and peek.next_due <= self._clock.now()
        if not (peek.ready or due or peek.unfinished):
            return None
        claimed = self._store.exchange([], claim, self._clock.now()).claimed
        if not claimed:
            return None
        lease = claimed[0]
        shown = self._queue.get_status(lease.id)
        del shown["exists"], shown["executions"]
        return {**shown, "execution_id": lease.execution_id}

    def _complete_job(
        self,
        job_id: str,
        execution_id: str,
        status: JobStatus,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        """Marks a job as completed or failed.

        Writes the final status it is given, if the execution is the newest of the job; a late one writes nothing.
        """
        call = self._calls.get(execution_id)
        lease = call.lease if call else self._store.lease(job_id, execution_id)
        if lease is None:
            log.lease_lost(job_id, "", 0, self.worker_id)
            return
        now = self._clock.now()
        started_at = self._started_at(call) if call else lease.claimed_at
        if status is JobStatus.COMPLETED:
            text = None if result is None else codec.encode(result, "result", codec.MAX_RESULT)
            self._write(settling.returned(lease, started_at, now, text))
        else:
            run = {JobStatus.TIMEOUT: "timeout", JobStatus.CANCELLED: "cancelled"}.get(status, "failed")
            self._write(Settlement(lease, status.value, run, started_at, now, None, error, attempts=1))

    def _check_for_timeouts(self) -> int:
        """Checks for jobs that have timed out and marks them accordingly; how many there were."""
        upkeep = self._rescue()
        settled = upkeep.rescue.overdue(None, grace=0)
        upkeep.announce(settled)
        return len(settled)

    # -- one job in this thread --------------------------------------------------------------------------------

    def _process_next(self) -> bool:
        claimed = self._claim_through_seam()
        if claimed is None:
            return False
        lease = self._store.lease(claimed["id"], claimed["execution_id"])
        if lease is None:
            log.lease_lost(claimed["id"], str(claimed.get("name")), 0, self.worker_id)
            return True
        seat, runner = self._take_seat(), self._take_runner()
        call = seat.call(lease)
        self._calls[lease.lease] = call
        self._current.job_id = self._latest_job_id = lease.id
        try:
            with self._watchdog(call):
                outcome = runner.run(call)
        except KeyboardInterrupt:
            self._write(self._settlement(call, "stopped", error="KeyboardInterrupt: stopped by its user"))
            raise
        else:
            self._settle(call, outcome)
        finally:
            self._current.job_id = self._latest_job_id = None
            del self._calls[lease.lease]
            seat.settled(call)
        return True

    def _claim_through_seam(self) -> dict[str, Any] | None:
        if type(self)._claim_job is Worker._claim_job:
            return self._claim_job()
        self._take_seat()
        gate = self._store.engine.sidecar.gate
        if not gate.acquire(self._store.engine.busy_timeout):
            return None
        try:
            return self._claim_job()
        finally:
            gate.release()

    def _settle(self, call: Call, outcome: Outcome) -> None:
        """Settle the end of a call; the good and the final ones go through the seam."""
        lease = call.lease
        with self._guard:
            call.finished = True
            late = call.abandoned
        if late:
            self._let_retry_go(call)
            return
        if outcome.end == "unavailable":
            self._tell_missing(lease, outcome.error or "")
            self._write(self._settlement(call, "unavailable", error=outcome.error, started=False))
            return
        settlement = self._settlement(call, outcome.end, error=outcome.error)
        if settlement.status == JobStatus.PENDING.value:
            self._write(settlement)
            return
        status = JobStatus(settlement.status)
        self._complete_job(lease.id, lease.lease, status, result=outcome.value, error=settlement.error)

    def _settlement(self, call: Call, end: Any, *, error: str | None, started: bool = True) -> Settlement:
        started_at = self._started_at(call) if started else None
        return settling.decide(call.lease, end, self._clock.now(), started_at=started_at, error=error)

    def _started_at(self, call: Call) -> int:
        return self._clock.now() - (self._clock.monotonic() - call.started) // 1000

    def _write(self, settlement: Settlement) -> None:
        done = self._store.exchange([settlement], None, self._clock.now())
        lease = settlement.lease
        if done.lost:
            log.lease_lost(lease.id, lease.name, lease.attempts + 1, self.worker_id)
        else:
            settling.announce(settlement, self.worker_id)

    @contextlib.contextmanager
    def _watchdog(self, call: Call) -> Iterator[None]:
        """Settle the call as a timeout at its due time, whatever its thread does."""
        timeout = call.lease.timeout
        if timeout is None:
            yield
            return
        timer = threading.Timer(timeout / 1e6, self._give_up, [call])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self, call: Call) -> None:
        with self._guard:
            if call.finished:
                return
            call.abandoned = True
        settlement = settling.overdue(
            call.lease, self._clock.now(), self._started_at(call), thread_goes_on=True
        )
        try:
            self._write(settlement)
        finally:
            self._queue.close()

    def _let_retry_go(self, call: Call) -> None:
        if call.lease.attempts + 1 < call.lease.max_attempts:
            delay = call.lease.retry_delay
            self._store.hasten(call.lease, self._clock.now() + delay if delay else None)

    # -- the loop ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        seat = self._take_seat()
        waker = self._waker = Waker()
        waker.listen(self._store.engine.sidecar.watch(waker.wake))
        threads = Threads(self.concurrency, self._take_runner().run, waker.wake)
        loop = Loop(
            self._store,
            seat,
            threads,
            self._rescue(),
            waker,
            clock=self._clock,
            concurrency=self.concurrency,
            polling_interval=self.polling_interval,
            should_stop=self._grace_left,
            on_missing=self._tell_missing,
        )
        try:
            all_given_back = loop.run()
        finally:
            self._waker = None
            waker.close()
            self._store.engine.sidecar.gate.leave_line()
            threads.close()
        if self._stop_by is not None and (threads.abandoned or not all_given_back):
            self._end_process(0 if all_given_back else 1)

    def _work_through_seams(self) -> None:
        """One job per transaction, as the seams mean it, in as many threads as asked for."""
        threads = [
            threading.Thread(target=self._work_one_by_one, name=f"gigq-seam-{n}", daemon=True)
            for n in range(self.concurrency)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
            if (left := self._grace_left()) is not None and left <= 0:
                self._end_process(1)

    def _work_one_by_one(self) -> None:
        upkeep = self._rescue()
        try:
            while self.running:
                if upkeep.is_due():
                    upkeep.run_once(self._take_seat().number)
                if not self._process_next():
                    self._pause()
        finally:
            self._queue.close()

    def _pause(self) -> None:
        until = time.monotonic() + self.polling_interval
        version = self._store.engine.data_version()
        while self.running and time.monotonic() < until and self._store.engine.data_version() == version:
            time.sleep(min(0.05, self.polling_interval))

    def _grace_left(self) -> float | None:
        if self.running:
            return None
        return float("inf") if self._stop_by is None else self._stop_by - time.monotonic()

    def _on_signal(self, times: int) -> None:
        """The first one asks; the second ends it."""
        self.stop(grace=0 if times > 1 else self._signal_grace)

    _signal_grace: float | None = None
    """Seconds that a signal leaves to what is running."""

    def _end_process(self, code: int) -> None:
        """Threads cannot be stopped: what was given back must not go on here."""
        log.worker_stopped(self.worker_id)
        self.close()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    # -- what both need ----------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return self._queue._store

    def _is_extended(self) -> bool:
        return any(getattr(type(self), seam) is not getattr(Worker, seam) for seam in _SEAMS)

    def _take_seat(self) -> Seat:
        with self._guard:
            if self._seat is None:
                self._seat = Seat(self._store, self.worker_id, self._clock)
            return self._seat

    def _take_runner(self) -> Runner:
        seat = self._take_seat()
        with self._guard:
            if self._runner is None:
                self._runner = Runner(self.worker_id, seat.marks, self._clock, self._load, self._parents)
            return self._runner

    def _rescue(self) -> Upkeep:
        with self._guard:
            if self._upkeep is None:
                self._upkeep = Upkeep(self._store, self._clock, self.worker_id, self._missing)
            return self._upkeep

    _upkeep: Upkeep | None = None

    def _load(self, module: str, name: str, script: str | None) -> Callable[..., Any]:
        if script is not None and type(self)._import_function is Worker._import_function:
            return callables.load(module, name, script)
        return self._import_function(module, name)

    def _parents(self, lease: Lease, limit: int) -> list[Parent]:
        large, parents = self._store.parents([lease.seq], limit)
        if large:
            raise too_large(lease, large[lease.seq])
        return parents

    def _tell_missing(self, lease: Lease, reason: str) -> None:
        """Once per function: this worker cannot run it, and its jobs wait for one that can."""
        reference = (lease.module, lease.function, lease.script)
        if reference not in self._missing:
            self._missing.add(reference)
            print(
                f"gigq: job {lease.id} ({lease.name}) needs {lease.module}.{lease.function}, which this worker cannot "
                f"import: {reason}. It waits for a worker that can; start one from the project's folder.",
                file=sys.stderr,
                flush=True,
            )
