"""Files of gigq 0.1 to 0.5.1: recognise them, and take their jobs over.

Their times are naive local ones, read here in the zone of this process. No job changes its state.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from gigq.clock import from_iso, from_seconds

_OURS = frozenset(
    {"id", "name", "function_name", "function_module", "params", "status", "created_at", "dependencies"}
)
_JOBS, _RUNS = "gigq_old_jobs", "gigq_old_executions"
_TIMEOUT = 300
"""Seconds: what 0 and NULL meant there."""
_BADLY = ("failed", "timeout", "cancelled")


def is_old(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table ``jobs`` as those releases made it."""
    return _columns(connection, "jobs") >= _OURS


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if kind is None or kind[0] != "table":
        return set()
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def set_aside(connection: sqlite3.Connection) -> None:
    """Free the names ``jobs`` and ``job_executions`` for the views."""
    connection.execute("PRAGMA legacy_alter_table = ON")
    connection.execute(f"ALTER TABLE jobs RENAME TO {_JOBS}")
    if _columns(connection, "job_executions"):
        connection.execute(f"ALTER TABLE job_executions RENAME TO {_RUNS}")
    connection.execute("PRAGMA legacy_alter_table = OFF")


def take_over(connection: sqlite3.Connection) -> None:
    """Copy everything into the new tables, and drop the old ones."""
    jobs = _read(connection, f"SELECT * FROM {_JOBS} ORDER BY rowid")
    numbers = {job["id"]: seq for seq, job in enumerate(jobs, start=1)}
    states = {job["id"]: job["status"] for job in jobs}
    runs = _runs(connection)
    for job in jobs:
        _take_job(connection, numbers[job["id"]], job, states, runs.get(job["id"], []))
        _take_edges(connection, numbers[job["id"]], _dependencies(job), numbers)
    connection.execute(
        "INSERT INTO counts (queue, status, n) SELECT queue, status, count(*) FROM job GROUP BY queue, status"
    )
    for table in (_RUNS, _JOBS):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _read(connection: sqlite3.Connection, text: str) -> list[dict[str, Any]]:
    cursor = connection.execute(text)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _runs(connection: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    if not _columns(connection, _RUNS):
        return {}
    by_job: dict[str, list[dict[str, Any]]] = {}
    for run in _read(connection, f"SELECT * FROM {_RUNS} ORDER BY started_at, rowid"):
        by_job.setdefault(run["job_id"], []).append(run)
    return by_job


def _take_job(
    connection: sqlite3.Connection,
    seq: int,
    job: dict[str, Any],
    states: dict[str, str],
    runs: list[dict[str, Any]],
) -> None:
    parents = _dependencies(job)
    running = job["status"] == "running"
    lease = next((run for run in reversed(runs) if run["status"] == "running"), None) if running else None
    ended = [run for run in runs if run is not lease]
    attempts = int(job.get("attempts") or 0)
    waits_for_bad = job["status"] == "pending" and any(states.get(parent) in _BADLY for parent in parents)
    connection.execute(
        """
        INSERT INTO job (seq, id, status, priority, parents_left, due_at, attempts, runs, execution_id, name,
            function_module, function_name, parents, on_parent_failure, pass_parent_results, max_attempts, timeout,
            retry_delay, description, created_at, updated_at, started_at, completed_at, result, error)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            seq,
            job["id"],
            job["status"],
            job.get("priority") or 0,
            sum(states.get(parent, "completed") != "completed" for parent in parents),
            _moment(job.get("retry_after")) if job["status"] == "pending" else None,
            attempts - 1 if running and attempts else attempts,
            len(ended),
            lease["id"] if lease else f"taken-over-{job['id']}",
            job["name"],
            job["function_module"],
            job["function_name"],
            len(parents),
            "wait" if waits_for_bad else "cancel",
            job.get("pass_parent_results"),
            max(1, job.get("max_attempts") or 3),
            from_seconds(float(job.get("timeout") or 0) or _TIMEOUT),
            from_seconds(float(job.get("retry_delay") or 0)),
            job.get("description"),
            _moment(job["created_at"]) or 0,
            _moment(job.get("updated_at")) or _moment(job["created_at"]) or 0,
            _moment(job.get("started_at")),
            _ended(job),
            job.get("result"),
            job.get("error"),
        ),
    )
    connection.execute("INSERT INTO params (seq, body) VALUES (?, ?)", (seq, job.get("params") or "{}"))
    for number, run in enumerate(ended, start=1):
        _take_run(connection, seq, number, run)


def _ended(job: dict[str, Any]) -> int | None:
    """When it ended; those releases left that out for cancelled and timed-out jobs."""
    if job["status"] in ("pending", "running"):
        return None
    return _moment(job.get("completed_at")) or _moment(job.get("updated_at"))


def _take_run(connection: sqlite3.Connection, seq: int, number: int, run: dict[str, Any]) -> None:
    # A run left open behind a job that has moved on was overtaken: those releases let two run at once.
    status = "superseded" if run["status"] == "running" else run["status"]
    connection.execute(
        """
        INSERT INTO execution (job, run, id, worker_id, status, started_at, completed_at, result, error)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            seq,
            number,
            run["id"],
            run.get("worker_id"),
            status,
            _moment(run.get("started_at")),
            _moment(run.get("completed_at")),
            run.get("result"),
            run.get("error"),
        ),
    )


def _take_edges(
    connection: sqlite3.Connection, seq: int, parents: list[str], numbers: dict[str, int]
) -> None:
    for position, parent in enumerate(parents):
        known = numbers.get(parent)
        connection.execute(
            "INSERT INTO dependency (child, position, parent, parent_id) VALUES (?, ?, ?, ?)",
            (seq, position, known, None if known else parent),
        )


def _dependencies(job: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(json.loads(job.get("dependencies") or "[]")))


def _moment(text: str | None) -> int | None:
    """Microseconds UTC of a naive local ISO text; None for nothing, or for what is not a time."""
    if not text:
        return None
    try:
        return from_iso(text)
    except (ValueError, OverflowError):
        return None
