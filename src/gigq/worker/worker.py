"""Worker: the public face of the loop, and the seams that subclasses override."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gigq import callables, codec, ids, log
from gigq.clock import SYSTEM, Clock
from gigq.errors import GigQError, InvalidJob, StoreError, StoreReplaced, TooManyAbandoned, WorkerFailed
from gigq.queue import JobQueue
from gigq.queues import Queues, Serving
from gigq.status import JobStatus
from gigq.store import shortage
from gigq.store.claiming import Claim
from gigq.worker import capture, crew
from gigq.worker.desk import Desk
from gigq.worker.executors.processes import Processes
from gigq.worker.executors.threads import Threads
from gigq.worker.lanes import Lanes
from gigq.worker.loop import Loop
from gigq.worker.signals import stop_on_signals
from gigq.worker.single import Single
from gigq.worker.waker import Waker

if TYPE_CHECKING:
    import sqlite3

    from gigq.store import Store
    from gigq.store.connections import Durability

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
        executor: crew.ExecutorName = "thread",
        async_slots: int = 100,
        kill_grace: float = 2.0,
        max_jobs_per_child: int | None = None,
        max_memory: int | None = None,
        imports: Sequence[str] = (),
        grace: float | None = None,
        max_abandoned: int = 16,
        durability: Durability = "full",
        clock: Clock = SYSTEM,
        max_result: int | None = None,
        queues: Queues | None = None,
    ) -> None:
        """
        Initialize a worker.

        Args:
            db_path: Path to the SQLite database file, or a JobQueue (the way to work on one in memory).
            worker_id: Unique identifier for this worker (auto-generated if not provided).
            polling_interval: How often to check for new jobs, in seconds, where no bell is heard.
            concurrency: How many jobs run at once, each in a thread, or in a child process.
            executor: ``"thread"`` runs jobs in threads of this process. ``"process"`` runs them in child processes,
                which can be ended at any instant: a timeout or a cancel really stops a job, and a crash costs
                nothing but the run that crashed. :meth:`process_one` runs its job in the calling thread in any case.
            async_slots: With child processes: how many ``async def`` functions run at once in each.
            kill_grace: Seconds that a job's process has between SIGTERM and SIGKILL, if the job does not stop when
                it is asked to (a second before).
            max_jobs_per_child: Calls after which a child is replaced by a new one; None for never.
            max_memory: Bytes of resident memory above which a child is ended and replaced; the run in it is charged
                as a crash. None for no limit.
            imports: Modules that each child imports before its first job.
            grace: Seconds that a first SIGINT or SIGTERM leaves to what is running; None is as long as it takes.
            max_abandoned: With threads: how many may hang in runs that were given up (see :attr:`abandoned`). With
                more of them the worker claims nothing more, finishes what runs well, and :meth:`start` raises.
            durability: As for JobQueue.
            clock: Where the time is read; for tests.
            max_result: Bytes of JSON that a result may take; None is the queue's where one is given, else 16 MB.
            queues: The queues whose jobs it runs. A list is served in its order: ``["mail", "*"]`` takes from another
                queue only what ``mail`` has no job for; ``"*"`` stands for all that are not named. A dictionary gives
                weights: with ``{"mail": 3, "*": 1}`` three of four jobs are from ``mail`` while both have some. None
                serves all queues as if they were one: by priority, then in the order of submission.

        Raises:
            InvalidJob: An argument cannot be accepted.
            StoreError: The database cannot be opened.
        """
        if not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidJob(f"concurrency: a whole number of at least 1, not {concurrency!r}")
        if not isinstance(polling_interval, int | float) or not 0 < polling_interval < 1e6:
            raise InvalidJob(f"polling_interval: seconds above 0, not {polling_interval!r}")
        if grace is not None and not (isinstance(grace, int | float) and grace >= 0):
            raise InvalidJob(f"grace: seconds from 0 up, or None for as long as it takes, not {grace!r}")
        if isinstance(max_abandoned, bool) or not isinstance(max_abandoned, int) or max_abandoned < 0:
            raise InvalidJob(f"max_abandoned: a whole number from 0 up, not {max_abandoned!r}")
        self._options = crew.Options(
            executor, async_slots, kill_grace, max_jobs_per_child, max_memory, tuple(imports)
        )
        self._options.check()
        if executor == "process" and self._is_extended():
            raise InvalidJob(
                f"executor: {type(self).__name__} overrides {', '.join(_SEAMS)} or one of them, which works in this "
                "process only; use executor='thread'"
            )
        serving = Serving(queues)
        if max_result is not None:
            codec.known_limit(max_result, "max_result")
        if isinstance(db_path, JobQueue):
            self._queue = db_path
        elif db_path == ":memory:":
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
        self._grace = grace
        self._waker: Waker | None = None
        self._stop_by: float | None = None
        self._told_stopping = self._told_to_stop = False
        self._clogged_by = 0
        self._max_abandoned = max_abandoned
        self.max_result = self._queue.max_result if max_result is None else max_result
        self._desk = Desk(self._queue, self.worker_id, self._load, self.max_result, serving)
        self._single = Single(self._desk, self, self.worker_id, self._clock)

    # -- the reference -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker process.

        Blocks until :meth:`stop` is called or, on the main thread, SIGINT or SIGTERM comes. Then what is running
        is finished, however long it takes, and what has not started goes back; a second signal ends it at once.

        Raises:
            StoreError: The database cannot be opened, or was replaced while the worker ran.
            WorkerFailed: It cannot go on: children do not start, or something could not be given back in time.
            TooManyAbandoned: More than ``max_abandoned`` threads hang, and only the end of the process is the end of
                these.
        """
        callables.end_load()
        if self.running:
            raise GigQError(f"worker {self.worker_id} is running already")
        self.running = True
        self._stop_by = None
        self._told_stopping = self._desk.is_stopping = self._told_to_stop = False
        self._clogged_by = 0
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
        # Called by the signal handlers too, so it neither logs nor takes a lock.
        by = None if grace is None else time.monotonic() + grace
        if self.running or self._stop_by is None or (by is not None and by < self._stop_by):
            self._stop_by = by  # said twice, the earlier end counts
        self._told_to_stop = True
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
        upkeep = self._desk.upkeep()
        upkeep.announce(upkeep.rescue.dead_workers(self._desk.seat().number))
        upkeep.look_after_imports()
        upkeep.fire_schedules()
        return self._single.process_next(own_claim=self._owns_claim)

    def close(self) -> None:
        """Give up the worker's place and close this thread's connection; the next call takes a new one."""
        self._desk.leave()
        self._queue.close()

    @property
    def current_job_id(self) -> str | None:
        """The job that this thread is processing; in other threads, one of those that are running."""
        return self._single.job_id or (self._loop.job_id if self._loop else None)

    @property
    def abandoned(self) -> int:
        """How many threads go on with runs that were given up: past their timeout, and deaf to being asked to stop."""
        return self._single.abandoned + sum(threads.abandoned for threads in self._threads)

    on_turn: Callable[[bool], None] | None = None
    """Called at each turn of :meth:`start`, at least once a second, with whether the worker was told to stop: the pulse
    for whoever supervises it. It must neither wait nor raise."""

    _loop: Loop | None = None
    _threads: Sequence[Threads] = ()
    """Those of the last :meth:`start`, and of earlier ones where threads still hang."""

    # -- the seams ---------------------------------------------------------------------------------------------

    def _get_connection(self) -> sqlite3.Connection:
        """Gets a connection to the SQLite database with appropriate settings."""
        if not self._owns_claim:
            return self._queue._get_connection()
        from gigq.store.extension import claiming_connection

        return claiming_connection(self._queue._store.engine, self._desk.seat().number, self._desk.serving)

    def _import_function(self, module_name: str, function_name: str) -> Callable[..., Any]:
        """Dynamically imports a function from a module."""
        return callables.load(module_name, function_name)

    def _claim_job(self) -> dict[str, Any] | None:
        """Attempts to claim a job from the queue using an exclusive transaction.

        Returns:
            The job as ``get_status`` shows it, without ``exists`` and ``executions`` and with ``execution_id``; or
            None.
        """
        store, now = self._queue._store, self._clock.now()
        serving = self._desk.serving
        if not store.peek(serving).has_work(now):
            return None
        what = Claim(self._desk.seat().number, 1, serving, self._desk.missing)
        claimed = store.exchange([], what, now).claimed
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
        self._single.complete(job_id, execution_id, status, result, error)

    def _check_for_timeouts(self) -> int:
        """Checks for jobs that have timed out and marks them accordingly; how many there were."""
        upkeep = self._desk.upkeep()
        settled = upkeep.rescue.overdue(None, grace=0, looked_after=self._single.leases())
        upkeep.announce(settled)
        return len(settled)

    # -- the loop ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        store, seat = self._queue._store, self._desk.seat()
        try:
            waker = self._waker = Waker()
        except OSError as error:
            if short := shortage.of_descriptors(store.engine.name, error):
                raise short from error
            raise
        try:
            executor, lanes = self._crew(store, waker)
        except BaseException:
            self._waker = None
            waker.close()
            raise
        loop = self._loop = Loop(
            store,
            seat,
            executor,
            lanes,
            self._desk.upkeep(),
            waker,
            clock=self._clock,
            polling_interval=self.polling_interval,
            should_stop=self._grace_left,
            on_missing=self._desk.tell_missing,
            missing=self._desk.missing,
            beside=executor.isolates and store.engine.serves_any_thread,
        )
        try:
            with capture.capturing():
                all_given_back = loop.run()
        finally:
            self._waker = self._loop = None
            waker.close()
            store.engine.sidecar.gate.leave_line()  # the queue's own store may be another by now
            executor.close()
        if isinstance(executor, Threads):
            if executor.gave_up or not all_given_back:
                self._end_process(0 if all_given_back else 1)
            if self._clogged_by and not self._told_to_stop:
                raise TooManyAbandoned(
                    f"worker {self.worker_id}: {self._clogged_by} threads hang in runs that were given up, more than "
                    f"max_abandoned={self._max_abandoned}. What ran well was finished, the rest given back. End this "
                    "process to be rid of them; executor='process' can stop such jobs."
                )
        elif not all_given_back:
            raise WorkerFailed(
                f"worker {self.worker_id}: the database could not be written before the grace ended. Its jobs were "
                "stopped, and another worker will take them back, uncharged."
            )

    def _crew(self, store: Store, waker: Waker) -> tuple[Processes | Threads, Lanes]:
        """What runs the jobs, and what there is room for; both wake the loop, and so does the bell."""
        waker.listen(store.engine.sidecar.watch(waker.ring), store.engine.changes())
        self._desk.wake = waker.wake
        if self._options.executor == "process":
            processes, lanes = crew.processes(self._desk, self.concurrency, self._options)
            waker.watch(processes.fileno())
            return processes, lanes
        threads, lanes = crew.threads(self._desk, self.concurrency, waker.wake)
        self._threads = [*(old for old in self._threads if old.abandoned), threads]
        return threads, lanes

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
                self._end_process(0 if self._single.give_up() else 1)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    _failure: BaseException | None = None
    """What ended a thread that works through seams, and with it the worker."""

    def _work_one_by_one(self) -> None:
        try:
            while self.running:
                try:
                    self._work_once()
                except StoreReplaced:
                    raise
                except StoreError as error:  # it is held, and tried again
                    log.worker_waits_for_store(self.worker_id, error)
                    time.sleep(min(1.0, self.polling_interval))
        except BaseException as error:  # noqa: BLE001 - told by start(), in the caller's thread
            self._failure = error
            self.running = False
        finally:
            self._queue.close()

    def _work_once(self) -> None:
        upkeep = self._desk.upkeep()
        if upkeep.is_due():
            upkeep.run_once(self._desk.seat().number)
        if not self._single.process_next(own_claim=self._owns_claim):
            self._pause()

    def _pause(self) -> None:
        if self.db_path == ":memory:":  # one connection, whose own commits change no version
            time.sleep(min(0.05, self.polling_interval, self._desk.upkeep().seconds_left()))
            return
        until = time.monotonic() + min(self.polling_interval, self._desk.upkeep().seconds_left())
        version = self._queue._store.engine.data_version()
        while (
            self.running and time.monotonic() < until and self._queue._store.engine.data_version() == version
        ):
            time.sleep(min(0.05, self.polling_interval))

    def _grace_left(self) -> float | None:
        if self.running and self._threads and (hanging := self.abandoned) > self._max_abandoned:
            log.worker_clogged(self.worker_id, hanging)
            self._clogged_by = hanging
            self.running = False
        goes_on = self.running  # asked first: a signal amid on_turn is for the next turn, which tells of it
        if self.on_turn is not None:
            self.on_turn(self._told_to_stop)
        if goes_on:
            return None
        if not self._told_stopping:
            self._told_stopping = True
            log.worker_stopping(self.worker_id)
        return float("inf") if self._stop_by is None else self._stop_by - time.monotonic()

    def _on_signal(self, times: int) -> None:
        """The first one asks; the second ends it."""
        self.stop(0 if times > 1 else self._grace)

    def _end_process(self, code: int) -> None:
        """Threads cannot be stopped: what was given back must not go on here."""
        log.worker_stopped(self.worker_id)
        self.close()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    def _is_extended(self) -> bool:
        return any(getattr(type(self), seam) is not getattr(Worker, seam) for seam in _SEAMS)

    @property
    def _owns_claim(self) -> bool:
        return type(self)._claim_job is not Worker._claim_job

    def _load(self, module: str, name: str, script: str | None) -> Callable[..., Any]:
        # The seam knows module and name only: for another script's function it would find this one's.
        if script is not None and not (self._imports_by_itself and callables.is_own_main(script)):
            return callables.load(module, name, script)
        return self._import_function(module, name)

    @property
    def _imports_by_itself(self) -> bool:
        return type(self)._import_function is not Worker._import_function
