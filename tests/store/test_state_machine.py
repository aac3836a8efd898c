"""Random histories: after every step a store holds what a plain model of the contract holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from clocks import TurnedClock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model import BAD, Model, ModelJob
from stores import Hands, Kind, assert_sound, new_job, open_kind

from gigq import close_connections
from gigq.clock import SECOND
from gigq.errors import DuplicateJob, UnknownParent
from gigq.lease import Lease
from gigq.status import End
from gigq.store import graph
from gigq.timing import Times

ENDS: st.SearchStrategy[End] = st.sampled_from(
    ["returned", "returned", "raised", "timeout", "died", "stopped", "unstarted", "unavailable"]
)
POLICIES = st.sampled_from(["cancel", "run", "run", "wait"])
FEW = st.integers(0, 3)
SELDOM = st.sampled_from([None, None, None, 1, 2, 3, 5, 9])
"""Seconds."""


class Machine(RuleBasedStateMachine):
    """A store and its model, moved in step."""

    kind: ClassVar[Kind] = "memory"
    budget: ClassVar[int] = graph.BUDGET

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = TurnedClock()
        self.hands = Hands(open_kind(self.kind, Path(self.folder.name)), self.clock)
        self.model = Model()
        self.running: list[Lease] = []
        self.over: list[Lease] = []
        self.next_id = 0
        self.real_budget, graph.BUDGET = graph.BUDGET, self.budget

    def teardown(self) -> None:
        self.hands.finish()
        self.model.spread(self.clock.now())
        assert_sound(self.hands)
        self.hands.store.engine.close()
        close_connections()
        self.folder.cleanup()
        graph.BUDGET = self.real_budget

    # -- what a client does ------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.jobs) < 9)
    @rule(data=st.data(), count=st.integers(1, 4))
    def submit(self, data: st.DataObject, count: int) -> None:
        self.hands.finish()
        jobs: list[ModelJob] = []
        for _ in range(count):
            known = [*self.model.jobs, *(job.id for job in jobs)]
            parents = data.draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
            self.next_id += 1
            jobs.append(
                ModelJob(
                    id=f"job-{self.next_id}",
                    seq=0,
                    parents=parents,
                    priority=data.draw(st.integers(-1, 1)),
                    policy=data.draw(POLICIES),
                    max_attempts=data.draw(st.integers(1, 3)),
                    max_crashes=data.draw(st.integers(1, 3)),
                    retry_delay=data.draw(FEW) * SECOND,
                    due_at=self.later(data.draw(SELDOM)),
                    expires_at=self.later(data.draw(SELDOM)),
                    deadline_at=self.later(deadline := data.draw(SELDOM)),
                    deadline=deadline and deadline * SECOND,
                )
            )
        order = data.draw(st.permutations(jobs))
        self.hands.submit(*[declared(job, self.model.ends_at(job)) for job in order])
        self.model.submit(order)
        self.model.spread(self.clock.now())

    def later(self, seconds: int | None) -> int | None:
        return None if seconds is None else self.clock.now() + seconds * SECOND

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def submit_what_is_refused(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        with pytest.raises(DuplicateJob):
            self.hands.submit("fresh", job_id)
        with pytest.raises(UnknownParent):
            self.hands.submit("fresh", new_job("child", [job_id, "never was"]))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        self.hands.finish()
        assert self.hands.cancel(job_id) == self.model.cancel(job_id, self.clock.now())

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), likely=st.booleans())
    def requeue(self, data: st.DataObject, likely: bool) -> None:
        ended = sorted(job.id for job in self.model.jobs.values() if job.status in BAD)
        job_id = data.draw(st.sampled_from(ended if likely and ended else sorted(self.model.jobs)))
        if (
            self.budget != self.real_budget
        ):  # a requeue ends no more of what is over than one transaction should
            self.hands.exchange([])
            self.model.promote(self.clock.now())
        self.hands.finish()
        assert (self.hands.requeue(job_id) is None) == self.model.requeue(job_id, self.clock.now())

    @rule(ago=st.none() | FEW)
    def clear_completed(self, ago: int | None) -> None:
        before = None if ago is None else self.clock.now() - ago * SECOND
        self.hands.finish()
        assert self.hands.clear(before) == self.model.clear(before)

    # -- what a worker does ------------------------------------------------------------------------------------

    @rule(data=st.data(), want=st.integers(0, 4))
    def exchange(self, data: st.DataObject, want: int) -> None:
        """Settle some of what runs, perhaps with some that is late, and claim what is next."""
        now, outcomes, late = self.clock.now(), [], 0
        chosen = data.draw(st.lists(st.sampled_from(self.running), unique_by=id)) if self.running else []
        chosen += (
            data.draw(st.lists(st.sampled_from(self.over), unique_by=id, max_size=1)) if self.over else []
        )
        for lease in chosen:
            end = data.draw(ENDS)
            outcomes.append(self.hands.outcome(lease, end))
            late += not self.model.settle(lease.id, lease.lease, end, now)
        self.model.spread(now)
        self.model.promote(now)
        answer = self.hands.exchange(outcomes, want)
        assert (len(answer.lost), answer.refused) == (late, [])
        self.over += [lease for lease in chosen if lease in self.running]
        self.running = [lease for lease in self.running if lease not in chosen] + answer.claimed
        claimed = [lease.id for lease in answer.claimed]
        if self.hands.unfinished():
            assert set(claimed) <= set(self.model.ready())
        else:
            assert claimed == self.model.ready()[:want] or self.budget != self.real_budget
        for lease in answer.claimed:
            self.model.claim(lease.id, lease.lease)

    @precondition(lambda self: self.overtaken())
    @rule(data=st.data(), end=ENDS)
    def report_late(self, data: st.DataObject, end: End) -> None:
        """While the next run of the same job is under way."""
        lease = data.draw(st.sampled_from(self.overtaken()))
        assert not self.model.settle(lease.id, lease.lease, end, self.clock.now())
        self.model.promote(self.clock.now())
        assert self.hands.settle(lease, end).lost

    def overtaken(self) -> list[Lease]:
        under_way = {lease.id for lease in self.running}
        return [lease for lease in self.over if lease.id in under_way]

    @precondition(lambda self: self.model.ready())
    @rule(end=ENDS, times=st.integers(1, 3))
    def run_the_next(self, end: End, times: int) -> None:
        """Claim one and end it, perhaps until it has no attempt left."""
        self.hands.finish()
        for _ in range(times):
            now = self.clock.now()
            self.model.promote(now)
            self.hands.exchange([])
            self.hands.finish()
            if not self.model.ready():
                return
            lease = self.hands.claim_one(self.model.ready()[0])
            self.model.claim(lease.id, lease.lease)
            self.model.settle(lease.id, lease.lease, end, now)
            self.model.spread(now)
            self.hands.settle(lease, end)
            self.hands.finish()
            self.over.append(lease)

    @precondition(lambda self: any(job.held for job in self.model.jobs.values()))
    @rule()
    def release_held(self) -> None:
        self.hands.finish()
        released = self.hands.store.release_held("import:jobs", "nothing", None)
        assert released == self.model.release_held()

    @precondition(lambda self: any(job.held for job in self.model.jobs.values()))
    @rule(ago=FEW)
    def give_up_on_held(self, ago: int) -> None:
        self.hands.finish()
        since, now = self.clock.now() - ago * SECOND, self.clock.now()
        assert self.hands.store.fail_held(since, now) == self.model.fail_held(since, now)

    @rule()
    def finish(self) -> None:
        self.hands.finish()

    @rule(seconds=st.integers(1, 4))
    def turn_clock(self, seconds: int) -> None:
        self.clock.turn(seconds)

    # -- what must be equal ------------------------------------------------------------------------------------

    @invariant()
    def is_as_the_model_says(self) -> None:
        if self.hands.unfinished():  # news is on its way: nothing may be ready before its time
            assert set(self.hands.ready()) <= set(self.model.ready())
            return
        assert self.hands.ready() == self.model.ready()
        shown = {record["id"]: record for record in self.hands.listed(None, 10_000)}
        assert {job_id: facts_shown(record) for job_id, record in shown.items()} == {
            job.id: self.facts(job) for job in self.model.jobs.values()
        }
        assert {status: n for status, n in self.hands.store.stats().items() if n} == self.model.counts()
        runs = self.hands.sql("SELECT job_id, id, status FROM job_executions ORDER BY job_id, run")
        assert sorted(runs) == sorted(
            (job.id, execution, status)
            for job in self.model.jobs.values()
            for execution, status in history(job)
        )
        peek = self.hands.store.peek()
        dues = [job.due_at for job in self.model.jobs.values() if job.due_at is not None]
        dues += [end for job in self.model.jobs.values() if (end := self.model.ends_at(job)) is not None]
        assert (peek.ready, peek.next_due) == (bool(self.model.ready()), min(dues, default=None))

    def facts(self, job: ModelJob) -> tuple[Any, ...]:
        pending = job.status == "pending"
        return (
            job.status,
            job.attempts + (job.status == "running"),
            job.crashes,
            self.model.parents_left(job) if pending else None,
            "import:jobs" if job.held else None,
            job.ended_at is not None,
        )


def declared(job: ModelJob, ends_at: int | None) -> Any:
    made = new_job(
        job.id,
        job.parents,
        priority=job.priority,
        policy=job.policy,
        max_attempts=job.max_attempts,
        max_crashes=job.max_crashes,
        retry_delay=job.retry_delay / SECOND,
    )
    made.times = Times(job.due_at, job.expires_at, job.deadline_at, job.deadline, ends_at)
    return made


def history(job: ModelJob) -> list[tuple[str, str]]:
    """Its runs as the view shows them: the ended ones, then the one under way."""
    ended = [(lease, how) for lease, how in job.runs]
    return [*ended, (str(job.lease), "running")] if job.status == "running" else ended


def facts_shown(record: dict[str, Any]) -> tuple[Any, ...]:
    return (
        record["status"],
        record["attempts"],
        record["crashes"],
        record["parents_left"] if record["status"] == "pending" else None,
        record["held_by"],
        record["completed_at"] is not None,
    )


class OnFile(Machine):
    """The same on a file."""

    kind = "file"


class InSmallPieces(Machine):
    """The same with transactions so small that news is nearly always left over."""

    budget = 2


SOME = settings(
    stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
MANY = settings(SOME, max_examples=1000, stateful_step_count=50, derandomize=False, print_blob=True)


def test_a_store_in_memory_does_what_the_model_does() -> None:
    run_state_machine_as_test(Machine, settings=settings(SOME, max_examples=100))


def test_a_store_in_a_file_does_what_the_model_does() -> None:
    run_state_machine_as_test(OnFile, settings=settings(SOME, max_examples=50))


def test_work_left_over_changes_nothing_in_the_end() -> None:
    run_state_machine_as_test(InSmallPieces, settings=settings(SOME, max_examples=100))


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [Machine, OnFile, InSmallPieces])
def test_thousands_of_histories_at_random(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=MANY)
