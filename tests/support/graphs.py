"""Random graphs that fail, are cancelled, cleared, killed and grow (K17), and what must hold of them in the end."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from stores import Hands, new_job

from gigq.lease import Lease
from gigq.newjob import NewJob

BAD = ("failed", "timeout", "cancelled")
POLICIES = ("cancel", "cancel", "cancel", "run", "run", "wait")


class Seen(NamedTuple):
    """A job as it stands."""

    id: str
    status: str
    policy: str
    parents: list[str]


def violations(seen: Iterable[Seen], called_off: set[str]) -> list[str]:
    """Where the policies were not kept, once nothing can run any more.

    Args:
        seen: every job that is left.
        called_off: those that were cancelled by their owner.
    """
    jobs = {job.id: job for job in seen}
    wrong = []
    for job in jobs.values():
        parents = [jobs[parent] for parent in job.parents if parent in jobs]
        bad = [parent for parent in parents if parent.status in BAD]
        open_ = [parent for parent in parents if parent.status in ("pending", "running")]
        match job.status:
            case "running":
                wrong.append(f"{job} still runs")
            case "pending" if not open_ and not (bad and job.policy == "wait"):
                wrong.append(f"{job} waits for nothing")
            case "pending" if bad and job.policy == "cancel":
                wrong.append(f"{job} was not cancelled for {bad[0]}")
            case "cancelled" if job.id not in called_off and not (bad and job.policy == "cancel"):
                wrong.append(f"{job} was cancelled for nobody's sake")
            case "completed" | "failed" | "timeout" if open_ or (bad and job.policy != "run"):
                wrong.append(f"{job} ran before, or in spite of, {[*open_, *bad][0]}")
    return wrong


class Plan:
    """What the jobs of a graph will do, by their ids."""

    def __init__(self, dice: Random, size: int) -> None:
        self.dice = dice
        self.size = size
        self.fails: dict[str, bool] = {}
        self.adds: dict[str, list[str]] = {}
        """Job -> ids of those that it adds."""

    def graph(self) -> list[NewJob]:
        """The jobs that are submitted, in any order."""
        rows = [self._row(f"{n}", [f"{p}" for p in self._some(n)], depth=0) for n in range(self.size)]
        self.dice.shuffle(rows)
        return rows

    def grown(self, job_id: str, known: list[str]) -> list[NewJob]:
        """What a job adds; some below what is in the queue already, itself included."""
        rows: list[NewJob] = []
        for name in self.adds[job_id]:
            outside = [one for one in known if self.dice.random() < 0.1] if self.dice.random() < 0.3 else []
            inside = [row.id for row in rows if self.dice.random() < 0.3]
            rows.append(self._row(name, outside + inside, depth=name.count(".")))
        return rows

    def _row(self, name: str, parents: list[str], depth: int) -> NewJob:
        self.fails[name] = self.dice.random() < 0.08
        count = self.dice.choice((0, 0, 0, 1, 3)) if depth < 2 else 0
        self.adds[name] = [f"{name}.{n}" for n in range(count)]
        policy = self.dice.choice(POLICIES)
        return new_job(name, parents, policy=policy, priority=self.dice.randrange(2), max_crashes=1000)

    def _some(self, n: int) -> list[int]:
        return self.dice.sample(range(n), min(n, self.dice.choice((0, 1, 1, 2, 3))))


class History:
    """A graph on its way to its end, in a store."""

    def __init__(self, hands: Hands, dice: Random, size: int) -> None:
        self.hands = hands
        self.dice = dice
        self.plan = Plan(dice, size)
        self.running: list[Lease] = []
        self.called_off: set[str] = set()
        self.expected = {f"{n}" for n in range(size)}
        """Every job that must have been in the queue."""

    def live(self) -> None:
        """From the submission until nothing can run any more."""
        self.hands.submit(*self.plan.graph())
        idle = 0
        while idle < 3:
            self._work()
            self._disturb()
            idle = 0 if self.running or self.hands.ready() or self.hands.unfinished() else idle + 1

    def seen(self) -> list[Seen]:
        rows = self.hands.sql("SELECT seq, id, status, on_parent_failure FROM job")
        edges = self.hands.sql("SELECT e.child, p.id FROM dependency AS e JOIN job AS p ON p.seq = e.parent")
        parents: dict[int, list[str]] = {seq: [] for seq, *_ in rows}
        for child, parent in edges:
            parents[child].append(parent)
        return [Seen(job_id, status, policy, parents[seq]) for seq, job_id, status, policy in rows]

    def without_what_was_added(self) -> list[str]:
        """Jobs of the submission that do not wait for what one of their parents has added."""
        jobs = {job.id: job for job in self.seen()}
        return [
            f"{job.id} does not depend on {added}, which {parent} has added"
            for job in jobs.values()
            if "." not in job.id
            for parent in job.parents
            for added in self.plan.adds[parent]
            if jobs[parent].status == "completed" and added in jobs and added not in job.parents
        ]

    def _work(self) -> None:
        chosen = [lease for lease in self.running if self.dice.random() < 0.6]
        outcomes = [self._end(lease) for lease in chosen]
        answer = self.hands.exchange(outcomes, want=self.dice.randrange(1, 6))
        assert not answer.lost
        refused = {one.lease.id for one in answer.refused}
        for one in outcomes:
            if one.status == "completed" and one.lease.id not in refused:
                self.expected.update(self.plan.adds[one.lease.id])
        self.running = [lease for lease in self.running if lease not in chosen] + answer.claimed

    def _end(self, lease: Lease) -> Any:
        how = self.dice.random()
        if how < 0.1:
            return self.hands.outcome(lease, "died")
        if how < 0.15:
            return self.hands.outcome(lease, "unstarted")
        if self.plan.fails[lease.id]:
            return self.hands.outcome(lease, "raised")
        outcome = self.hands.outcome(lease)
        if self.plan.adds[lease.id]:
            outcome.grown = self.plan.grown(
                lease.id, [row[0] for row in self.hands.sql("SELECT id FROM job")]
            )
        return outcome

    def _disturb(self) -> None:
        if self.expected and self.dice.random() < 0.05:
            [job_id] = self.dice.sample(sorted(self.expected), 1)
            if self.hands.cancel(job_id):
                self.called_off.add(job_id)
        if self.dice.random() < 0.03:
            before = {job.id for job in self.seen()}
            self.hands.clear()
            self.expected -= before - {job.id for job in self.seen()}
