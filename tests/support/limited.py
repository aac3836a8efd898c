"""Jobs with limits on a store, every start written down, and what must never be exceeded."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from stores import Hands, new_job

from gigq.clock import SECOND
from gigq.lease import Lease
from gigq.limits import Setting, Share
from gigq.newjob import NewJob
from gigq.queues import Serving
from gigq.status import End
from gigq.store import rooms
from gigq.store.claiming import Claim
from gigq.store.rows import Settlement
from gigq.worker import settling

Bound = tuple[int | None, int | None, int | None]
"""Concurrency, amount, per (microseconds)."""


def share(
    key: str, concurrency: int | None = None, rate: tuple[int, float] | None = None, cost: int = 1
) -> Share:
    amount, per = (None, None) if rate is None else (rate[0], round(rate[1] * SECOND))
    return Share(key, concurrency, amount, per, cost)


def limited(job_id: str, *shares: Share, **options: Any) -> NewJob:
    job = new_job(job_id, **options)
    job.limits = sorted(shares, key=lambda one: one.key) or None
    return job


class Watched:
    """Hands on a store that look, at each claim, whether a limit is exceeded."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.clock = hands.clock
        self.jobs: dict[str, NewJob] = {}
        self.running: list[Lease] = []
        self.bounds: dict[str, Bound] = {}
        """What is in force of each key."""
        self.set: set[str] = set()
        """Keys that an operator has set."""
        self.starts: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        """Key -> when, cost and run of each start that was not given back."""

    def submit(self, *jobs: NewJob) -> None:
        self.hands.submit(*jobs)
        for job in jobs:
            self.jobs[job.id] = job
            for one in job.limits or ():
                if one.key not in self.set:
                    self.bounds[one.key] = one.concurrency, one.amount, one.per

    def set_limit(self, key: str, concurrency: int | None, rate: tuple[int, float] | None) -> None:
        bound = share(key, concurrency, rate)
        self.set.add(key)
        self.bounds[key] = bound[1:4]
        self.hands.store.set_limit(key, Setting(True, bound.concurrency, True, bound.amount, bound.per))

    def exchange(self, ends: list[tuple[Lease, End]], want: int = 0, queue: str = "default") -> list[Lease]:
        now = self.clock.now()
        settled = [self._settled(lease, end) for lease, end in ends]
        claim = Claim(1, want, Serving([queue])) if want else None
        claimed = self.hands.store.exchange(settled, claim, now).claimed
        over = [lease for lease, _ in ends]
        self.running = [lease for lease in self.running if lease not in over]
        self.running += claimed
        touched = set()
        for lease in claimed:
            for one in self.jobs[lease.id].limits or ():
                touched.add(one.key)
                self.starts[one.key].append((now, self._of_rate(one), lease.lease))
        for key in touched:
            self._assert_within(key)
        return claimed

    def _settled(self, lease: Lease, end: End) -> Settlement:
        if end in ("unstarted", "unavailable", "hindered"):
            for starts in self.starts.values():
                starts[:] = [start for start in starts if start[2] != lease.lease]
            return settling.decide(lease, end, self.clock.now(), started_at=None)
        if end == "returned":
            return settling.returned(lease, lease.claimed_at, self.clock.now(), None)
        return settling.decide(lease, end, self.clock.now(), started_at=lease.claimed_at, error=end)

    def _of_rate(self, one: Share) -> int:
        amount = self.bounds[one.key][1]
        return one.cost if amount is None else min(one.cost, amount)

    def _assert_within(self, key: str) -> None:
        concurrency, amount, per = self.bounds[key]
        if concurrency is not None:
            held = [
                min(one.cost, concurrency)
                for lease in self.running
                for one in self.jobs[lease.id].limits or ()
                if one.key == key
            ]
            assert sum(held) <= concurrency, (key, held)
        if amount is not None and per is not None:
            since = self.clock.now() - per
            within = [cost for at, cost, _ in self.starts[key] if at > since]
            assert sum(within) <= amount, (key, within)

    def waiting(self) -> list[dict[str, Any]]:
        """Jobs that wait for nothing but their limits."""
        rows = self.hands.sql(
            "SELECT id, queue FROM job WHERE held_by LIKE 'limit:%' AND parents_left = 0 AND due_at IS NULL"
        )
        return [{"id": row[0], "queue": row[1]} for row in rows]

    def assert_nobody_waits_in_vain(self) -> None:
        """After an exchange that left nothing to do: each job that waits has a limit without room for all that wait."""
        now = self.clock.now()
        waiting = self.waiting()
        most: dict[str, int] = {}
        for row in waiting:
            for one in self.jobs[row["id"]].limits or ():
                most[one.key] = max(most.get(one.key, 0), one.cost)
        for row in waiting:
            shares = self.jobs[row["id"]].limits or ()
            assert any(self._is_full(one.key, row["queue"], most[one.key], now) for one in shares), row

    def _is_full(self, key: str, queue: str, cost: int, now: int) -> bool:
        concurrency, amount, per = self.bounds[key]
        admitted, held = (
            [
                row[0]
                for row in self.hands.sql(
                    f"SELECT a.cost FROM {table} AS a JOIN job AS j ON j.seq = a.job JOIN limit_key AS k ON k.number = a.key "
                    f"WHERE k.key = ? AND {condition}",
                    key,
                    *values,
                )
            ]
            for table, condition, values in (
                ("admitted", "j.queue = ?", [queue]),
                ("holding", "j.status = 'running'", []),
            )
        )
        ready = sum(admitted)
        if len(admitted) >= rooms.AHEAD:
            return True
        [(until,)] = self.hands.sql("SELECT backs_off_until FROM limit_key WHERE key = ?", key)
        if until is not None and until > now:
            return True
        if concurrency is not None:
            busy = sum(min(one, concurrency) for one in admitted + held)
            if busy + min(cost, concurrency) > concurrency:
                return True
        if amount is not None and per is not None:
            [(noted,)] = self.hands.sql(
                "SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s JOIN limit_key AS k ON k.number = s.key "
                "WHERE k.key = ? AND s.at > ?",
                key,
                now - per,
            )
            return bool(noted + ready + min(cost, amount) > amount)
        return False


RULES = {
    "what a key has used is in its ledger": """
        SELECT key, used FROM limit_key AS k
        WHERE used != (SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s WHERE s.key = k.number)
    """,
    "who was let through is ready": """
        SELECT j.id, j.status FROM admitted AS a LEFT JOIN job AS j ON j.seq = a.job
        WHERE j.seq IS NULL OR j.status != 'pending' OR j.held_by IS NOT NULL OR j.due_at IS NOT NULL
            OR j.parents_left > 0
    """,
    "who holds something runs": """
        SELECT o.job, j.status FROM holding AS o LEFT JOIN job AS j ON j.seq = o.job WHERE j.status IS NOT 'running'
    """,
    "who runs holds what it takes": """
        SELECT j.id FROM job AS j JOIN limit_member AS m ON m.line = j.line
        WHERE j.status = 'running' AND NOT EXISTS (SELECT 1 FROM holding AS o WHERE o.job = j.seq AND o.key = m.key)
    """,
    "who waits has a line that somebody will look at": """
        SELECT j.id FROM job AS j JOIN limit_line AS l ON l.number = j.line
        WHERE j.held_by LIKE 'limit:%' AND j.parents_left = 0 AND j.due_at IS NULL AND l.waits_for IS NULL
    """,
    "lines have their keys": """
        SELECT m.line FROM limit_member AS m LEFT JOIN limit_line AS l ON l.number = m.line
        LEFT JOIN limit_key AS k ON k.number = m.key WHERE l.number IS NULL OR k.number IS NULL
    """,
}


def assert_limits_are_sound(hands: Hands) -> None:
    """Nothing that is kept of limits contradicts the jobs."""
    broken = {rule: rows for rule, text in RULES.items() if (rows := hands.sql(text))}
    assert broken == {}
