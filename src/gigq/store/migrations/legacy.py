"""Files of gigq 0.1 to 0.5.1: recognise them, and take their jobs over.

Their times are naive local ones, read here in the zone of this process. No job changes its state. Their tables had
no types to speak of, so whatever a column holds is made into what it meant to those releases.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

from gigq.clock import SECOND, from_iso

_OURS = frozenset(
    {"id", "name", "function_name", "function_module", "params", "status", "created_at", "dependencies"}
)
_JOBS, _RUNS = "gigq_old_jobs", "gigq_old_executions"
_TIMEOUT = 300 * SECOND
"""Microseconds: what 0 and NULL meant there, and the way out for what can only be a mistake."""
_ATTEMPTS = 3
_LARGEST = 2**62
_STATES = frozenset({"pending", "running", "completed", "failed", "cancelled", "timeout"})
_BADLY = ("failed", "timeout", "cancelled")

Row = dict[str, Any]


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
    factory = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        _copy(connection)
    finally:
        connection.text_factory = factory
    connection.execute(
        "INSERT INTO counts (queue, status, n) SELECT queue, status, count(*) FROM job GROUP BY queue, status"
    )
    for table in (_RUNS, _JOBS):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _copy(connection: sqlite3.Connection) -> None:
    listed = list(_rows(connection, f"SELECT rowid AS row_number, id, status FROM {_JOBS} ORDER BY rowid"))
    numbers = {_id(job): seq for seq, job in enumerate(listed, start=1)}
    states = {_id(job): _status(job) for job in listed}
    has_runs = bool(_columns(connection, _RUNS))
    if has_runs:  # dropped with its table
        connection.execute(f"CREATE INDEX gigq_old_runs ON {_RUNS} (job_id)")
    for job in _rows(connection, f"SELECT rowid AS row_number, * FROM {_JOBS} ORDER BY rowid"):
        find_runs = f"SELECT * FROM {_RUNS} WHERE job_id = ? ORDER BY started_at, rowid"
        runs = list(_rows(connection, find_runs, job["id"])) if has_runs else []
        _take_job(connection, numbers[_id(job)], job, states, runs)
        _take_edges(connection, numbers[_id(job)], _dependencies(job), numbers)


def _rows(connection: sqlite3.Connection, text: str, *values: Any) -> Iterator[Row]:
    cursor = connection.execute(text, values)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _take_job(
    connection: sqlite3.Connection, seq: int, job: Row, states: dict[str, str], runs: list[Row]
) -> None:
    parents = _dependencies(job)
    status = _status(job)
    running = status == "running"
    lease = next((run for run in reversed(runs) if run["status"] == "running"), None) if running else None
    ended = [run for run in runs if run is not lease]
    attempts = max(0, math.floor(_bounded(job.get("attempts"), 0)))
    waits_for_bad = status == "pending" and any(states.get(parent) in _BADLY for parent in parents)
    values = {
        "seq": seq,
        "id": _id(job),
        "status": status,
        "priority": _priority(job.get("priority")),
        "parents_left": sum(states.get(parent, "completed") != "completed" for parent in parents),
        "due_at": _moment(job.get("retry_after")) if status == "pending" else None,
        "attempts": attempts - 1 if running and attempts else attempts,
        "runs": len(ended),
        "execution_id": _text(lease["id"]) if lease else None,
        "worker": _take_worker(connection, seq, job) if running else None,
        "name": _text(job["name"]),
        "function_module": _text(job["function_module"]),
        "function_name": _text(job["function_name"]),
        "parents": len(parents),
        "on_parent_failure": "wait" if waits_for_bad else "cancel",
        "pass_parent_results": job.get("pass_parent_results")
        if job.get("pass_parent_results") in (0, 1)
        else None,
        "max_attempts": _max_attempts(job.get("max_attempts")),
        "timeout": _timeout(job.get("timeout")),
        "retry_delay": max(0, _microseconds(_number(job.get("retry_delay"), 0))),
        "description": _text(job.get("description")),
        "created_at": _moment(job["created_at"]) or 0,
        "updated_at": _moment(job.get("updated_at")) or _moment(job["created_at"]) or 0,
        "started_at": _moment(job.get("started_at")),
        "completed_at": _ended(job, status),
        "result": _text(job.get("result")),
        "error": _text(job.get("error")) if job["status"] == status else f"its status was {job['status']!r}",
    }
    values["execution_id"] = values["execution_id"] or f"taken-over-{values['id']}"
    connection.execute(
        f"INSERT INTO job ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})", values
    )
    connection.execute(
        "INSERT INTO params (seq, body) VALUES (?, ?)", (seq, _text(job.get("params")) or "{}")
    )
    for number, run in enumerate(ended, start=1):
        _take_run(connection, seq, number, run)


def _take_worker(connection: sqlite3.Connection, seq: int, job: Row) -> int | None:
    """The number under which the worker of a running job is still called by its name; it has no seat here."""
    if not (name := _text(job.get("worker_id"))):
        return None
    connection.execute(
        """
        INSERT INTO worker (number, worker_id, pid, host, boot, sidecar, started_at, ended_at)
        VALUES (?, ?, 0, '', '', '', 0, 0)
        """,
        (-seq, name),
    )
    return -seq


def _take_run(connection: sqlite3.Connection, seq: int, number: int, run: Row) -> None:
    # A run left open behind a job that has moved on was overtaken: those releases let two run at once.
    status = "superseded" if run["status"] == "running" else _text(run["status"])
    connection.execute(
        """
        INSERT INTO execution (job, run, id, worker_id, status, started_at, completed_at, result, error)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            seq,
            number,
            _text(run["id"]) or f"taken-over-{seq}-{number}",
            _text(run.get("worker_id")),
            status,
            _moment(run.get("started_at")),
            _moment(run.get("completed_at")),
            _text(run.get("result")),
            _text(run.get("error")),
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


# -- what a column meant -------------------------------------------------------------------------------------------


def _id(job: Row) -> str:
    return _text(job["id"]) or f"unnamed-{job['row_number']}"


def _status(job: Row) -> str:
    return str(job["status"]) if job["status"] in _STATES else "failed"


def _dependencies(job: Row) -> list[str]:
    """Without doubles. What is not a list of ids bound nobody there."""
    try:
        found = json.loads(_text(job.get("dependencies")) or "[]")
    except ValueError:
        return []
    return list(dict.fromkeys(str(parent) for parent in found)) if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any, default: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return default if math.isnan(number) else number


def _bounded(value: Any, default: float) -> float:
    return min(max(_number(value, default), -_LARGEST), _LARGEST)


def _priority(value: Any) -> int:
    """Those releases took fractions too; to round down keeps most of their order."""
    return value if isinstance(value, int) else math.floor(_bounded(value, 0))


def _max_attempts(value: Any) -> int:
    """A job was always started once, and again while its attempts were fewer than this."""
    return max(1, math.ceil(_bounded(value, _ATTEMPTS)))


def _timeout(value: Any) -> int | None:
    """Microseconds; None, for no limit, where it was infinite."""
    seconds = _number(value, 0)
    if math.isinf(seconds) and seconds > 0:
        return None
    return max(1, _microseconds(seconds)) if seconds > 0 else _TIMEOUT


def _microseconds(seconds: float) -> int:
    return round(min(max(seconds * SECOND, -_LARGEST), _LARGEST))


def _ended(job: Row, status: str) -> int | None:
    """When it ended; those releases left that out for cancelled and timed-out jobs."""
    if status in ("pending", "running"):
        return None
    return (
        _moment(job.get("completed_at")) or _moment(job.get("updated_at")) or _moment(job["created_at"]) or 0
    )


def _moment(text: Any) -> int | None:
    """Microseconds UTC of a naive local ISO text; None for nothing, or for what is not a time."""
    try:
        return from_iso(text) if text else None
    except (TypeError, ValueError, OverflowError):
        return None
