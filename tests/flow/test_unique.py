"""Unique jobs: one for a key, whatever several callers, retries and requeues do."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from processes import start

from gigq import DependencyCycle, DuplicateJob, InvalidJob, Job, JobQueue, Unique, Worker, Workflow, task
from gigq.clock import SECOND, to_iso
from gigq.lease import Lease
from gigq.status import End
from gigq.store.claiming import Claim
from gigq.worker import settling

COUNTED = ("pending", "running", "completed", "failed", "cancelled", "timeout")


def job(name: str = "job", key: str | None = "k", **options: Any) -> Job:
    rules = {word: options.pop(word) for word in ("states", "period", "on_conflict") if word in options}
    unique = Unique(key, **rules) if key is not None else None
    return Job(
        name, options.pop("function", jobs.echo), options.pop("params", None), unique=unique, **options
    )


class Hand:
    """A worker's hand: claims and settles by itself, at a clock that stands still."""

    def __init__(self, queue: JobQueue, clock: TurnedClock) -> None:
        self.queue = queue
        self.clock = clock

    def claim(self) -> list[Lease]:
        return self.queue._store.exchange([], Claim(1, 100), self.clock.now()).claimed

    def claim_one(self) -> Lease:
        [lease] = self.claim()
        return lease

    def end(self, *leases: Lease, how: End = "returned") -> None:
        now = self.clock.now()
        made = [settling.decide(one, how, now, started_at=now, error=f"it {how}") for one in leases]
        assert not self.queue._store.exchange(made, None, now).lost

    def run(self, how: End = "returned") -> str:
        """Run the one job that is ready; its id."""
        lease = self.claim_one()
        self.end(lease, how=how)
        return lease.id


@pytest.fixture
def hand(queue: JobQueue, clock: TurnedClock) -> Hand:
    return Hand(queue, clock)


def status(queue: JobQueue, job_id: str) -> str:
    return str(queue.get_status(job_id)["status"])


def counts_are_true(queue: JobQueue) -> bool:
    listed = [row["status"] for row in queue.list_jobs(limit=1000)]
    return queue.stats() == {**{word: listed.count(word) for word in COUNTED}, "total": len(listed)}


# -- how long a key is taken ---------------------------------------------------------------------------------------


def test_while_one_is_pending_or_running_there_is_no_other(queue: JobQueue, hand: Hand) -> None:
    first = queue.submit(job())
    assert queue.submit(job()) == first
    lease = hand.claim_one()
    assert queue.submit(job()) == first
    hand.end(lease)
    second = queue.submit(job())
    assert second != first
    assert queue.stats()["total"] == 2


@pytest.mark.parametrize("how", ["raised", "timeout", "cancelled"])
def test_a_job_that_ended_badly_frees_its_key(queue: JobQueue, hand: Hand, how: End) -> None:
    first = queue.submit(job(max_attempts=1))
    hand.run(how)
    assert queue.submit(job()) != first


def test_a_cancelled_job_frees_its_key_and_another_key_is_another(queue: JobQueue) -> None:
    first = queue.submit(job())
    assert queue.submit(job(key="other")) != first
    assert queue.cancel(first)
    assert queue.submit(job()) != first


def test_a_retry_keeps_the_key(queue: JobQueue, hand: Hand, clock: TurnedClock) -> None:
    first = queue.submit(job(retry_delay=10))
    hand.run("raised")
    assert queue.submit(job()) == first
    clock.turn(11)
    assert hand.run("raised") == first
    assert queue.submit(job()) == first


def test_states_say_how_long(queue: JobQueue, hand: Hand) -> None:
    held = ["pending", "running", "completed", "failed"]
    first = queue.submit(job(states=held))
    hand.run()
    assert queue.submit(job()) == first
    assert queue.clear_completed() == 1, "who clears a job frees its key"
    second = queue.submit(job(states=held, max_attempts=1))
    hand.run("raised")
    assert queue.submit(job()) == second


def test_only_until_it_runs(queue: JobQueue, hand: Hand) -> None:
    first = queue.submit(job(states=["pending"]))
    assert queue.submit(job(states=["pending"])) == first
    lease = hand.claim_one()
    second = queue.submit(job(states=["pending"]))
    assert second != first
    hand.end(lease)
    assert queue.submit(job()) == second


def test_a_period_counts_from_the_submit_however_the_job_ended(
    queue: JobQueue, hand: Hand, clock: TurnedClock
) -> None:
    first = queue.submit(job(period=60, max_attempts=1))
    hand.run("raised")
    clock.turn(59.9)
    assert queue.submit(job(period=60)) == first
    clock.turn(0.1)
    second = queue.submit(job(period=60))
    assert second != first
    clock.turn(100)
    assert queue.submit(job()) == second, "it is pending still"


def test_a_period_alone_does_not_look_at_the_state(queue: JobQueue, clock: TurnedClock) -> None:
    first = queue.submit(job(states=[], period=60))
    clock.turn(61)
    assert queue.submit(job(states=[], period=60)) != first
    assert status(queue, first) == "pending"


def test_a_cancelled_job_gives_its_period_up(queue: JobQueue) -> None:
    first = queue.submit(job(period=60))
    assert queue.cancel(first)
    assert queue.submit(job(period=60)) != first
    assert queue.clear_completed() == 1


def test_clearing_spares_a_job_until_its_period_is_over(
    queue: JobQueue, hand: Hand, clock: TurnedClock
) -> None:
    first = queue.submit(job(period=60))
    hand.run()
    assert queue.clear_completed() == 0
    assert queue.submit(job()) == first
    clock.turn(60)
    assert queue.clear_completed() == 1
    assert queue.submit(job()) != first


# -- what a key is -------------------------------------------------------------------------------------------------


@task(unique=True)
def mail(to: str, subject: str = "") -> None: ...


@task(unique_key="report")
def report(year: int) -> None: ...


def test_tasks_are_unique_by_their_params_or_by_a_key_of_their_own(queue: JobQueue) -> None:
    first = mail.submit(queue, to="a", subject="b")
    assert mail.submit(queue, subject="b", to="a") == first
    assert mail.submit(queue, to="b", subject="b") != first
    assert report.submit(queue, year=1) == report.submit(queue, year=2)


def test_the_record_tells_the_key(queue: JobQueue) -> None:
    first = queue.submit(job())
    plain = queue.submit(Job("plain", jobs.nothing))
    assert queue.get_status(first)["unique_key"] == "k"
    assert queue.get_status(plain)["unique_key"] is None
    assert [row["unique_key"] for row in queue.list_jobs()] == [None, "k"]
    assert [row["unique_key"] for row in queue.list_jobs("pending")] == [None, "k"]


# -- what a submit does that meets another -------------------------------------------------------------------------


def test_it_says_so_in_the_log(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    first = queue.submit(job())
    with caplog.at_level(logging.INFO, "gigq.queue"):
        queue.submit(job("second"))
        queue.submit_many([job("third"), Job("plain", jobs.nothing)])
    assert caplog.messages == [
        f"Job not submitted: second: job {first} has its unique key",
        "Jobs submitted: 1",
        "Jobs not submitted, since others have their unique keys: 1",
    ]


def test_raise_names_the_key_and_the_job_that_has_it(queue: JobQueue) -> None:
    first = queue.submit(job())
    with pytest.raises(DuplicateJob, match=rf"job 'second'.*'k'.*{first}, which is pending") as caught:
        queue.submit_many([Job("plain", jobs.nothing), job("second", on_conflict="raise")])
    assert isinstance(caught.value, InvalidJob)
    assert queue.stats()["total"] == 1, "all of them, or none"


def test_skip_returns_the_other_for_one_and_leaves_it_out_of_many(queue: JobQueue) -> None:
    first = queue.submit(job())
    assert queue.submit(job(on_conflict="skip")) == first
    plain = Job("plain", jobs.nothing)
    assert queue.submit_many([job(on_conflict="skip"), plain, job()]) == [plain.id, first]


def test_replace_gives_the_pending_job_all_that_was_declared_anew(queue: JobQueue, hand: Hand) -> None:
    first = queue.submit(job(retry_delay=60, params={"value": 1}))
    hand.run("raised")
    later = queue.submit(Job("later", jobs.nothing))
    new = job(
        "new",
        on_conflict="replace",
        params={"value": 2},
        priority=0,
        max_attempts=7,
        max_crashes=8,
        timeout=None,
        description="told anew",
        retry_delay=5,
        pass_parent_results=False,
        on_parent_failure="run",
        states=["pending"],
    )
    assert queue.submit(new) == first
    shown = queue.get_status(first)
    assert {
        field: shown[field]
        for field in (
            "name",
            "params",
            "max_attempts",
            "max_crashes",
            "timeout",
            "description",
            "retry_delay",
        )
    } == {
        "name": "new",
        "params": {"value": 2},
        "max_attempts": 7,
        "max_crashes": 8,
        "timeout": None,
        "description": "told anew",
        "retry_delay": 5,
    }
    assert (shown["pass_parent_results"], shown["on_parent_failure"]) == (False, "run")
    assert (shown["attempts"], shown["error"], shown["retry_after"], shown["started_at"]) == (
        0,
        None,
        None,
        None,
    )
    assert [run["status"] for run in shown["executions"]] == ["failed"], "its history is its own"
    claimed = hand.claim()
    assert [lease.id for lease in claimed] == [first, later], "it keeps its place"
    assert claimed[0].max_attempts == 7
    assert queue.submit(job()) != first, "it is unique as the new one says"


def test_replace_changes_the_priority_and_the_function(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("before", jobs.nothing))
    first = queue.submit(job(params={"value": 1}))
    queue.submit(job(on_conflict="replace", function=jobs.add, params={"a": 1, "b": 2}, priority=9))
    assert worker.process_one()
    assert queue.get_result(first) == 3


@pytest.mark.parametrize("policy", ["replace", "debounce"])
def test_a_running_job_is_not_changed(queue: JobQueue, hand: Hand, policy: str) -> None:
    first = queue.submit(job(params={"value": 1}))
    lease = hand.claim_one()
    again = job(on_conflict=policy, period=5, params={"value": 2}, states=["pending", "running"])
    assert queue.submit(again) == first
    assert queue.get_status(first)["params"] == {"value": 1}
    hand.end(lease)
    assert status(queue, first) == "completed"


def test_debounce_runs_when_there_was_no_submit_for_the_period_with_what_came_last(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    first = queue.submit(job(on_conflict="debounce", period=10, params={"value": 1}))
    assert not worker.process_one()
    clock.turn(9)
    assert queue.submit(job(on_conflict="debounce", period=10, params={"value": 2})) == first
    clock.turn(9)
    assert not worker.process_one()
    clock.turn(1)
    assert worker.process_one()
    assert queue.get_result(first) == 2
    assert queue.submit(job(on_conflict="debounce", period=10)) != first, "the period is no time of rest"


def test_the_delay_of_the_job_says_how_long_too(queue: JobQueue, worker: Worker, clock: TurnedClock) -> None:
    first = queue.submit(job(on_conflict="debounce", delay=10))
    clock.turn(9)
    assert queue.submit(job(on_conflict="debounce", delay=20)) == first
    clock.turn(19)
    assert not worker.process_one()
    clock.turn(1)
    assert worker.process_one()
    queue.submit(job(on_conflict="debounce", period=10, delay=30))
    clock.turn(29)
    assert not worker.process_one(), "the longer one counts"


def test_replace_changes_the_times_and_the_queue(queue: JobQueue, clock: TurnedClock) -> None:
    first = queue.submit(job(delay=10, expires=60, deadline=70))
    queue.submit(job(on_conflict="replace", delay=20, queue="mail", deadline=80))
    shown = queue.get_status(first)
    assert (shown["queue"], shown["expires_at"]) == ("mail", None)
    assert (shown["run_at"], shown["deadline_at"]) == tuple(
        to_iso(clock.now() + seconds * SECOND) for seconds in (20, 80)
    )
    queue.submit(job(on_conflict="replace"))
    shown = queue.get_status(first)
    assert (shown["queue"], shown["run_at"], shown["deadline_at"]) == ("default", None, None)
    clock.turn(1000)
    assert not queue._store.expire(clock.now())
    assert status(queue, first) == "pending"
    assert counts_are_true(queue)


def test_replace_changes_tags_and_metadata_and_the_retry_policy(queue: JobQueue) -> None:
    first = queue.submit(job(tags=["a", "b"], metadata={"n": 1}, retry=[1, 2]))
    queue.submit(job(on_conflict="replace", tags=["b", "c"]))
    shown = queue.get_status(first)
    assert (shown["tags"], shown["metadata"], shown["retry"]) == (["b", "c"], {}, None)
    assert [row["id"] for row in queue.list_jobs(tag="c")] == [first]
    assert queue.list_jobs(tag="a") == []
    queue.submit(job(on_conflict="replace"))
    assert queue.list_jobs(tag="c") == []


def test_a_job_that_expired_frees_its_key(queue: JobQueue, clock: TurnedClock) -> None:
    first = queue.submit(job(expires=10))
    clock.turn(10)
    second = queue.submit(job(expires=10))
    assert second != first, "though no worker has looked"
    assert status(queue, first) == "cancelled"
    clock.turn(10)
    assert queue.requeue_job(first)
    assert status(queue, second) == "cancelled"
    assert counts_are_true(queue)


def test_a_debounced_job_that_runs_is_followed_by_another(
    queue: JobQueue, hand: Hand, clock: TurnedClock
) -> None:
    first = queue.submit(job(on_conflict="debounce", period=10))
    clock.turn(10)
    assert hand.claim_one().id == first
    assert queue.submit(job(on_conflict="debounce", period=10)) != first


# -- graphs --------------------------------------------------------------------------------------------------------


def test_an_edge_to_a_job_that_is_not_submitted_leads_to_the_one_that_has_its_key(
    queue: JobQueue, worker: Worker
) -> None:
    first = queue.submit(job(params={"value": "of the first"}))
    workflow = Workflow("w")
    parent = workflow.add_job(job(params={"value": "of the second"}))
    twin = workflow.add_job(job())
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent, twin])
    assert workflow.submit_all(queue) == [first, first, child.id]
    assert queue.get_status(child.id)["dependencies"] == [first]
    while worker.process_one():
        pass
    assert queue.get_result(child.id) == ["of the first"]


def test_within_one_submission_the_first_one_counts(queue: JobQueue) -> None:
    one, two, three = (
        job("one"),
        job("two", on_conflict="replace", params={"value": 2}),
        job("three", key="other"),
    )
    child = Job("child", jobs.nothing, dependencies=[two.id, three.id])
    assert queue.submit_many([child, one, two, three]) == [child.id, one.id, one.id, three.id]
    assert queue.get_status(child.id)["dependencies"] == [one.id, three.id]
    shown = queue.get_status(one.id)
    assert (shown["name"], shown["params"]) == ("two", {"value": 2})
    with pytest.raises(DuplicateJob, match=f"{one.id}"):
        queue.submit_many([Job("x", jobs.nothing), job(on_conflict="raise")])


def test_a_key_in_the_graph_that_makes_jobs_wait_for_each_other_is_refused(queue: JobQueue) -> None:
    one = job("one")
    middle = Job("middle", jobs.nothing)
    twin = job("twin")
    one.dependencies, middle.dependencies = [middle.id], [twin.id]
    with pytest.raises(DependencyCycle, match="middle"):
        queue.submit_many([one, middle, twin])
    assert queue.stats()["total"] == 0


def test_what_completed_is_a_parent_that_is_done(queue: JobQueue, hand: Hand) -> None:
    first = queue.submit(job(period=60))
    hand.run()
    parent = job()
    child = Job("child", jobs.nothing, dependencies=[parent.id])
    assert queue.submit_many([parent, child]) == [first, child.id]
    assert hand.run() == child.id


def test_replace_does_not_change_what_a_job_waits_for(queue: JobQueue) -> None:
    parent = queue.submit(Job("parent", jobs.nothing))
    first = queue.submit(job(dependencies=[parent]))
    assert queue.submit(job("new", on_conflict="replace", dependencies=[parent])) == first
    assert queue.get_status(first)["name"] == "new"
    with pytest.raises(InvalidJob, match=rf"job 'newer': dependencies: job {first}.*'k'"):
        queue.submit_many([Job("x", jobs.nothing), job("newer", on_conflict="replace")])
    assert queue.get_status(first)["name"] == "new"
    assert queue.stats()["total"] == 2


def test_one_that_a_bad_end_cancels_at_once_is_not_brought_to_life_by_its_twin(queue: JobQueue) -> None:
    parent = queue.submit(Job("parent", jobs.nothing))
    assert queue.cancel(parent)
    one, two = (job(name, dependencies=[parent], on_conflict="replace") for name in ("one", "two"))
    assert queue.submit_many([one, two]) == [one.id, one.id]
    shown = queue.get_status(one.id)
    assert (shown["status"], shown["name"]) == ("cancelled", "one")
    assert f"{parent} failed" in shown["error"]


# -- becoming pending again ----------------------------------------------------------------------------------------


def test_a_retry_whose_key_was_taken_meanwhile_is_cancelled(
    queue: JobQueue, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    first = queue.submit(job(states=["pending"]))
    child = queue.submit(Job("child", jobs.nothing, dependencies=[first]))
    lease = hand.claim_one()
    second = queue.submit(job())
    hand.end(lease, how="raised")
    shown = queue.get_status(first)
    assert (shown["status"], shown["error"], shown["retry_after"]) == (
        "cancelled",
        f"replaced by {second}",
        None,
    )
    assert shown["completed_at"] is not None
    [run] = shown["executions"]
    assert (run["status"], run["error"]) == ("failed", "it raised"), "the run has its own word"
    assert status(queue, child) == "cancelled"
    assert status(queue, second) == "pending"
    assert counts_are_true(queue)


@pytest.mark.parametrize("how", ["died", "stopped", "unstarted", "hindered", "unavailable", "timeout"])
def test_so_is_whatever_comes_back(queue: JobQueue, hand: Hand, how: End) -> None:
    first = queue.submit(job(states=["pending"]))
    lease = hand.claim_one()
    second = queue.submit(job())
    hand.end(lease, how=how)
    shown = queue.get_status(first)
    assert (shown["status"], shown["error"]) == ("cancelled", f"replaced by {second}")
    assert counts_are_true(queue)


def test_a_retry_takes_its_key_back_from_one_that_has_no_right_to_it_any_more(
    queue: JobQueue, hand: Hand
) -> None:
    first = queue.submit(job(states=["pending"]))
    lease = hand.claim_one()
    second = queue.submit(job(states=["pending"]))
    other = hand.claim_one()
    hand.end(lease, how="raised")
    assert status(queue, first) == "pending"
    assert queue.submit(job()) == first
    hand.end(other, how="raised")
    assert queue.get_status(second)["error"] == f"replaced by {first}"


def test_of_two_that_come_back_at_once_one_stays(queue: JobQueue, hand: Hand) -> None:
    leases = []
    for _ in range(3):
        queue.submit(job(states=["pending"]))
        leases.append(hand.claim_one())
    hand.end(*leases, how="raised")
    assert [status(queue, lease.id) for lease in leases] == ["cancelled", "cancelled", "pending"]
    assert {queue.get_status(lease.id)["error"] for lease in leases[:2]} == {f"replaced by {leases[2].id}"}
    assert counts_are_true(queue)


def test_a_requeue_into_a_taken_key_is_refused_and_ends_as_cancelled(
    queue: JobQueue, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    first = queue.submit(job(max_attempts=1))
    child = queue.submit(Job("child", jobs.nothing, dependencies=[first]))
    hand.run("raised")
    second = queue.submit(job())
    assert not queue.requeue_job(first)
    assert f"its unique key is taken: replaced by {second}" in caplog.text
    shown = queue.get_status(first)
    assert (shown["status"], shown["error"], shown["attempts"]) == ("cancelled", f"replaced by {second}", 1)
    assert status(queue, child) == "cancelled"
    hand.run()
    assert queue.requeue_job(first), "the key is free again"
    assert status(queue, child) == "pending"
    assert queue.submit(job()) == first
    assert counts_are_true(queue)


def test_children_that_come_back_with_their_parent_give_way_too(queue: JobQueue, hand: Hand) -> None:
    parent = queue.submit(Job("parent", jobs.nothing, max_attempts=1))
    first, twin = (job(name, dependencies=[parent], states=["pending"]) for name in ("first", "twin"))
    free = Job("free", jobs.nothing, dependencies=[parent])
    queue.submit_many([first, free])
    grandchild = queue.submit(Job("grandchild", jobs.nothing, dependencies=[first.id]))
    assert hand.run("raised") == parent
    second = queue.submit(twin)  # cancelled at once, so that the key is free for one more
    third = queue.submit(job())
    assert queue.requeue_job(parent)
    assert status(queue, free.id) == "pending"
    for replaced in (first.id, second):
        shown = queue.get_status(replaced)
        assert (shown["status"], shown["error"]) == ("cancelled", f"replaced by {third}")
    assert status(queue, grandchild) == "cancelled"
    assert counts_are_true(queue)


def test_of_children_with_one_key_that_come_back_the_first_has_it(queue: JobQueue, hand: Hand) -> None:
    parent = queue.submit(Job("parent", jobs.nothing, max_attempts=1))
    hand.run("raised")
    children = [queue.submit(job(dependencies=[parent])) for _ in range(3)]
    assert queue.requeue_job(parent)
    assert sorted(status(queue, child) for child in children) == ["cancelled", "cancelled", "pending"]
    assert counts_are_true(queue)


# -- many at once --------------------------------------------------------------------------------------------------


def test_threads_that_submit_at_once_all_hear_of_one_job(db: str) -> None:
    queue = JobQueue(db)
    answers: list[str] = []
    ready = threading.Barrier(8)

    def submit() -> None:
        ready.wait(10)
        answers.extend(queue.submit(job(f"{n}")) for n in range(10))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 80
    assert len(set(answers)) == 1
    assert queue.stats()["total"] == 1


def test_processes_that_submit_at_once_all_hear_of_one_job_for_each_key(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    program = """
        import sys, jobs
        from gigq import Job, JobQueue
        queue = JobQueue(sys.argv[1])
        sys.stdin.close()
        for n in range(40):
            print(n % 4, queue.submit(Job("job", jobs.nothing, unique_key=f"key {n % 4}")))
    """
    answers: dict[str, set[str]] = {}
    for process in [start(program, db, cwd=tmp_path) for _ in range(3)]:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        for line in out.splitlines():
            key, job_id = line.split()
            answers.setdefault(key, set()).add(job_id)
    assert {key: len(ids) for key, ids in answers.items()} == dict.fromkeys("0123", 1)
    assert queue.stats()["total"] == 4


class OneForEachKey(RuleBasedStateMachine):
    """Whatever happens in whatever order: no two jobs have a right to one key, and whoever has it is found."""

    keys = st.sampled_from(["a", "b"])
    ways = st.sampled_from(
        [
            {},
            {"states": ["pending"]},
            {"states": ["pending", "running", "completed"]},
            {"states": [], "period": 20},
            {"states": ["pending"], "period": 20},
            {"period": 5, "on_conflict": "debounce"},
            {"on_conflict": "replace"},
            {"period": 20, "on_conflict": "replace"},
        ]
    )

    @initialize()
    def open(self) -> None:
        self.clock = TurnedClock()
        self.queue = JobQueue(":memory:", clock=self.clock)
        self.hand = Hand(self.queue, self.clock)
        self.leases: list[Lease] = []

    @rule(key=keys, way=ways)
    def submit(self, key: str, way: dict[str, Any]) -> None:
        before = self.entitled().get(key, [])
        new = job(key=key, max_attempts=2, **way)
        answer = self.queue.submit(new)
        assert answer == (before[0] if before else new.id)

    @rule(key=keys, way=ways)
    def submit_two(self, key: str, way: dict[str, Any]) -> None:
        before = self.entitled().get(key, [])
        new = [job(key=key, **way), job(key=key, **way)]
        answers = self.queue.submit_many(new)
        assert answers == ([before[0]] * 2 if before else [new[0].id] * 2)

    @rule()
    def claim(self) -> None:
        self.leases += self.hand.claim()

    @precondition(lambda self: self.leases)
    @rule(how=st.sampled_from(["returned", "raised", "unstarted", "died"]), all_of_them=st.booleans())
    def end(self, how: End, all_of_them: bool) -> None:
        ending = self.leases if all_of_them else self.leases[:1]
        self.leases = self.leases[len(ending) :]
        self.hand.end(*ending, how=how)

    @rule(number=st.integers(0, 5))
    def cancel(self, number: int) -> None:
        if chosen := self.queue.list_jobs("pending")[number : number + 1]:
            assert self.queue.cancel(chosen[0]["id"])

    @rule(number=st.integers(0, 5), which=st.sampled_from(["failed", "cancelled"]))
    def requeue(self, number: int, which: str) -> None:
        if chosen := self.queue.list_jobs(which)[number : number + 1]:
            job_id, key = chosen[0]["id"], chosen[0]["unique_key"]
            others = [other for other in self.entitled().get(key, []) if other != job_id]
            if not self.queue.requeue_job(job_id):
                assert self.queue.get_status(job_id)["error"] == f"replaced by {others[0]}"
            elif others:
                assert job_id not in self.entitled()[key], "it did not want the key any more"

    @rule(seconds=st.sampled_from([1, 6, 21]))
    def wait(self, seconds: int) -> None:
        self.clock.turn(seconds)

    @rule()
    def clear(self) -> None:
        self.queue.clear_completed()

    def entitled(self) -> dict[str, list[str]]:
        """Key -> jobs that have a right to it, by the rule as the documentation has it."""
        found: dict[str, list[str]] = {}
        with self.queue._store._reading() as tx:
            rows = tx._execute(
                "SELECT unique_key, id, status, unique_states, unique_until, unique_slot FROM job"
            ).fetchall()
        for key, job_id, state, states, until, slot in rows:
            in_period = until is not None and until > self.clock.now() and state != "cancelled"
            if state in states.split(",") or in_period:
                assert slot == key
                found.setdefault(key, []).append(job_id)
        return found

    @invariant()
    def at_most_one(self) -> None:
        if hasattr(self, "queue"):
            assert {len(ids) for ids in self.entitled().values()} <= {1}
            assert counts_are_true(self.queue)


OneForEachKey.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOneForEachKey = OneForEachKey.TestCase
