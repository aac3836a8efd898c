"""The connection that somebody's own ``_claim_job`` speaks SQL on.

The tables of gigq 0.5.1 are views here, which cannot be written. For a worker that brings its own claim, TEMP views
of the same names show only ready jobs as pending, and TEMP triggers turn the UPDATE and the INSERT of that release
into a claim under a lease.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading

from gigq.lease import START_WITHIN
from gigq.queues import EVERYTHING, Serving
from gigq.store.sqlite import Sqlite

_claiming = threading.local()
"""The connection of the claim under way in this thread."""

_NOW = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_COST = "coalesce(json_extract(j.costs, '$[' || m.place || ']'), 1)"

_SETUP = (
    "CREATE TEMP TABLE IF NOT EXISTS gigq_claimer (number INTEGER NOT NULL, serves_others INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS gigq_served (name TEXT NOT NULL)",
    # Jobs with a limit that has no room for them now; what rooms.Room says, for those who claim in SQL.
    f"""
    CREATE TEMP VIEW IF NOT EXISTS gigq_full AS SELECT j.seq AS seq
    FROM job AS j CROSS JOIN limit_member AS m ON m.line = j.line CROSS JOIN limit_key AS k ON k.number = m.key
    WHERE k.backs_off_until > {_NOW} OR min({_COST}, k.concurrency) + (
        SELECT coalesce(sum(min(o.cost, k.concurrency)), 0) FROM holding AS o CROSS JOIN job AS h ON h.seq = o.job
        WHERE o.key = k.number AND +h.status = 'running'
    ) > k.concurrency OR min({_COST}, k.amount) + (
        SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s WHERE s.key = k.number AND s.at > {_NOW} - k.per
    ) > k.amount
    """,
    """
    CREATE TEMP VIEW IF NOT EXISTS jobs AS SELECT * FROM main.jobs AS v
    WHERE status != 'pending' OR (
        parents_left = 0 AND retry_after IS NULL AND held_by IS NULL
        AND coalesce(min(expires_at, deadline_at), expires_at, deadline_at, '9')
            > strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')
        AND ((SELECT serves_others FROM gigq_claimer) OR queue IN (SELECT name FROM gigq_served))
        AND NOT EXISTS (
            SELECT 1 FROM main.queue AS s WHERE s.name = v.queue AND (s.paused_at IS NOT NULL
                OR s.concurrency <= (SELECT n FROM counts AS c WHERE c.queue = s.name AND c.status = 'running'))
        )
        AND NOT EXISTS (SELECT 1 FROM gigq_full AS f WHERE f.seq = v.seq)
    )
    """,
    "CREATE TEMP VIEW IF NOT EXISTS job_executions AS SELECT * FROM main.job_executions",
    f"""
    CREATE TEMP TRIGGER IF NOT EXISTS gigq_claim INSTEAD OF UPDATE ON jobs
    BEGIN
        SELECT RAISE(ABORT, 'gigq: SQL may only claim a pending job here (status to running); the rest is read-only')
        WHERE NOT (OLD.status = 'pending' AND NEW.status = 'running');
        INSERT INTO counts (queue, status, n)
            SELECT OLD.queue, 'pending', -1 UNION ALL SELECT OLD.queue, 'running', 1 WHERE true
            ON CONFLICT (queue, status) DO UPDATE SET n = n + excluded.n;
        UPDATE job SET status = 'running', ends_at = NULL, worker = (SELECT number FROM gigq_claimer),
            execution_id = lower(hex(randomblob(16))),
            started_at = {_NOW}, updated_at = {_NOW}
        WHERE seq = OLD.seq AND status = 'pending';
        DELETE FROM admitted WHERE job = OLD.seq AND key IN (
            SELECT m.key FROM job AS j CROSS JOIN limit_member AS m ON m.line = j.line WHERE j.seq = OLD.seq
        );
        INSERT OR REPLACE INTO holding (key, job, cost)
            SELECT m.key, j.seq, {_COST} FROM job AS j CROSS JOIN limit_member AS m ON m.line = j.line
            WHERE j.seq = OLD.seq;
        INSERT OR REPLACE INTO limit_start (key, at, job, cost)
            SELECT m.key, j.started_at + {START_WITHIN}, j.seq, min({_COST}, k.amount)
            FROM job AS j CROSS JOIN limit_member AS m ON m.line = j.line CROSS JOIN limit_key AS k ON k.number = m.key
            WHERE j.seq = OLD.seq AND k.amount IS NOT NULL;
        UPDATE limit_key SET used = (SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s WHERE s.key = number),
            opens_at = 0
            WHERE number IN (SELECT m.key FROM job AS j CROSS JOIN limit_member AS m ON m.line = j.line WHERE j.seq = OLD.seq);
    END
    """,
    """
    CREATE TEMP TRIGGER IF NOT EXISTS gigq_lease INSTEAD OF INSERT ON job_executions
    BEGIN
        UPDATE job SET execution_id = NEW.id
        WHERE id = NEW.job_id AND status = 'running' AND worker = (SELECT number FROM gigq_claimer);
    END
    """,
)


def claiming_connection(engine: Sqlite, worker: int, serving: Serving = EVERYTHING) -> sqlite3.Connection:
    """The connection on which a worker's own ``_claim_job`` speaks the SQL of gigq 0.5.1.

    One apart from the queue's, where the store is a file; called under the gate.
    """
    connection = engine.connection(f"claims of {worker}")
    for statement in _SETUP:
        connection.execute(statement)
    connection.execute("DELETE FROM gigq_claimer")
    connection.execute("INSERT INTO gigq_claimer VALUES (?, ?)", (worker, serving.serves_others))
    connection.execute("DELETE FROM gigq_served")
    connection.executemany("INSERT INTO gigq_served VALUES (?)", [(name,) for name in serving.named])
    _claiming.connection = connection
    return connection


def end_claim(engine: Sqlite) -> None:
    """Take back what a claim leaves behind: a transaction, which would shut everybody out, and in memory the views."""
    connection: sqlite3.Connection | None = getattr(_claiming, "connection", None)
    if connection is None:
        return
    _claiming.connection = None
    with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
        if connection.in_transaction:
            connection.rollback()
        if engine.path is None:  # where everybody has the same connection
            for view in ("jobs", "job_executions", "gigq_full"):
                connection.execute(f"DROP VIEW temp.{view}")
