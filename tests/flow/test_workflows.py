"""Workflows that are found again: how far they are, what came out; cancelled, retried and run as a whole."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from pathlib import Path
from typing import Any

import flow_jobs
import jobs
import pytest
from processes import PATIENCE, start, wait_until

from gigq import InvalidJob, Job, JobQueue, Worker, Workflow, WorkflowFailed
from gigq.store.claiming import Claim
from gigq.submitted import SubmittedWorkflow
from gigq.worker import settling


def drain(queue: JobQueue) -> None:
    worker = Worker(queue)
    while worker.process_one():
        pass
    worker.close()


def statuses(found: SubmittedWorkflow) -> dict[str, str]:
    return {job["name"]: job["status"] for job in found.jobs()}


def submitted(queue: JobQueue, workflow: Workflow) -> SubmittedWorkflow:
    workflow.submit_all(queue)
    return queue.workflow(workflow.id)


def diamond(**options: Any) -> Workflow:
    """``top``, then ``left`` and ``right``, then ``bottom``."""
    workflow = Workflow("diamond")
    top = workflow.add_job(Job("top", jobs.echo, {"value": 1}, **options))
    left = workflow.add_job(Job("left", jobs.echo, {"value": 2}), [top])
    right = workflow.add_job(Job("right", jobs.echo, {"value": 3}), [top])
    workflow.add_job(Job("bottom", jobs.merge), [left, right])
    return workflow


# -- found again -------------------------------------------------------------------------------------------------


def test_it_is_found_by_its_id_and_says_how_far_it_is(queue: JobQueue) -> None:
    workflow = diamond()
    found = submitted(queue, workflow)
    queue.submit(Job("another", jobs.fail, max_attempts=1))
    assert (found.id, found.name) == (workflow.id, "diamond")
    seen = [(found.status, found.progress["completed"])]
    worker = Worker(queue)
    for _ in range(5):
        worker.process_one()
        seen.append((found.status, found.progress["completed"]))
    worker.close()
    ran = ["pending", "running", "running", "running", "completed", "completed"]
    assert seen == list(zip(ran, [0, 1, 2, 3, 4, 4], strict=True)), "the other job is none of its own"
    assert found.progress == {
        **dict.fromkeys(("pending", "running", "failed", "timeout", "cancelled"), 0),
        "completed": 4,
        "total": 4,
    }


def test_its_jobs_name_it_and_others_do_not(queue: JobQueue) -> None:
    before = queue.submit(Job("before", jobs.nothing))
    workflow = diamond()
    ids = workflow.submit_all(queue)
    after = queue.submit(Job("after", jobs.nothing))
    assert {queue.get_status(job)["workflow"] for job in ids} == {workflow.id}
    assert queue.get_status(before)["workflow"] is queue.get_status(after)["workflow"] is None
    assert [job["id"] for job in queue.workflow(workflow.id).jobs()] == ids
    assert [job["workflow"] for job in queue.list_jobs()] == [None, *[workflow.id] * 4, None]


def test_several_are_listed_newest_first(queue: JobQueue) -> None:
    workflows = [diamond() for _ in range(3)]
    for workflow in workflows:
        workflow.submit_all(queue)
    assert [found.id for found in queue.workflows()] == [one.id for one in reversed(workflows)]
    assert [found.id for found in queue.workflows(1)] == [workflows[2].id]
    with pytest.raises(InvalidJob, match="limit"):
        queue.workflows(-1)


def test_one_that_is_not_there(queue: JobQueue) -> None:
    for unknown in ("never was", diamond().id, "\ud800"):
        with pytest.raises(KeyError, match="is not in"):
            queue.workflow(unknown)


def test_when_it_was_made(queue: JobQueue) -> None:
    workflow = diamond()
    assert submitted(queue, workflow).created_at >= workflow.jobs[0].created_at


def test_an_empty_one_is_not_stored(queue: JobQueue) -> None:
    assert Workflow("empty").submit_all(queue) == []
    assert queue.workflows() == []


@pytest.mark.parametrize("name", ["", "nul\x00", "\ud800", None, 7])
def test_a_name_that_cannot_be_stored(queue: JobQueue, name: Any) -> None:
    workflow = Workflow(name)
    workflow.add_job(Job("one", jobs.nothing))
    with pytest.raises(InvalidJob, match="name: a workflow's is text"):
        workflow.submit_all(queue)
    assert queue.stats()["total"] == 0


def test_a_unique_job_that_meets_another_is_none_of_its_jobs(queue: JobQueue) -> None:
    other = queue.submit(Job("other", jobs.nothing, unique_key="k"))
    workflow = Workflow("w")
    met = workflow.add_job(Job("met", jobs.nothing, unique_key="k"))
    after = workflow.add_job(Job("after", jobs.nothing), [met])
    ends = workflow.on_end(Job("ends", flow_jobs.how_all_ended, unique_key="k"))
    assert workflow.submit_all(queue) == [other, after.id, other]
    found = queue.workflow(workflow.id)
    assert [(job["id"], job["dependencies"]) for job in found.jobs()] == [(after.id, [other])]
    assert found.cancel() == 1
    assert queue.get_status(other)["workflow"] is None
    assert queue.get_status(ends.id) == {"exists": False}


def test_as_a_part_of_the_callers_transaction(db: str) -> None:
    queue = JobQueue(db)
    workflow = diamond()
    with contextlib.closing(sqlite3.connect(db)) as connection:
        workflow.submit_all(queue, connection=connection)
        assert queue.workflows() == []
        connection.rollback()
        workflow.submit_all(queue, connection=connection)
        connection.commit()
    assert queue.workflow(workflow.id).progress["total"] == 4


def test_submitting_it_twice_is_refused_and_changes_nothing(queue: JobQueue) -> None:
    workflow = diamond()
    found = submitted(queue, workflow)
    with pytest.raises(InvalidJob, match="is in the queue already"):
        workflow.submit_all(queue)
    assert found.progress["total"] == 4


def test_it_goes_with_its_last_job(queue: JobQueue) -> None:
    first, second = diamond(), diamond()
    one = submitted(queue, first)
    drain(queue)
    two = submitted(queue, second)
    assert queue.clear_completed() == 4
    assert [found.id for found in queue.workflows()] == [two.id]
    assert one.progress["total"] == 0
    drain(queue)
    queue.clear_completed()
    assert queue.workflows() == []


# -- results -----------------------------------------------------------------------------------------------------


def test_results_by_id_job_and_name(queue: JobQueue) -> None:
    workflow = diamond()
    found = submitted(queue, workflow)
    drain(queue)
    results = found.results()
    bottom = workflow.jobs[3]
    assert results["bottom"] == results[bottom] == results[bottom.id] == [2, 3]
    assert list(results) == [job.id for job in workflow.jobs]
    assert list(results.values()) == [1, 2, 3, [2, 3]]


def test_results_that_are_not_there_say_why(queue: JobQueue) -> None:
    workflow = Workflow("w")
    for _ in range(2):
        workflow.add_job(Job("same", jobs.nothing))
    bad = workflow.add_job(Job("bad", jobs.fail, max_attempts=1))
    results = submitted(queue, workflow).results()
    assert len(results) == 0
    drain(queue)
    results = queue.workflow(workflow.id).results()
    assert len(results) == 2
    for key, told in (
        ("same", "2 jobs are called 'same'"),
        ("bad", "has no result: it is failed"),
        (bad, "has no result: it is failed"),
        ("other", "no job of this workflow is called 'other'"),
    ):
        with pytest.raises(KeyError, match=told):
            results[key]


# -- cancelling --------------------------------------------------------------------------------------------------


def test_cancel_calls_off_what_is_pending_and_asks_what_runs(queue: JobQueue) -> None:
    workflow = diamond()
    found = submitted(queue, workflow)
    other = queue.submit(Job("other", jobs.nothing))
    store, now = queue._store, queue.clock.now()
    [lease] = store.exchange([], Claim(1, 1), now).claimed
    assert lease.name == "top"
    assert found.cancel() == 4
    assert statuses(found) == {
        "top": "running",
        "left": "cancelled",
        "right": "cancelled",
        "bottom": "cancelled",
    }
    assert store.stop_requests() == [lease.execution_id]
    assert {job["error"] for job in found.jobs()} == {None}, "by their owner, and not for a parent's sake"
    assert queue.get_status(other)["status"] == "pending"
    store.exchange([settling.decide(lease, "cancelled", now, started_at=now)], None, now)
    assert (found.status, found.cancel()) == ("cancelled", 0)


def test_what_runs_at_the_end_is_not_called_off(queue: JobQueue) -> None:
    workflow = diamond()
    ends = workflow.on_end(flow_jobs.how_all_ended)
    found = submitted(queue, workflow)
    assert found.cancel() == 4
    drain(queue)
    assert queue.get_result(ends.id) == {"cancelled": 4}
    assert found.status == "cancelled"


def test_thousands_are_cancelled_in_pieces(queue: JobQueue) -> None:
    workflow = Workflow("wide")
    top = workflow.add_job(Job("top", jobs.nothing))
    for _ in range(2500):
        workflow.add_job(Job("leaf", jobs.nothing), [top])
    found = submitted(queue, workflow)
    assert found.cancel() == 2501
    assert found.progress["cancelled"] == 2501
    assert found.retry_failed() == 0
    assert found.retry_failed(cancelled=True) == 2501
    assert found.progress["pending"] == 2501
    drain_only_ready = queue._store.exchange([], Claim(1, 5), queue.clock.now()).claimed
    assert [lease.name for lease in drain_only_ready] == ["top"], "the others wait for it again"


def test_the_children_of_another_workflow_are_cancelled_for_its_sake(queue: JobQueue) -> None:
    first = diamond()
    found = submitted(queue, first)
    child = Job("child", jobs.nothing, dependencies=[first.jobs[3].id])
    queue.submit(child)
    found.cancel()
    assert "parent bottom" in queue.get_status(child.id)["error"]


# -- retrying ----------------------------------------------------------------------------------------------------


def test_what_failed_is_retried_with_what_was_cancelled_for_its_sake(queue: JobQueue, tmp_path: Path) -> None:
    path = tmp_path / "mended"
    workflow = Workflow("w")
    good = workflow.add_task(flow_jobs.value, {"of": 1})
    bad = [workflow.add_task(flow_jobs.broken_until, {"path": str(path)}) for _ in range(2)]
    below = workflow.add_job(Job("below", jobs.merge), [good, *bad])
    workflow.add_job(Job("end", jobs.nothing), [below])
    ends = workflow.on_end(flow_jobs.how_all_ended)
    found = submitted(queue, workflow)
    drain(queue)
    assert found.status == "failed"
    assert queue.get_result(ends.id) == {"completed": 1, "failed": 2, "cancelled": 2}
    assert found.retry_failed() == 2
    assert found.progress["pending"] == 4
    path.touch()
    drain(queue)
    assert (found.status, found.results()["below"]) == ("completed", [1, "mended", "mended"])
    assert found.retry_failed() == 0


def test_cancelled_ones_come_back_whatever_their_order(queue: JobQueue) -> None:
    """Each job was submitted before its parent."""
    chain = [Job(f"{n}", jobs.nothing) for n in range(50)]
    workflow = Workflow("backwards")
    for job, parent in zip(chain, [*chain[1:], None], strict=True):
        job.dependencies = [parent.id] if parent else []
        workflow.add_job(job)
    found = submitted(queue, workflow)
    found.cancel()
    assert found.retry_failed(cancelled=True) == 50
    drain(queue)
    assert found.status == "completed"


def test_a_retry_below_a_parent_elsewhere_that_failed_waits_for_that(queue: JobQueue) -> None:
    parent = Job("parent", jobs.fail, max_attempts=1)
    queue.submit(parent)
    workflow = Workflow("w")
    workflow.add_job(Job("child", jobs.nothing, dependencies=[parent.id]))
    found = submitted(queue, workflow)
    drain(queue)
    assert found.status == "cancelled"
    found.retry_failed(cancelled=True)
    assert (found.status, queue.requeue_job(parent.id), found.status) == ("cancelled", True, "pending")


# -- parts, and what runs at the end -----------------------------------------------------------------------------


def test_a_workflow_as_a_part_of_another(queue: JobQueue) -> None:
    inner = diamond()
    outer = Workflow("outer")
    before = outer.add_task(flow_jobs.value, {"of": "before"})
    assert outer.add_workflow(inner, depends_on=[before]) is inner
    after = outer.add_job(Job("after", jobs.merge), [inner, before])
    assert inner.jobs[0].dependencies == [before.id]
    assert after.dependencies == [inner.jobs[3].id, before.id]
    found = submitted(queue, outer)
    drain(queue)
    assert found.results()["after"] == [[2, 3], "before"]
    assert found.progress["total"] == 6


def test_parts_of_parts_and_their_ends(queue: JobQueue) -> None:
    inner, middle, outer = diamond(), Workflow("middle"), Workflow("outer")
    inner.on_end(flow_jobs.how_all_ended)
    middle.add_workflow(inner)
    outer.add_workflow(middle)
    last = outer.add_job(Job("last", flow_jobs.total), [middle])
    found = submitted(queue, outer)
    drain(queue)
    assert found.results()[last] == [[2, 3], {"completed": 4}], (
        "what follows waits for the last jobs, and for that"
    )


def test_the_end_of_a_part_runs_when_the_whole_is_cancelled(queue: JobQueue) -> None:
    inner, outer = diamond(), Workflow("outer")
    ends = inner.on_end(flow_jobs.how_all_ended)
    outer.add_workflow(inner)
    last = outer.add_job(Job("last", jobs.nothing), [inner])
    found = submitted(queue, outer)
    assert found.cancel() == 5
    drain(queue)
    assert queue.get_result(ends.id) == {"cancelled": 4}
    assert queue.get_status(last.id)["status"] == "cancelled"


def test_what_follows_a_part_that_failed_does_not_run(queue: JobQueue) -> None:
    inner, outer = Workflow("inner"), Workflow("outer")
    inner.add_task(flow_jobs.broken)
    ends = inner.on_end(flow_jobs.how_all_ended)
    outer.add_workflow(inner)
    outer.add_job(Job("last", jobs.nothing), [inner])
    found = submitted(queue, outer)
    drain(queue)
    assert statuses(found) == {"broken": "failed", "last": "cancelled", ends.name: "completed"}


def test_what_cannot_be_a_part() -> None:
    outer, inner = Workflow("outer"), diamond()
    for wrong in (outer, "inner", None):
        with pytest.raises(TypeError, match="another Workflow is needed"):
            outer.add_workflow(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match="workflow 'empty' has no jobs"):
        outer.add_workflow(Workflow("empty"))
    with pytest.raises(TypeError, match="workflow 'diamond' is no part of this"):
        outer.add_job(Job("after", jobs.nothing), [inner])
    outer.add_workflow(inner)
    with pytest.raises(TypeError, match="is in workflow 'outer' already"):
        outer.add_workflow(inner)
    assert len(outer.jobs) == 4


def test_on_end_runs_once_all_have_ended_in_whatever_way(queue: JobQueue) -> None:
    workflow = Workflow("batch")
    ends = workflow.on_end(flow_jobs.how_all_ended)
    for n in range(3):
        workflow.add_task(flow_jobs.value, {"of": n})
    bad = workflow.add_task(flow_jobs.broken)
    workflow.add_job(Job("below", jobs.nothing), [bad])
    workflow.add_job(Job("grows", flow_jobs.grow, {"values": [1, 2]}))
    also = workflow.on_end(Job("also", flow_jobs.total))
    ids = workflow.submit_all(queue)
    assert ids == [*[job.id for job in workflow.jobs if job not in (ends, also)], ends.id, also.id]
    drain(queue)
    assert queue.get_result(ends.id) == {"completed": 6, "failed": 1, "cancelled": 1}
    assert queue.get_result(also.id) == [0, 1, 2, None, None, "grown", 1, 2]


# -- run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_run_returns_the_results(executor: str, db: str) -> None:
    queue = JobQueue(db, durability="normal")
    other = queue.submit(Job("other", jobs.nothing))
    results = diamond().run(queue, executor=executor)
    assert results["bottom"] == [2, 3]
    assert queue.get_status(other)["status"] == "completed", "the worker runs whatever is ready"


def test_run_without_a_queue_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert diamond().run()["bottom"] == [2, 3]
    assert len(Workflow("empty").run()) == 0
    assert list(tmp_path.iterdir()) == []


def test_run_raises_if_not_all_completed() -> None:
    workflow = Workflow("nightly")
    bad = workflow.add_task(flow_jobs.broken)
    workflow.add_job(Job("below", jobs.nothing), [bad])
    with pytest.raises(WorkflowFailed) as failed:
        workflow.run()
    assert str(failed.value).splitlines() == [
        f"workflow 'nightly' ({workflow.id}): 1 failed, 1 cancelled",
        f"  broken ({bad.id}) failed: ValueError: it broke",
    ]
    assert failed.value.workflow.progress["failed"] == 1


def test_run_without_a_check() -> None:
    workflow = Workflow("w")
    workflow.add_task(flow_jobs.broken)
    good = workflow.add_task(flow_jobs.value, {"of": 1})
    assert dict(workflow.run(check=False)) == {good.id: 1}


def test_run_ends_when_what_is_pending_waits_for_what_will_not_come() -> None:
    workflow = Workflow("w")
    bad = workflow.add_task(flow_jobs.broken)
    workflow.add_job(Job("below", jobs.nothing, on_parent_failure="wait"), [bad])
    with pytest.raises(WorkflowFailed, match="on_parent_failure='wait'"):
        workflow.run()


def test_ctrl_c_finishes_what_runs_and_leaves_the_rest(tmp_path: Path) -> None:
    code = """
        import gigq, jobs
        workflow = gigq.Workflow("w")
        first = workflow.add_job(gigq.Job("first", jobs.wait_visibly, {"path": "go"}))
        workflow.add_job(gigq.Job("second", jobs.nothing), [first])
        try:
            workflow.run(gigq.JobQueue("jobs.db", durability="normal"))
        except KeyboardInterrupt:
            print(gigq.JobQueue("jobs.db").workflow(workflow.id).progress)
    """
    process = start(code, cwd=tmp_path)
    wait_until((tmp_path / "go.waits").exists, "the first job to run")
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "'pending': 1" in out
    assert "'completed': 1" in out


def test_run_refuses_what_submit_all_refuses(db: str) -> None:
    queue = JobQueue(db)
    workflow = Workflow("w")
    workflow.add_job(Job("one", jobs.nothing, dependencies=["never was"]))
    with pytest.raises(InvalidJob, match="never was"):
        workflow.run(queue)
    with pytest.raises(InvalidJob, match="concurrency"):
        diamond().run(queue, concurrency=0)
    assert queue.stats()["total"] == 0
