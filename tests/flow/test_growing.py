"""A running job adds jobs to its graph: whatever runs it, once, with its good end, and what waits for it waits for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flow_jobs
import jobs
import pytest
from crews import working
from processes import run_code, wait_until
from stores import Hands, new_job

from gigq import DependencyCycle, Job, JobQueue, UnknownParent, Worker, Workflow
from gigq.newjob import MOST_ADDED, NewJob
from gigq.store import open_memory

ENDS = {"completed", "failed", "timeout", "cancelled"}
Drain = Callable[[], None]


@pytest.fixture(params=["process_one", "threads", "processes"])
def drain(request: pytest.FixtureRequest, db: str) -> Drain:
    """Run all that is in ``db``, one way or another."""

    def all_over() -> bool:
        stats = JobQueue(db).stats()
        return not stats["pending"] and not stats["running"]

    def run_singly() -> None:
        worker = Worker(db)
        while worker.process_one():
            pass
        worker.close()

    def run_in_threads() -> None:
        worker = Worker(db, polling_interval=0.02, concurrency=2)
        worker.on_turn = lambda told: None if told or not all_over() else worker.stop()
        worker.start()

    def run_in_processes() -> None:
        with working(db, polling_interval=0.05):
            wait_until(all_over, "all to be over")

    return {"process_one": run_singly, "threads": run_in_threads, "processes": run_in_processes}[
        request.param
    ]


@pytest.fixture
def on_file(db: str) -> JobQueue:
    return JobQueue(db, durability="normal")


def drain_queue(queue: JobQueue) -> None:
    worker = Worker(queue)
    while worker.process_one():
        pass
    worker.close()


def by_name(queue: JobQueue) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in queue.list_jobs(limit=1000)}


@pytest.mark.parametrize("function", [flow_jobs.grow, flow_jobs.grow_async])
def test_what_depends_on_it_waits_for_what_it_adds(on_file: JobQueue, drain: Drain, function: Any) -> None:
    workflow = Workflow("w")
    first = workflow.add_job(Job("first", function, {"values": ["a", "b", {"c": None}]}))
    other = workflow.add_task(flow_jobs.value, {"of": "other"})
    last = workflow.add_job(Job("last", flow_jobs.total), depends_on=[first, other])
    workflow.submit_all(on_file)
    drain()
    assert on_file.stats()["completed"] == 6
    assert on_file.get_result(last.id) == ["grown", "other", "a", "b", {"c": None}], (
        "in order, behind the others"
    )
    found = on_file.workflow(workflow.id)
    assert (found.status, found.progress["total"]) == ("completed", 6)
    assert [job["name"] for job in found.jobs()] == ["first", "value", "last", "value", "value", "value"]
    chain = [job["dependencies"] for job in found.jobs()][3:]
    assert [len(parents) for parents in chain] == [0, 1, 1]


def test_a_failed_run_adds_nothing_and_the_good_one_adds_once(
    on_file: JobQueue, drain: Drain, tmp_path: Path
) -> None:
    path = str(tmp_path / "runs")
    job = on_file.submit(Job("grow", flow_jobs.grow_and_fail, {"path": path, "times": 1}))
    hopeless = on_file.submit(Job("hopeless", flow_jobs.grow_and_fail, {"path": f"{path}2"}, max_attempts=2))
    drain()
    assert on_file.get_status(job)["attempts"] == 2
    assert on_file.get_status(hopeless)["status"] == "failed"
    assert on_file.stats() == {**on_file.stats(), "completed": 2, "failed": 1, "total": 3}


def test_what_cannot_be_added_is_refused_in_the_job(on_file: JobQueue, drain: Drain) -> None:
    first = Job("first", jobs.nothing)
    unknown = Job("unknown", flow_jobs.grow_below, {"parents": ["never was"]})
    circle = Job("circle", flow_jobs.grow_below)
    waiting = Job("waiting", jobs.nothing, dependencies=[circle.id])
    far = Job("far", jobs.nothing, dependencies=[waiting.id])
    circle.params = {"parents": [far.id]}
    good = Job("good", flow_jobs.grow_below, {"parents": [first.id]})
    on_file.submit_many([first, unknown, circle, waiting, far, good])
    drain()
    kind, told = on_file.get_result(unknown.id) or []
    assert (kind, "never was" in told) == ("UnknownParent", True)
    kind, told = on_file.get_result(circle.id) or []
    assert (kind, "waits for the job which adds it" in told) == ("DependencyCycle", True)
    [added] = on_file.get_result(good.id) or []
    assert on_file.get_status(added)["dependencies"] == [first.id]
    assert on_file.stats()["completed"] == on_file.stats()["total"] == 7


def test_a_job_may_be_added_below_the_one_that_adds_it(on_file: JobQueue, drain: Drain) -> None:
    first = on_file.submit(Job("first", flow_jobs.grow_below_me))
    drain()
    below = by_name(on_file)["below"]
    assert (below["dependencies"], below["result"]) == ([first], [None])


def test_generation_after_generation(queue: JobQueue) -> None:
    first = Job("generation 20", flow_jobs.grow_in_generations, {"left": 20})
    last = Job("last", flow_jobs.total, dependencies=[first.id])
    queue.submit_many([first, last])
    drain_queue(queue)
    assert queue.stats()["completed"] == 22
    assert queue.get_result(last.id) == [*range(20, -1, -1)], "it waited for what each of them added"


def test_what_is_wrong_is_told_at_once_and_nothing_is_added(queue: JobQueue) -> None:
    job = queue.submit(Job("grow", flow_jobs.grow_wrongly))
    drain_queue(queue)
    twice, unstorable, nested, function, plain, no_list = queue.get_result(job) or []
    assert twice.startswith("DuplicateJob: add: job 'twice'")
    assert unstorable.startswith("InvalidValue: job 'unstorable': params['value']")
    assert nested.startswith("InvalidJob: function: a lambda")
    assert function == "TypeError: add: a Job is needed, not TaskWrapper; use add_task for a @task"
    assert plain.startswith("TypeError: add_task: a function with @task is needed")
    assert no_list.startswith("TypeError: add: depends_on takes a list of jobs")
    assert [job["name"] for job in queue.list_jobs()] == ["twice", "grow"], "what was refused is not there"


def test_a_graph_over_the_limit_is_refused_in_the_job(queue: JobQueue) -> None:
    many = Job("many", flow_jobs.grow_many, {"n": MOST_ADDED + 1})
    large = Job("large", flow_jobs.grow_large, {"n": 9, "size": 900_000})
    wide = Job("wide", flow_jobs.grow_many, {"n": 100})
    children = [Job("child", jobs.nothing, dependencies=[wide.id]) for _ in range(150)]
    queue.submit_many([many, large, wide, *children])
    worker = Worker(queue)
    for _ in range(3):
        assert worker.process_one()
    worker.close()
    assert (queue.get_result(many.id) or [])[:2] == [str(MOST_ADDED), "InvalidJob"]
    assert (queue.get_result(large.id) or [])[0] == "4"
    assert "4,194,304 bytes" in (queue.get_result(large.id) or [])[1]
    at, kind, told = queue.get_result(wide.id) or []
    assert (at, kind) == ("66", "InvalidJob")
    assert told.startswith(
        "add: 150 jobs depend on this one and would wait for each that it adds; so it may add 66 at most"
    )
    assert queue.stats()["total"] == 3 + 150 + MOST_ADDED + 4 + 66


def test_an_added_job_that_ends_badly_is_a_parent_that_did(queue: JobQueue) -> None:
    first = Job("first", flow_jobs.grow_a_bad_one)
    cancelled = Job("cancelled", jobs.nothing, dependencies=[first.id])
    runs = Job("runs", flow_jobs.total, dependencies=[first.id], on_parent_failure="run")
    queue.submit_many([first, cancelled, runs])
    drain_queue(queue)
    assert queue.get_status(cancelled.id)["status"] == "cancelled"
    assert "parent broken" in queue.get_status(cancelled.id)["error"]
    assert queue.get_result(runs.id) == [None, None]
    bad = by_name(queue)["broken"]["id"]
    assert queue.requeue_job(bad)
    assert queue.get_status(cancelled.id)["status"] == "pending", (
        "it comes back with what it was cancelled for"
    )


def test_a_script_adds_its_own_functions(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from gigq import *\n"
        "def leaf(n):\n    return n\n"
        "def root():\n    current_job().add(Job('leaf', leaf, {'n': 7}))\n"
        "if __name__ == '__main__':\n    JobQueue('jobs.db').submit(Job('root', root))\n"
    )
    code = """
        import runpy, gigq, crews
        runpy.run_path("script.py", run_name="other")
        import subprocess, sys
        subprocess.run([sys.executable, "script.py"], check=True)
        with crews.working("jobs.db", polling_interval=0.05):
            crews.wait_until(lambda: gigq.JobQueue("jobs.db").stats()["completed"] == 2, "both to be over")
        print(gigq.JobQueue("jobs.db").list_jobs()[0]["result"])
    """
    assert run_code(code, cwd=tmp_path) == "7\n"


# -- in the store ------------------------------------------------------------------------------------------------


@pytest.fixture
def hands(clock: Any) -> Hands:
    return Hands(open_memory(), clock)


def grown(hands: Hands, lease: Any, *rows: NewJob) -> Any:
    outcome = hands.outcome(lease)
    outcome.grown = list(rows)
    return outcome


def test_a_run_that_has_lost_its_lease_adds_nothing(hands: Hands) -> None:
    hands.submit("a")
    late = hands.claim_one("a")
    hands.settle(late, "stopped")
    lease = hands.claim_one("a")
    assert hands.exchange([grown(hands, late, new_job("late"))]).lost
    hands.exchange([grown(hands, lease, new_job("b"))])
    assert hands.statuses() == {"a": "completed", "b": "pending"}


def test_what_became_wrong_meanwhile_fails_its_job_and_no_other(hands: Hands) -> None:
    """Two jobs that grow would close a circle together; neither could see it when it added."""
    hands.submit("one", "two", "three", new_job("below one", ["one"]), new_job("below two", ["two"]))
    one, two, three = hands.claim(3)
    outcomes = [
        grown(hands, one, new_job("x", ["below two"])),
        grown(hands, two, new_job("y", ["below one"])),
        grown(hands, three, new_job("z")),
    ]
    answer = hands.exchange(outcomes)
    assert [one.lease.id for one in answer.refused] == ["two"]
    assert hands.statuses() == {
        "one": "completed",
        "two": "failed",
        "three": "completed",
        "below one": "cancelled",
        "below two": "cancelled",
        "x": "cancelled",
        "z": "pending",
    }, "x waited for a job below two, and below one for x"
    assert "depends on one that waits for the job which adds it" in hands.job("two")["error"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (new_job("a"), "is in the queue already"),
        (new_job("b", ["cleared"]), "which is not in the queue"),
    ],
)
def test_an_id_that_is_taken_or_a_parent_that_was_cleared(hands: Hands, row: NewJob, told: str) -> None:
    hands.submit("a")
    hands.exchange([grown(hands, hands.claim_one("a"), row)])
    assert hands.statuses() == {"a": "failed"}
    assert told in hands.job("a")["error"]


def test_an_added_job_whose_parent_has_ended_badly_already(hands: Hands) -> None:
    hands.submit("bad", "a", new_job("child", ["a"]), new_job("kept", ["a"], policy="run"))
    hands.fail("bad")
    lease = hands.claim_one("a")
    hands.exchange([grown(hands, lease, new_job("b", ["bad"]), new_job("c"))])
    assert hands.statuses() == {
        "bad": "failed",
        "a": "completed",
        "child": "cancelled",
        "kept": "pending",
        "b": "cancelled",
        "c": "pending",
    }
    assert hands.job("kept")["parents_left"] == 1
    hands.run("c")
    assert hands.ready() == ["kept"]


def test_an_added_job_that_is_unique_and_meets_another_is_not_waited_for(queue: JobQueue) -> None:
    other = queue.submit(Job("other", jobs.nothing, unique_key="k", priority=-1))
    first = Job("first", flow_jobs.grow_unique, {"key": "k"})
    last = Job("last", flow_jobs.total, dependencies=[first.id])
    queue.submit_many([first, last])
    worker = Worker(queue)
    assert worker.process_one()
    assert worker.process_one()
    worker.close()
    assert queue.get_result(last.id) == ["grown"]
    assert queue.get_status(other)["status"] == "pending"
    assert queue.stats()["total"] == 3


def test_children_that_were_cancelled_wait_too_once_they_come_back(hands: Hands) -> None:
    hands.submit("a", new_job("child", ["a"]))
    lease = hands.claim_one("a")
    assert hands.cancel("child")
    hands.exchange([grown(hands, lease, new_job("b"))])
    assert hands.requeue("child") is None
    assert hands.ready() == ["b"]
    hands.run("b")
    assert hands.ready() == ["child"]


def test_a_parent_of_thousands_that_grows(hands: Hands) -> None:
    """The news of its end is in pieces; each child waits for what was added all the same."""
    hands.submit(new_job("a", priority=1), *[new_job(f"{n}", ["a"]) for n in range(5000)])
    hands.exchange([grown(hands, hands.claim_one("a"), new_job("b"))])
    assert hands.ready() == ["b"]
    hands.finish()
    assert hands.ready() == ["b"]
    hands.run("b")
    hands.finish()
    assert len(hands.ready()) == 5000


def test_room_is_asked_of_the_store(hands: Hands) -> None:
    hands.submit("a", new_job("child", ["a"]), new_job("grandchild", ["child"]), "done")
    lease = hands.claim_one("a")
    hands.run("done")
    assert hands.store.room_to_grow(lease.seq, []) == 1
    assert hands.store.room_to_grow(lease.seq, ["done"]) == 1
    with pytest.raises(UnknownParent, match="neither in the queue nor added before"):
        hands.store.room_to_grow(lease.seq, ["done", "never was"])
    with pytest.raises(DependencyCycle):
        hands.store.room_to_grow(lease.seq, ["grandchild"])
