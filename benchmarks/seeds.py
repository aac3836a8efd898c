"""Databases that take too long to make by submitting: filled by SQL, with the tables of the version at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from benchmarks import floor

BACKLOGS = ("waiting", "future", "blocked", "finished")

_JOBS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO job (id, status, name, function_module, function_name, priority, wants_parents, timeout, description,
    created_at, updated_at, due_at, parents, parents_left, attempts, runs, execution_id, worker, started_at,
    completed_at, result)
SELECT printf('%s-%08d', :kind, i), :status, 'tick', 'benchmarks.jobs', 'tick', :priority, 0, 300000000, '',
    :now, :now, CASE WHEN :kind = 'future' THEN :now + 3600000000 END, :kind = 'blocked', :kind = 'blocked',
    :ended, :ended, CASE WHEN :ended THEN printf('%016d-%d', 0, i) END, CASE WHEN :ended THEN 1 END,
    CASE WHEN :ended OR :status = 'running' THEN :now END, CASE WHEN :ended THEN :now END,
    CASE WHEN :status = 'completed' THEN '1' END
FROM n
"""
_PARAMS = """
INSERT INTO params (seq, body) SELECT seq, '{"n":1}' FROM job WHERE seq NOT IN (SELECT seq FROM params)
"""
_RUNS = """
INSERT INTO execution (job, run, id, worker, status, started_at, completed_at)
SELECT seq, 1, execution_id, 1, status, started_at, completed_at FROM job WHERE runs = 1
"""
_EDGES = """
INSERT INTO dependency (child, position, parent)
SELECT seq, 0, (SELECT min(seq) FROM job WHERE id LIKE 'future-%') FROM job WHERE parents = 1
"""
_COUNTS = (
    "INSERT INTO counts (queue, status, n) SELECT queue, status, count(*) FROM job GROUP BY queue, status"
)


def _add(connection: sqlite3.Connection, kind: str, count: int, status: str, priority: int = 0) -> None:
    ended = status not in ("pending", "running")
    connection.execute(
        _JOBS,
        {
            "kind": kind,
            "count": count,
            "status": status,
            "priority": priority,
            "ended": ended,
            "now": floor.now(),
        },
    )


def _finish(connection: sqlite3.Connection) -> None:
    for statement in (_PARAMS, _RUNS, _EDGES, _COUNTS):
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()


def backlog(path: str, kind: str | None, count: int, ready: int = 1_000) -> None:
    """``ready`` jobs that wait, behind ``count`` that are of a kind of BACKLOGS."""
    connection = floor.connect(path, "normal")
    connection.execute("BEGIN IMMEDIATE")
    if kind == "blocked":
        _add(connection, "future", 1, "pending")  # the parent they wait for
    if kind is not None:
        status = "completed" if kind == "finished" else "pending"
        _add(connection, kind, count, status, priority=10 if kind in ("future", "blocked") else 0)
    _add(connection, "ready", ready, "pending")
    _finish(connection)


def of_every_status(path: str, spread: dict[str, int]) -> None:
    """Status -> how many jobs, the first ones oldest."""
    connection = floor.connect(path, "normal")
    connection.execute("BEGIN IMMEDIATE")
    for status, count in spread.items():
        _add(connection, status, count, status)
    _finish(connection)


def shared(folder: str, name: str, make: Callable[[str], None]) -> str:
    """A database beside the folders of the samples, made by whoever comes first. Copy it before writing to it."""
    path = Path(folder).parent / name
    if not path.exists():
        unfinished = f"{path}-unfinished"
        make(unfinished)
        Path(unfinished).rename(path)
    return str(path)
