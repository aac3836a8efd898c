"""What takes gigq 0.5.1 too long to submit, written into its tables; they must be there."""

from __future__ import annotations

import sqlite3

_JOBS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO jobs (id, name, function_module, function_name, params, dependencies, status, created_at, updated_at,
    attempts, max_attempts, timeout, description)
SELECT printf('%s-%08d', :status, i), 'tick', 'benchmarks.jobs', 'tick', '{"n": 1}', '[]', :status,
    printf('2026-01-%02dT%02d:%02d:%02d', 1 + i / 86400, i / 3600 % 24, i / 60 % 60, i % 60),
    '2026-01-31T00:00:00', :status != 'pending', 3, 300, '' FROM n
"""


def of_every_status(path: str, spread: dict[str, int]) -> None:
    """Status -> how many jobs, the first ones oldest."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    for status, count in spread.items():
        connection.execute(_JOBS, {"status": status, "count": count})
    connection.execute("COMMIT")
    connection.close()


def waiting(path: str, count: int) -> None:
    """Jobs that wait."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(_JOBS, {"status": "pending", "count": count})
    connection.close()
