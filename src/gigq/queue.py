"""JobQueue: the client."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gigq import callables, codec, explain, finding, log, posting
from gigq.clock import SYSTEM, Clock
from gigq.controls import QueueControls, by_status
from gigq.errors import InvalidJob
from gigq.finding import Finding
from gigq.job import Job
from gigq.retention import Keeping
from gigq.scheduling import Scheduling
from gigq.status import JobStatus
from gigq.submitted import SubmittedWorkflow

if TYPE_CHECKING:
    import sqlite3

    from gigq.newjob import NewJob
    from gigq.store import Store
    from gigq.store.connections import Durability
    from gigq.store.rows import NewWorkflow


class JobQueue(QueueControls, Scheduling, Finding, Keeping):
    """
    Manages a queue of jobs using SQLite as a backend.

    May be shared by threads. Subclasses may override ``_get_connection`` and ``_initialize_db``, and need not call
    ``__init__``: nothing here relies on what it sets but ``db_path`` where the connection is the default one.
    """

    db_path: str
    durability: Durability = "full"
    clock: Clock = SYSTEM
    max_params: int = codec.MAX_PARAMS
    max_result: int = codec.MAX_RESULT
    _initialize = True
    _opened: Store | None = None

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        initialize: bool = True,
        *,
        durability: Durability = "full",
        clock: Clock = SYSTEM,
        max_params: int = codec.MAX_PARAMS,
        max_result: int = codec.MAX_RESULT,
    ) -> None:
        """
        Initialize the job queue.

        Args:
            db_path: Path to the SQLite database file, or ``":memory:"`` for a queue of its own in this process.
            initialize: Whether to initialize the database if it doesn't exist. False neither creates nor migrates.
            durability: ``"full"`` survives a power cut; ``"normal"`` survives any crash of a process, while a
                power cut may take back the last moments.
            clock: Where the time is read; for tests.
            max_params: Bytes of JSON that a submitted job's params may take, at most 500 MB.
            max_result: Bytes of JSON that a result may take, for workers that are given this queue.

        Raises:
            StoreError: the database cannot be opened; the message names it and the way out.
            InvalidJob: an option has a value that does not exist.
        """
        self.db_path = _absolute(db_path)
        self.durability = _known_durability(durability)
        self.clock = clock
        self.max_params = codec.known_limit(max_params, "max_params")
        self.max_result = codec.known_limit(max_result, "max_result")
        self._initialize = initialize
        if initialize and not callables.loading_script():
            self._initialize_db()

    def submit(self, job: Job, *, connection: sqlite3.Connection | None = None) -> str:
        """
        Submit a job to the queue.

        Args:
            job: The job to submit.
            connection: Of your own, to the file of this queue: the job becomes a part of the transaction on it, and is
                in the queue when you commit that.

        Returns:
            The ID of the submitted job. If that is unique, and another job has its key, the ID of the other.

        Raises:
            InvalidJob: The job cannot be accepted (DuplicateJob, UnknownParent and InvalidValue are kinds of it), or
                the connection is to another file, or in no transaction.
            StoreError: It could not be stored. Either way nothing was written.
        """
        callables.end_load()
        _, met = self._post([job], connection)
        if job.id in met:
            log.not_submitted(job.name, met[job.id])
            return met[job.id]
        log.submitted(job.id, job.name)
        return job.id

    def _post(
        self,
        jobs: list[Job],
        connection: sqlite3.Connection | None,
        workflow: NewWorkflow | None = None,
    ) -> tuple[list[NewJob], dict[str, str]]:
        """What was to be inserted, and of that the id of a job that was not -> id of the one that has its unique key."""
        now = self.clock.now()
        rows = posting.rows(jobs, self.max_params, now)
        if not rows:
            return rows, {}
        if connection is None:
            return rows, self._store.submit(rows, now, workflow)
        return rows, self._store.submit_within(connection, rows, now, workflow)

    def submit_many(self, jobs: Iterable[Job], *, connection: sqlite3.Connection | None = None) -> list[str]:
        """
        Submit jobs in one transaction: all of them, or none.

        They may depend on each other, in any order.

        Args:
            jobs: The jobs, claimed in this order among equal priorities.
            connection: As for :meth:`submit`.

        Returns:
            Their IDs, in the same order. A unique job that meets another with its key has the ID of that, or, with
            ``on_conflict="skip"``, none. What depends on it depends on that other.

        Raises:
            InvalidJob: One of them cannot be accepted, or they wait for each other in a circle.
            StoreError: They could not be stored. Either way nothing was written.
        """
        return self._submit_many(list(jobs), connection, None)

    def _submit_many(
        self, submitted: list[Job], connection: sqlite3.Connection | None, workflow: NewWorkflow | None
    ) -> list[str]:
        callables.end_load()
        rows, met = self._post(submitted, connection, workflow)
        if len(submitted) == 1 and not met:
            log.submitted(submitted[0].id, submitted[0].name)
        else:
            log.submitted_many(len(submitted) - len(met))
        if not met:
            return [job.id for job in submitted]
        log.not_submitted_many(len(met))
        skipped = {
            row.id for row in rows if row.id in met and row.unique and row.unique.on_conflict == "skip"
        }
        return [met.get(job.id, job.id) for job in submitted if job.id not in skipped]

    def cancel(self, job_id: str, *, running: bool = False) -> bool:
        """
        Cancel a pending job.

        Args:
            job_id: The ID of the job to cancel.
            running: Stop it too if it is running: its worker is told, and stops it (in a child process by force if
                it must; in a thread it can only be asked). It settles as cancelled when it has stopped, or as
                completed if its function returns normally first.

        Returns:
            True if the job was cancelled, False if it couldn't be cancelled.
            With ``running`` True too if it was running and has been asked to stop.
        """
        now = self.clock.now()
        if self._store.cancel(job_id, now):
            log.cancelled(job_id)
            return True
        if running and self._store.ask_to_stop(job_id, now):
            log.asked_to_stop(job_id)
            return True
        log.not_cancelled(job_id)
        return False

    def get_status(self, job_id: str) -> dict[str, Any]:
        """
        Get the current status of a job.

        Args:
            job_id: The ID of the job to check.

        Returns:
            A dictionary containing the job's status and related information; ``{"exists": False}`` for an
            unknown one. Times are ISO 8601 in UTC, durations seconds, ``executions`` its runs, oldest first, each
            with its ``output`` (what it printed and logged, the newest 256 KiB; "" for nothing). ``progress`` is
            None, or a dictionary of ``run done total message updated_at``.
        """
        found = self._store.record(job_id)
        if found is None:
            return {"exists": False}
        record, executions = found
        output: dict[int, list[str]] = {}
        for part in self._store.output(job_id):
            output.setdefault(part.run, []).append(part.text)
        for execution in executions:
            execution["result"] = codec.decode(execution["result"])
            execution["output"] = "".join(output.get(execution["run"], ()))
        return {"exists": True, **finding.shown(record), "executions": executions}

    def explain(self, job_id: str) -> explain.Explanation:
        """
        Say why a job is not running, or how it ended, and what to do about it.

        Args:
            job_id: The ID of the job.

        Returns:
            Sentences (``str()`` has all of them) and the facts behind them; an unknown job is explained too.
        """
        now = self.clock.now()
        return explain.explain(job_id, self._store.explained(job_id, now), now, self._name)

    def get_result(self, job_id: str) -> Any | None:
        """
        Get the result value for a job.

        This returns the deserialized result for a completed job,
        or None if the job exists but is not yet completed or has
        no stored result. A KeyError is raised if the job does not exist.
        """
        found = self._store.result(job_id)
        if found is None:
            raise KeyError(f"Job {job_id} is not in {self._name}")
        status, text = found
        return codec.decode(text) if status == JobStatus.COMPLETED.value else None

    def stats(self) -> dict[str, int]:
        """
        Count the jobs by status.

        Returns:
            Every status, and ``total``; the cost does not depend on how many jobs there are.
        """
        return by_status(self._store.stats())

    def clear_completed(self, before_timestamp: str | None = None) -> int:
        """
        Clear completed jobs from the queue.

        Cancelled jobs go too. A job that others which have not completed depend on is spared.

        Args:
            before_timestamp: Only clear jobs completed before this timestamp (ISO 8601; local time without offset).

        Returns:
            Number of jobs cleared.

        Raises:
            ValueError: It is not a timestamp.
        """
        before = None
        if before_timestamp is not None:
            before = posting.moment(before_timestamp, "before_timestamp")
        return self._store.clear(before, self.clock.now())

    def requeue_job(self, job_id: str) -> bool:
        """
        Requeue a failed job, resetting its attempts.

        Failed, timed-out and cancelled jobs can be requeued; jobs that were cancelled for its sake come back too.

        Args:
            job_id: The ID of the job to requeue.

        Returns:
            True if the job was requeued, False if not.
        """
        refusal = self._store.requeue(job_id, self.clock.now())
        if refusal is not None:
            log.not_requeued(job_id, refusal)
            return False
        log.requeued(job_id)
        return True

    def workflow(self, workflow_id: str) -> SubmittedWorkflow:
        """
        Find a workflow that was submitted.

        Args:
            workflow_id: ``Workflow.id``; also ``workflow`` in what ``get_status`` says of one of its jobs.

        Raises:
            KeyError: There is none with this id, or all its jobs were cleared.
        """
        row = self._store.workflow(workflow_id)
        if row is None:
            raise KeyError(f"Workflow {workflow_id} is not in {self._name}")
        return SubmittedWorkflow(self, row)

    def workflows(self, limit: int = 100) -> list[SubmittedWorkflow]:
        """
        List workflows in the queue.

        Args:
            limit: Maximum number of workflows to return.

        Returns:
            Those of which a job is left, newest first.

        Raises:
            ValueError: The limit is negative.
        """
        if not isinstance(limit, int) or limit < 0:
            raise InvalidJob(f"limit: a whole number from 0 up, not {limit!r}")
        return [SubmittedWorkflow(self, row) for row in self._store.workflows(limit)]

    def close(self) -> None:
        """Close this thread's connection; the next call opens it anew."""
        if self._name != ":memory:":
            from gigq.store.connections import close_connection

            close_connection(self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @property
    def _name(self) -> str:
        """How messages call this queue: the path of its file."""
        return getattr(self, "db_path", "") or self._store.engine.name

    @property
    def _store(self) -> Store:
        """Made from *how to get a connection*, at the first use: subclasses decide where the jobs live."""
        callables.end_load()  # a script that is only loaded touches no file
        store = self._opened
        if store is None or store.engine.orphaned:
            store = self._opened = self._open()
        return store

    def _open(self) -> Store:
        from gigq import store

        if type(self)._get_connection is not JobQueue._get_connection:
            return store.open_store(self._get_connection, self.durability)
        if self.db_path == ":memory:":
            return store.open_memory()
        return store.open_file(self.db_path, self.durability, create=self._initialize)

    def _initialize_db(self) -> None:
        """Creates the necessary database tables if they don't exist."""
        self._store.initialize()

    def _get_connection(self) -> sqlite3.Connection:
        """Gets a connection to the SQLite database with appropriate settings."""
        if self.db_path == ":memory:":
            return self._store.engine.connection()
        from gigq.store.connections import thread_connection

        connection = thread_connection(self.db_path, self.durability, create=self._initialize)
        connection.lent = True
        return connection


def _absolute(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\x00" in text:
        raise InvalidJob(f"db_path: a path is needed, not {path!r}")
    if text.startswith(("postgresql://", "postgres://")):
        raise InvalidJob(
            "db_path: this version of gigq works on SQLite files only; PostgreSQL is not there yet"
        )
    return text if text == ":memory:" else os.path.abspath(text)


def _known_durability(durability: Durability) -> Durability:
    if durability not in ("full", "normal"):
        raise InvalidJob(f"durability: 'full' or 'normal', not {durability!r}")
    return durability
