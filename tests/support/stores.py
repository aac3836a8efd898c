"""Hands on a store: its verbs in short words, and what must hold in it at any time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from clocks import TurnedClock

from gigq.clock import SECOND
from gigq.lease import Lease
from gigq.newjob import NewJob
from gigq.queues import Serving
from gigq.status import End
from gigq.store import Store, open_file, open_memory
from gigq.store.claiming import Claim
from gigq.store.listing import Wanted
from gigq.store.rows import Exchanged, Settlement
from gigq.worker import settling

LEGACY = Path(__file__).parent.parent / "fixtures" / "legacy"

Kind = Literal["file", "memory", "migrated"]
KINDS: tuple[Kind, ...] = ("file", "memory", "migrated")
BAD_ENDS = ("failed", "timeout", "cancelled")


def open_kind(kind: Kind, folder: Path) -> Store:
    """An empty store: a new file, in memory, or the migrated file of an old release."""
    if kind == "memory":
        return open_memory()
    path = folder / f"{kind}.db"
    if kind == "migrated":
        shutil.copyfile(LEGACY / "gigq-0.5.1-empty.db", path)
    return open_file(str(path), "normal", create=True)


def new_job(
    job_id: str,
    parents: list[str] | None = None,
    *,
    priority: int = 0,
    policy: str = "cancel",
    max_attempts: int = 3,
    max_crashes: int = 3,
    retry_delay: float = 0,
    queue: str = "default",
) -> NewJob:
    """A job whose name is its id, so that tests can be read."""
    return NewJob(
        id=job_id,
        queue=queue,
        priority=priority,
        name=job_id,
        module="jobs",
        function="nothing",
        script=None,
        dependencies=list(dict.fromkeys(parents or [])),
        on_parent_failure=policy,
        pass_parent_results=None,
        is_async=None,
        wants_parents=None,
        max_attempts=max_attempts,
        max_crashes=max_crashes,
        timeout=300 * SECOND,
        retry_delay=round(retry_delay * SECOND),
        description="",
        created_at=0,
        params="{}",
    )


class Hands:
    """One who submits, claims and settles, at a clock that stands still."""

    def __init__(self, store: Store, clock: TurnedClock) -> None:
        self.store = store
        self.clock = clock

    def submit(self, *jobs: NewJob | str) -> None:
        """A plain id stands for a job without anything special."""
        rows = [new_job(job) if isinstance(job, str) else job for job in jobs]
        self.store.submit(rows, self.clock.now())

    def claim(self, want: int = 1, queue: str = "default") -> list[Lease]:
        return self.exchange([], want, queue).claimed

    def claim_one(self, job_id: str | None = None) -> Lease:
        """The next job, which must be this one."""
        [lease] = self.claim()
        assert job_id in (None, lease.id)
        return lease

    def exchange(self, settlements: list[Settlement], want: int = 0, queue: str = "default") -> Exchanged:
        claim = Claim(1, want, Serving([queue])) if want else None
        return self.store.exchange(settlements, claim, self.clock.now())

    def outcome(
        self, lease: Lease, end: End = "returned", *, result: str | None = None, error: str | None = None
    ) -> Settlement:
        now = self.clock.now()
        if end == "returned":
            return settling.returned(lease, now, now, result)
        started = None if end in ("unstarted", "unavailable") else now
        return settling.decide(lease, end, now, started_at=started, error=error or f"it {end}")

    def settle(self, lease: Lease, end: End = "returned", **how: Any) -> Exchanged:
        return self.exchange([self.outcome(lease, end, **how)])

    def run(self, job_id: str, end: End = "returned", **how: Any) -> Lease:
        """Claim the next job, which must be this one, and end it."""
        lease = self.claim_one(job_id)
        self.settle(lease, end, **how)
        return lease

    def run_all(self, end: End = "returned") -> list[str]:
        """Run until nothing is ready; the order in which they ran."""
        order: list[str] = []
        while leases := self.claim():
            order += [lease.id for lease in leases]
            self.exchange([self.outcome(lease, end) for lease in leases])
        return order

    def fail(self, job_id: str) -> None:
        """Claim the next job, which must be this one, and let it fail for good."""
        lease = self.claim_one(job_id)
        failed = Settlement(lease, "failed", "failed", self.clock.now(), self.clock.now(), None, "broke", 1)
        self.exchange([failed])

    def end(self, job_id: str, how: str) -> None:
        """Bring the next ready job, which must be this one, to an end."""
        match how:
            case "completed":
                self.run(job_id)
            case "failed":
                self.fail(job_id)
            case "timeout":
                last = self.outcome(self.claim_one(job_id), "timeout")
                last.status, last.due_at = "timeout", None
                self.exchange([last])
            case _:
                assert self.cancel(job_id)
        assert self.status(job_id) == how

    def cancel(self, job_id: str) -> bool:
        return self.store.cancel(job_id, self.clock.now())

    def requeue(self, job_id: str) -> str | None:
        return self.store.requeue(job_id, self.clock.now())

    def clear(self, before: int | None = None) -> int:
        return self.store.clear(before, self.clock.now())

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.store._reading() as tx:
            return [tuple(row) for row in tx._execute(text, values).fetchall()]

    def job(self, job_id: str) -> dict[str, Any]:
        """The row of the table."""
        with self.store._reading() as tx:
            cursor = tx._execute("SELECT * FROM job WHERE id = ?", (job_id,))
            names = [column[0] for column in cursor.description]
            return dict(zip(names, cursor.fetchall()[0], strict=True))

    def status(self, job_id: str) -> str:
        return str(self.job(job_id)["status"])

    def statuses(self) -> dict[str, str]:
        return dict(self.sql("SELECT id, status FROM job ORDER BY seq"))

    def ready(self) -> list[str]:
        """What could be claimed now, in no order that the index gives."""
        return [
            row[0]
            for row in self.sql(
                "SELECT id FROM job NOT INDEXED WHERE status = 'pending' AND parents_left = 0 AND due_at IS NULL "
                "AND held_by IS NULL ORDER BY priority DESC, seq"
            )
        ]

    def runs(self, job_id: str) -> list[str]:
        """How its ended runs are called in the history."""
        rows = self.sql(
            "SELECT e.status FROM execution AS e JOIN job AS j ON j.seq = e.job WHERE j.id = ? ORDER BY e.run",
            job_id,
        )
        return [row[0] for row in rows]

    def listed(self, status: str | None, limit: int) -> list[dict[str, Any]]:
        return self.store.find(Wanted(status), limit).records

    def finish(self) -> None:
        self.store.finish(self.clock.now())

    def unfinished(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT kind, parent, cursor FROM unfinished ORDER BY 1, 2")


_OPEN_EDGES = """
    SELECT count(*) FROM dependency AS e JOIN job AS p ON p.seq = e.parent
    WHERE e.child = j.seq AND p.status != 'completed'
        AND NOT (j.on_parent_failure = 'run' AND p.status IN ('failed', 'timeout', 'cancelled'))
"""
_RULES = {
    "the counts are those of the rows": """
        SELECT queue, status, sum(n) FROM (
            SELECT queue, status, n FROM counts
            UNION ALL SELECT queue, status, -count(*) FROM job GROUP BY queue, status
        ) GROUP BY queue, status HAVING sum(n) != 0
    """,
    "every run has its row": """
        SELECT id, runs FROM job AS j
        WHERE runs - runs_dropped != (SELECT count(*) FROM execution AS e WHERE e.job = j.seq)
    """,
    "runs are numbered without a gap, but where some were dropped": """
        SELECT job, run FROM execution AS e
        WHERE run != (SELECT count(*) FROM execution AS f WHERE f.job = e.job AND f.run <= e.run)
            AND NOT (SELECT runs_dropped FROM job AS j WHERE j.seq = e.job)
    """,
    "marks are on pending jobs only": """
        SELECT id FROM job WHERE status != 'pending' AND (due_at IS NOT NULL OR held_by IS NOT NULL OR ends_at IS NOT NULL)
    """,
    "a pending job is over at the earlier of its ends": """
        SELECT id FROM job WHERE status = 'pending' AND ends_at IS NOT
            min(coalesce(expires_at, deadline_at), coalesce(deadline_at, expires_at))
    """,
    "each job has its params, and nobody else": """
        SELECT seq FROM job WHERE seq NOT IN (SELECT seq FROM params)
        UNION ALL SELECT seq FROM params WHERE seq NOT IN (SELECT seq FROM job)
    """,
    "no history without its job": "SELECT job FROM execution WHERE job NOT IN (SELECT seq FROM job)",
    "no edge without its ends": """
        SELECT child, position FROM dependency
        WHERE child NOT IN (SELECT seq FROM job) OR parent NOT IN (SELECT seq FROM job)
            OR (parent IS NULL) != (parent_id IS NOT NULL)
    """,
    "only a job that ended has an end": """
        SELECT id FROM job WHERE (completed_at IS NOT NULL) != (status NOT IN ('pending', 'running'))
    """,
}
_RULES_AT_REST = {
    "pending jobs wait for the parents that are open": f"""
        SELECT id, parents_left FROM job AS j WHERE status = 'pending' AND parents_left != ({_OPEN_EDGES})
    """,
    "no pending child of a parent whose bad end cancels it": """
        SELECT j.id FROM job AS j JOIN dependency AS e ON e.child = j.seq JOIN job AS p ON p.seq = e.parent
        WHERE j.status = 'pending' AND j.on_parent_failure = 'cancel'
            AND p.status IN ('failed', 'timeout', 'cancelled')
    """,
}


def assert_sound(hands: Hands) -> None:
    """Nothing in the store contradicts anything else."""
    rules = _RULES if hands.unfinished() else _RULES | _RULES_AT_REST
    broken = {rule: rows for rule, text in rules.items() if (rows := hands.sql(text))}
    assert broken == {}
    assert hands.sql("PRAGMA integrity_check") == [("ok",)]
