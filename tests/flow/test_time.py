"""Jobs that start later, expire, or have a deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from processes import at_work, wait_until
from stores import Hands, new_job

from gigq import InvalidJob, Job, JobQueue, Worker, Workflow, task
from gigq.clock import SECOND, SYSTEM, to_iso
from gigq.status import End
from gigq.store import verbs, work
from gigq.timing import Times

MakeWorker = Callable[..., Worker]


def timed(job_id: str, now: int, parents: list[str] | None = None, **seconds: float) -> Any:
    """A job with ``due``, ``expires`` and ``deadline`` so many seconds from now."""
    at = {name: now + round(value * SECOND) for name, value in seconds.items() if name != "retry_delay"}
    deadline_at = at.get("deadline")
    made = new_job(job_id, parents, retry_delay=seconds.get("retry_delay", 0))
    ends = [at[name] for name in ("expires", "deadline") if name in at]
    deadline = None if deadline_at is None else deadline_at - now
    made.times = Times(at.get("due"), at.get("expires"), deadline_at, deadline, min(ends, default=None))
    return made


def ended(hands: Hands, job_id: str) -> tuple[str, str]:
    row = hands.job(job_id)
    assert row["ends_at"] is None
    return row["status"], str(row["error"]).partition(" ")[0]


# -- later ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"delay": 60}, {"delay": timedelta(minutes=1)}, {"run_at": None}], ids=str)
def test_a_job_starts_when_it_is_due_and_not_before(
    queue: JobQueue, worker: Worker, clock: TurnedClock, given: dict[str, Any]
) -> None:
    due = to_iso(clock.now() + 60 * SECOND)
    options: dict[str, Any] = {key: value or due for key, value in given.items()}
    job = queue.submit(Job("one", jobs.nothing, **options))
    status = queue.get_status(job)
    assert (status["run_at"], status["retry_after"], status["status"]) == (due, due, "pending")
    clock.turn(59.999999)
    assert not worker.process_one()
    clock.turn(0.000001)
    assert worker.process_one()
    assert queue.get_status(job)["run_at"] is None


def test_a_delay_counts_from_the_submission_and_not_from_the_construction(
    queue: JobQueue, clock: TurnedClock
) -> None:
    job = Job("one", jobs.nothing, delay=60)
    clock.turn(3600)
    queue.submit(job)
    assert queue.get_status(job.id)["run_at"] == to_iso(clock.now() + 60 * SECOND)


def test_a_job_that_is_due_keeps_its_place_by_priority(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("later", clock.now(), due=5), "sooner")
    clock.turn(5)
    assert hands.run_all() == ["later", "sooner"]


def test_a_job_that_is_due_still_waits_for_its_parents(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("parent", timed("child", clock.now(), ["parent"], due=5))
    clock.turn(5)
    assert [lease.id for lease in hands.claim(5)] == ["parent"]
    hands.settle(hands.store.running()[0])
    hands.run("child")


def test_a_job_of_a_workflow_may_start_later(queue: JobQueue, worker: Worker, clock: TurnedClock) -> None:
    workflow = Workflow("two")
    first = workflow.add_job(Job("first", jobs.nothing))
    workflow.add_job(Job("second", jobs.nothing, delay=10), depends_on=[first])
    workflow.submit_all(queue)
    assert worker.process_one()
    assert not worker.process_one()
    clock.turn(10)
    assert worker.process_one()


def test_future_jobs_that_are_called_off_leave_nothing(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("one", clock.now(), due=5, expires=9))
    hands.cancel("one")
    row = hands.job("one")
    assert (row["due_at"], row["ends_at"]) == (None, None)
    assert hands.store.peek().next_due is None


def test_what_could_never_start_is_refused_and_nothing_written(queue: JobQueue, clock: TurnedClock) -> None:
    due = to_iso(clock.now() + 60 * SECOND)
    made = [Job("good", jobs.nothing), Job("bad", jobs.nothing, run_at=due, expires=60)]
    with pytest.raises(InvalidJob, match="job 'bad': expires: 60 s is not after run_at"):
        queue.submit_many(made)
    assert queue.stats()["total"] == 0


# -- expired -------------------------------------------------------------------------------------------------------


def test_a_job_that_expired_is_cancelled_and_never_started(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job = queue.submit(Job("one", jobs.nothing, expires=60))
    at = to_iso(clock.now() + 60 * SECOND)
    assert queue.get_status(job)["expires_at"] == at
    clock.turn(60)
    assert not worker.process_one()
    status = queue.get_status(job)
    assert (status["status"], status["attempts"], status["executions"]) == ("cancelled", 0, [])
    assert status["error"] == f"expired: it was not to start after {at[:19]}+00:00"
    assert status["completed_at"] == to_iso(clock.now())
    assert queue.stats()["cancelled"] == 1


def test_a_job_that_started_in_time_does_not_expire(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("one", clock.now(), expires=5))
    clock.turn(4.999999)
    lease = hands.claim_one("one")
    clock.turn(3600)
    assert hands.store.peek().next_due is None
    assert hands.claim(5) == []
    assert hands.status("one") == "running"
    hands.settle(lease)
    assert hands.status("one") == "completed"


@pytest.mark.parametrize("end", ["raised", "timeout", "died", "stopped", "unstarted", "unavailable"])
def test_a_retry_is_a_start_too(hands: Hands, clock: TurnedClock, end: End) -> None:
    hands.submit(timed("one", clock.now(), expires=5))
    lease = hands.claim_one("one")
    hands.settle(lease, end)
    assert hands.job("one")["ends_at"] is not None
    clock.turn(5)
    assert hands.claim(5) == []
    assert ended(hands, "one") == ("cancelled", "expired:")
    assert (f"it {end}" in hands.job("one")["error"]) == (end != "unstarted"), "the last run is not forgotten"


def test_what_happens_to_children_is_what_they_say_of_a_cancelled_parent(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(
        timed("parent", clock.now(), expires=5), *[new_job(p, ["parent"], policy=p) for p in _POLICIES]
    )
    hands.submit(new_job("grandchild", ["cancel"]))
    clock.turn(5)
    assert [lease.id for lease in hands.claim(5)] == ["run"]
    assert [hands.status(job) for job in ("cancel", "grandchild", "wait")] == [
        "cancelled",
        "cancelled",
        "pending",
    ]


_POLICIES = ("cancel", "run", "wait")


def test_a_requeued_job_does_not_expire_any_more_and_its_deadline_counts_anew(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(timed("one", clock.now(), expires=5, deadline=60))
    clock.turn(5)
    hands.claim()
    assert hands.requeue("one") is None
    row = hands.job("one")
    assert (row["expires_at"], row["deadline_at"], row["ends_at"]) == (
        None,
        clock.now() + 60 * SECOND,
        clock.now() + 60 * SECOND,
    )
    hands.run("one")


def test_a_parent_that_is_over_counts_as_ended_when_its_child_is_requeued(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(timed("parent", clock.now(), expires=5), new_job("child", ["parent"]))
    hands.cancel("child")
    clock.turn(5)
    refusal = hands.requeue("child")
    assert refusal == "its parent parent ended badly; requeue that first"
    assert ended(hands, "parent")[0] == "cancelled"


def test_a_child_that_comes_back_with_its_parent_does_so_too(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("parent", timed("child", clock.now(), ["parent"], expires=50, deadline=60))
    hands.fail("parent")
    assert hands.job("child")["ends_at"] is None
    clock.turn(100)
    hands.requeue("parent")
    assert hands.job("child")["ends_at"] == clock.now() + 60 * SECOND


def test_more_may_expire_at_once_than_one_exchange_ends_and_none_of_them_starts(
    hands: Hands, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (verbs, work):
        monkeypatch.setattr(module, "PIECE", 10)
    hands.submit(*[timed(f"{n}", clock.now(), expires=1) for n in range(25)], "stays")
    clock.turn(1)
    assert [[lease.id for lease in hands.claim(5)] for _ in range(3)] == [[], [], ["stays"]]
    assert hands.store.stats()["cancelled"] == 25


def test_an_exchange_that_claims_nothing_ends_what_is_over(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("one", clock.now(), expires=1))
    clock.turn(1)
    hands.exchange([])
    assert ended(hands, "one") == ("cancelled", "expired:")


def test_what_is_over_ends_without_an_exchange_too(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("one", clock.now(), expires=1), timed("two", clock.now(), deadline=1))
    assert not hands.store.expire(clock.now())
    clock.turn(1)
    assert hands.store.expire(clock.now())
    assert not hands.store.expire(clock.now())
    assert (ended(hands, "one"), ended(hands, "two")) == (
        ("cancelled", "expired:"),
        ("timeout", "TimeoutError:"),
    )


def test_a_held_job_and_one_of_a_paused_queue_expire_too(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("held", clock.now(), expires=5))
    hands.run("held", "unavailable")
    hands.submit(timed("paused", clock.now(), expires=5))
    hands.store.pause("default", None, clock.now())
    clock.turn(5)
    assert hands.store.peek().has_work(clock.now())
    hands.claim()
    assert [ended(hands, job)[0] for job in ("held", "paused")] == ["cancelled", "cancelled"]
    assert not hands.store.peek().has_work(clock.now())


# -- deadlines -----------------------------------------------------------------------------------------------------


def test_a_job_that_waits_past_its_deadline_times_out(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("parent", timed("child", clock.now(), ["parent"], deadline=5))
    clock.turn(5)
    assert [lease.id for lease in hands.claim(5)] == ["parent"]
    assert ended(hands, "child") == ("timeout", "TimeoutError:")


@pytest.mark.parametrize(
    ("expires", "deadline", "status"), [(5, 6, "cancelled"), (6, 5, "timeout"), (5, 5, "cancelled")]
)
def test_the_earlier_of_the_two_ends_it(
    hands: Hands, clock: TurnedClock, expires: int, deadline: int, status: str
) -> None:
    hands.submit(timed("one", clock.now(), expires=expires, deadline=deadline))
    clock.turn(100)
    hands.claim()
    assert hands.status("one") == status


@pytest.mark.parametrize(
    ("timeout", "waited", "left"), [(300, 0, 60), (300, 45, 15), (10, 45, 10), (None, 59, 1)]
)
def test_a_run_has_the_time_to_its_deadline_at_most(
    hands: Hands, clock: TurnedClock, timeout: int | None, waited: int, left: int
) -> None:
    job = timed("one", clock.now(), deadline=60)
    job.timeout = None if timeout is None else timeout * SECOND
    hands.submit(job)
    clock.turn(waited)
    lease = hands.claim_one("one")
    assert lease.timeout == left * SECOND
    [seen] = hands.store.running()
    assert (seen.timeout, seen.deadline_at) == (lease.timeout, lease.deadline_at)


@pytest.mark.parametrize(("end", "status"), [("raised", "failed"), ("timeout", "timeout")])
@pytest.mark.parametrize(("delay", "again"), [(4, True), (5, False), (0, True)])
def test_what_fails_is_tried_again_only_before_its_deadline(
    hands: Hands, clock: TurnedClock, end: End, status: str, delay: int, again: bool
) -> None:
    hands.submit(timed("one", clock.now(), deadline=60, retry_delay=delay))
    lease = hands.claim_one("one")
    clock.turn(55)
    hands.settle(lease, end)
    assert hands.status("one") == ("pending" if again else status)
    assert ("deadline" in hands.job("one")["error"]) == (not again)


def test_what_was_given_back_past_its_deadline_times_out(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(timed("one", clock.now(), deadline=60))
    lease = hands.claim_one("one")
    clock.turn(60)
    hands.settle(lease, "unstarted")
    assert hands.status("one") == "timeout"


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_run_is_stopped_at_its_deadline_and_not_tried_again(
    tmp_path: Any, make_worker: MakeWorker, executor: str
) -> None:
    queue = JobQueue(tmp_path / "jobs.db")
    worker = make_worker(queue, executor=executor)
    first = queue.submit(Job("first", jobs.nothing))
    with at_work(worker):
        wait_until(lambda: queue.get_status(first)["status"] == "completed", "the worker is up")
        job = queue.submit(Job("one", jobs.wait_for, {"path": str(tmp_path / "never")}, deadline=1))
        wait_until(lambda: queue.get_status(job)["status"] not in ("pending", "running"), "it ends")
    status = queue.get_status(job)
    assert (status["status"], status["attempts"], len(status["executions"])) == ("timeout", 1, 1)
    assert status["error"].startswith(f"TimeoutError: ran past its deadline of {status['deadline_at']}")


def test_process_one_stops_at_the_deadline_too(queue: JobQueue, make_worker: MakeWorker) -> None:
    queue.clock = SYSTEM
    job = queue.submit(Job("one", jobs.sleep, {"seconds": 0.6}, deadline=0.3))
    make_worker(queue).process_one()
    assert queue.get_status(job)["status"] == "timeout"


def test_an_idle_worker_ends_what_is_over_in_time(queue: JobQueue, make_worker: MakeWorker) -> None:
    queue.clock = SYSTEM
    queue.pause("mail")
    worker = make_worker(queue, polling_interval=3600, queues=["other"])
    job = queue.submit(Job("one", jobs.nothing, expires=0.2, queue="mail"))
    with at_work(worker):
        wait_until(lambda: queue.get_status(job)["status"] == "cancelled", "it expires")


# -- all of them ------------------------------------------------------------------------------------------


def test_a_task_says_it_all(queue: JobQueue, clock: TurnedClock) -> None:
    made = task(queue="mail", delay=1, expires=timedelta(seconds=2), deadline=3)(jobs.nothing)
    status = queue.get_status(made.submit(queue))
    times = {key: status[key] for key in ("run_at", "expires_at", "deadline_at")}
    assert times == {
        key: to_iso(clock.now() + seconds * SECOND)
        for key, seconds in (("run_at", 1), ("expires_at", 2), ("deadline_at", 3))
    }
    [listed] = queue.list_jobs()
    assert {key: listed[key] for key in times} == times
