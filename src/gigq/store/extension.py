"""The connection that somebody's own ``_claim_job`` speaks SQL on.

The tables of gigq 0.5.1 are views here, which cannot be written. For a worker that brings its own claim, TEMP views
of the same names show only ready jobs as pending, and TEMP triggers turn the UPDATE and the INSERT of that release
into a claim under a lease.
"""

from __future__ import annotations

from gigq.store.sqlite import Connection

_SETUP = (
    "CREATE TEMP TABLE gigq_claimer (number INTEGER NOT NULL)",
    """
    CREATE TEMP VIEW jobs AS SELECT * FROM main.jobs
    WHERE status != 'pending' OR (parents_left = 0 AND retry_after IS NULL AND held_by IS NULL)
    """,
    "CREATE TEMP VIEW job_executions AS SELECT * FROM main.job_executions",
    """
    CREATE TEMP TRIGGER gigq_claim INSTEAD OF UPDATE ON jobs
    BEGIN
        SELECT RAISE(ABORT, 'gigq: SQL may only claim a pending job here (status to running); the rest is read-only')
        WHERE NOT (OLD.status = 'pending' AND NEW.status = 'running');
        INSERT INTO counts (queue, status, n)
            SELECT OLD.queue, 'pending', -1 UNION ALL SELECT OLD.queue, 'running', 1 WHERE true
            ON CONFLICT (queue, status) DO UPDATE SET n = n + excluded.n;
        UPDATE job SET status = 'running', worker = (SELECT number FROM gigq_claimer),
            execution_id = lower(hex(randomblob(16))),
            started_at = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER),
            updated_at = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)
        WHERE seq = OLD.seq AND status = 'pending';
    END
    """,
    """
    CREATE TEMP TRIGGER gigq_lease INSTEAD OF INSERT ON job_executions
    BEGIN
        UPDATE job SET execution_id = NEW.id
        WHERE id = NEW.job_id AND status = 'running' AND worker = (SELECT number FROM gigq_claimer);
    END
    """,
)


def prepare_for_claims(connection: Connection, worker: int) -> None:
    """Let the connection claim for a worker, in the SQL of gigq 0.5.1."""
    if connection.claims_for == worker:
        return
    if connection.claims_for is None:
        for statement in _SETUP:
            connection.execute(statement)
    connection.execute("DELETE FROM gigq_claimer")
    connection.execute("INSERT INTO gigq_claimer (number) VALUES (?)", (worker,))
    connection.claims_for = worker
