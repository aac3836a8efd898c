"""Subclasses as the reference shows them, to be used by tests in this process and in others."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gigq import Job, JobQueue, JobStatus, Worker


class DataProcessingJob(Job):
    """A specialized job for data processing tasks."""

    def __init__(
        self, name: str, function: Callable[..., Any], input_file: str, output_file: str, **kwargs: Any
    ) -> None:
        params = {"input_file": input_file, "output_file": output_file}
        super().__init__(name, function, params=params, **kwargs)
        self.input_file = input_file
        self.output_file = output_file


class PrioritizedWorker(Worker):
    """A worker that only processes high-priority jobs.

    The SELECT of the reference's example, word for word; the rest follows what gigq 0.5.1 writes.
    """

    def _claim_job(self) -> dict[str, Any] | None:
        """Claim a job from the queue, but only high-priority ones."""
        conn = self._get_connection()
        try:
            conn.execute("BEGIN EXCLUSIVE TRANSACTION")

            cursor = conn.execute(
                """
                SELECT * FROM jobs
                WHERE status = ? AND priority > 50
                ORDER BY priority DESC, created_at ASC
                LIMIT 1
                """,
                (JobStatus.PENDING.value,),
            )
            job = cursor.fetchone()
            if not job:
                conn.rollback()
                return None

            job_id = job["id"]
            now = datetime.now().isoformat()
            conn.execute(
                """
                UPDATE jobs
                SET status = ?, worker_id = ?, started_at = ?, updated_at = ?, attempts = attempts + 1
                WHERE id = ?
                """,
                (JobStatus.RUNNING.value, self.worker_id, now, now, job_id),
            )
            execution_id = str(uuid.uuid4())
            conn.execute(
                """
                INSERT INTO job_executions (id, job_id, worker_id, status, started_at)
                VALUES (?, ?, ?, ?, ?)
                """,
                (execution_id, job_id, self.worker_id, JobStatus.RUNNING.value, now),
            )
            conn.commit()

            cursor = conn.execute("SELECT * FROM jobs WHERE id = ?", (job_id,))
            result = dict(cursor.fetchone())
            if result["params"]:
                result["params"] = json.loads(result["params"])
            if result["dependencies"]:
                result["dependencies"] = json.loads(result["dependencies"])
            result["execution_id"] = execution_id
        except sqlite3.Error:
            conn.rollback()
            raise
        return result


class NarrowingWorker(Worker):
    """The same by looking first and leaving the claim to gigq, which takes the highest priority."""

    def _claim_job(self) -> dict[str, Any] | None:
        conn = self._get_connection()
        conn.execute("BEGIN EXCLUSIVE TRANSACTION")
        found = conn.execute(
            "SELECT 1 FROM jobs WHERE status = ? AND priority > 50 LIMIT 1", (JobStatus.PENDING.value,)
        ).fetchone()
        conn.rollback()
        return super()._claim_job() if found else None


class ConnectionsOfItsOwn(JobQueue):
    """As the reference's PostgresJobQueue: no super().__init__(), and a new connection at each call."""

    def __init__(self, connection_string: str) -> None:
        self.connection_string = connection_string
        self.connected = 0
        self._initialize_db()

    def _get_connection(self) -> sqlite3.Connection:
        self.connected += 1
        return sqlite3.connect(self.connection_string)

    def _initialize_db(self) -> None:
        conn = self._get_connection()
        conn.execute("CREATE TABLE IF NOT EXISTS audit (id TEXT PRIMARY KEY, name TEXT NOT NULL)")
        conn.execute("CREATE INDEX IF NOT EXISTS idx_audit_name ON audit (name)")
        conn.commit()
        conn.close()


class TracingQueue(JobQueue):
    """Both methods overridden, and both call what they override."""

    def __init__(self, db_path: str) -> None:
        self.statements: list[str] = []
        self.db_path = db_path
        self._initialize_db()

    def _get_connection(self) -> sqlite3.Connection:
        connection = super()._get_connection()
        connection.set_trace_callback(self.statements.append)
        return connection

    def _initialize_db(self) -> None:
        super()._initialize_db()
        self._get_connection().execute("CREATE TABLE IF NOT EXISTS audit (id TEXT PRIMARY KEY)")


class CountingWorker(Worker):
    """Overrides what writes the end of a job, and counts."""

    completed: dict[JobStatus, int]

    def _complete_job(
        self,
        job_id: str,
        execution_id: str,
        status: JobStatus,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        super()._complete_job(job_id, execution_id, status, result, error)
        self.completed = {**getattr(self, "completed", {})}
        self.completed[status] = self.completed.get(status, 0) + 1


class SubstitutingWorker(Worker):
    """Overrides the import: every function is found in a table of its own."""

    functions: dict[str, Callable[..., Any]]

    def _import_function(self, module_name: str, function_name: str) -> Callable[..., Any]:
        own = self.functions.get(f"{module_name}.{function_name}")
        return own if own is not None else super()._import_function(module_name, function_name)
