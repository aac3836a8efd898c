"""Workflow.map: a job for each item of a result, joined by what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import flow_jobs
import jobs
import pytest
from clocks import TurnedClock

from gigq import InvalidJob, Job, JobQueue, Limit, Worker, Workflow
from gigq.clock import SECOND, SYSTEM, from_iso
from gigq.submitted import SubmittedWorkflow
from gigq.worker import unfold


def drain(queue: JobQueue) -> None:
    worker = Worker(queue)
    while worker.process_one():
        pass
    worker.close()


def mapped(queue: JobQueue, of: Any, task: Any, **how: Any) -> tuple[SubmittedWorkflow, dict[str, Any]]:
    """A map over a value, and what follows it, run to their end; the last job as ``get_status`` has it."""
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.value, {"of": of})
    items = workflow.map(task, over=source, **how)
    last = workflow.add_task(flow_jobs.total, depends_on=[items])
    workflow.submit_all(queue)
    drain(queue)
    return queue.workflow(workflow.id), queue.get_status(last.id)


@pytest.mark.parametrize(
    ("of", "result"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([], []),
        ({}, []),
        ({"a": [1], 'b"\\': None}, [["a", [1]], ['b"\\', None]]),
        ([None, "ü\n", {"deep": [1.5, True]}, [[]]], [None, "ü\n", {"deep": [1.5, True]}, [[]]]),
    ],
)
def test_each_item_is_a_job_and_the_results_come_in_order(
    queue: JobQueue, of: Any, result: list[Any]
) -> None:
    found, last = mapped(queue, of, flow_jobs.value)
    assert last["result"] == [result]
    assert found.status == "completed"
    names = [job["name"] for job in found.jobs()]
    assert names == ["value", "value: unfold", "value", "total", *[f"value[{n}]" for n in range(len(result))]]


def test_params_that_all_have_and_the_one_that_is_named(queue: JobQueue) -> None:
    assert mapped(queue, [1, 2], flow_jobs.double, params={"plus": 10})[1]["result"] == [[12, 14]]
    assert mapped(queue, [1, 2], flow_jobs.double, param="plus", params={"item": 5})[1]["result"] == [
        [11, 12]
    ]


def test_a_job_lends_its_options_to_each_item(queue: JobQueue) -> None:
    template = Job(
        "each", "jobs.echo", {"value": 0}, priority=3, timeout=7, max_attempts=2, description="one of many"
    )
    template.params = {}
    found, last = mapped(queue, [5], template, param="value")
    [item] = [job for job in found.jobs() if job["name"] == "each[0]"]
    shown = [item[key] for key in ("priority", "timeout", "max_attempts", "description", "params")]
    assert shown == [3, 7, 2, "one of many", {"value": 5}]
    assert last["result"] == [[5]]
    assert template.params == {}


def test_items_take_the_queue_and_the_times_from_when_they_are_added(
    queue: JobQueue, clock: TurnedClock
) -> None:
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.value, {"of": [5]})
    template = Job(
        "each", jobs.echo, queue="mail", delay=timedelta(days=1), expires=4 * 86400, deadline="2999-01-01"
    )
    workflow.map(template, over=source)
    before = SYSTEM.now()
    workflow.submit_all(queue)
    drain(queue)
    item = {job["name"]: job for job in queue.list_jobs()}["each[0]"]
    assert item["status"] == "pending"
    assert from_iso(item["run_at"]) - before >= 86400 * SECOND
    assert from_iso(item["expires_at"]) - from_iso(item["run_at"]) == 3 * 86400 * SECOND
    assert from_iso(item["deadline_at"]) == from_iso("2999-01-01")
    assert {job["queue"] for job in queue.list_jobs() if job["name"] != "value"} == {"mail"}


def test_items_have_limits_by_their_own_params(queue: JobQueue) -> None:
    limit = [Limit("host:{item.host}", concurrency=1, cost="{cost}"), Limit("all", rate=(5, 60))]
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.value, {"of": [{"host": "a"}, {"host": "b"}]})
    workflow.map(Job("each", flow_jobs.visit, {"cost": 1}, limit=limit), over=source, param="item")
    workflow.submit_all(queue)
    drain(queue)
    assert [limit["key"] for limit in queue.limits()] == ["all", "host:a", "host:b"]
    assert queue.stats()["completed"] == 5


def test_an_item_that_lacks_what_a_limit_names_fails_the_map(queue: JobQueue) -> None:
    template = Job("each", jobs.echo, limit=Limit("{value.host}", concurrency=1))
    found, last = mapped(queue, [{"hots": "a"}], template)
    assert last["status"] == "cancelled"
    assert "each[0]" in found.summary()


def test_items_wait_for_other_jobs_too(queue: JobQueue) -> None:
    workflow = Workflow("w")
    slow = workflow.add_task(flow_jobs.value, {"of": "slow"})
    source = workflow.add_task(flow_jobs.value, {"of": [1]})
    workflow.map(flow_jobs.double, over=source, depends_on=[slow])
    workflow.submit_all(queue)
    assert queue.cancel(slow.id)
    drain(queue)
    assert queue.workflow(workflow.id).progress == {**queue.stats(), "completed": 1, "cancelled": 3}


def test_a_map_over_a_map(queue: JobQueue) -> None:
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.numbers, {"n": 4})
    once = workflow.map(flow_jobs.double, over=source)
    twice = workflow.map(flow_jobs.double, over=once)
    workflow.submit_all(queue)
    drain(queue)
    assert queue.get_result(twice.id) == [0, 4, 8, 12]


@pytest.mark.parametrize("of", [None, 7, "text", True])
def test_over_what_is_no_list_it_fails_and_says_so(queue: JobQueue, of: Any) -> None:
    found, last = mapped(queue, of, flow_jobs.value)
    assert (found.status, last["status"]) == ("failed", "cancelled")
    [told] = [line for line in found.summary().splitlines() if "unfold" in line]
    assert "is neither a list nor a dict but" in told


def test_an_item_that_fails_ends_what_follows(queue: JobQueue) -> None:
    found, last = mapped(queue, [1, 2, 3, 4], flow_jobs.all_but_three)
    assert (found.status, last["status"]) == ("failed", "cancelled")
    assert found.progress["completed"] == 2 + 3


def test_with_the_policy_to_run_it_leaves_a_gap(queue: JobQueue) -> None:
    found, last = mapped(queue, [1, 2, 3, 4], flow_jobs.all_but_three_kept)
    assert last["result"] == [[1, 2, None, 4]]
    assert found.status == "failed"


def test_a_retry_goes_on_from_the_item_that_failed(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.value, {"of": [1, 3]})
    items = workflow.map(Job("each", jobs.fail, max_attempts=1), over=source, param="message")
    workflow.submit_all(queue)
    drain(queue)
    assert queue.get_status(items.id)["status"] == "cancelled"
    assert queue.workflow(workflow.id).retry_failed() == 2
    monkeypatch.setattr(jobs, "fail", jobs.echo)
    assert {job["status"] for job in queue.workflow(workflow.id).jobs()} == {"pending", "completed"}


def test_a_long_list_is_unfolded_piece_by_piece(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfold, "_AT_ONCE", 4)
    found, last = mapped(queue, list(range(10)), flow_jobs.double)
    assert last["result"] == [[2 * n for n in range(10)]]
    assert [job["result"] for job in found.jobs() if job["name"] == "double: unfold"] == [
        {"items": 4, "more": True},
        {"items": 4, "more": True},
        {"items": 2, "more": False},
    ]
    assert len(found.results()) == 3 + 10, "those that unfold have none"


def test_large_items_are_unfolded_in_smaller_pieces(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfold, "_BYTES", 100)
    found, last = mapped(queue, ["x" * 70, "y" * 20, "z" * 150, "w"], flow_jobs.value)
    assert last["result"] == [["x" * 70, "y" * 20, "z" * 150, "w"]]
    assert [job["result"]["items"] for job in found.jobs() if job["name"] == "value: unfold"] == [1, 1, 1, 1]


def test_an_item_that_is_too_large_is_named(db: str) -> None:
    queue = JobQueue(db, max_params=900)
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.repeated, {"text": "x", "times": 1000})
    workflow.map(flow_jobs.value, over=source)
    workflow.submit_all(queue)
    drain(queue)
    assert "item 1 of the result of" in queue.workflow(workflow.id).summary()
    assert queue.stats()["total"] == 3, "none of them was added"


@pytest.mark.parametrize(
    ("task", "how", "told"),
    [
        (flow_jobs.double, {"param": "item", "params": {"item": 1}}, "map: params: 'item' is the parameter"),
        (Job("text", "jobs.echo"), {}, "map: param: the name of the parameter"),
        (Job("none", jobs.nothing), {}, "map: param: the name of the parameter"),
        (Job("lambda", lambda x: x), {}, "a lambda cannot be found again"),
        (flow_jobs.double, {"params": {"plus": object()}}, r"params\['plus'\]"),
        (
            Job("one", jobs.echo, unique_key="one"),
            {},
            "job 'one': unique: jobs that are made of one cannot be",
        ),
    ],
)
def test_what_cannot_be_mapped_is_refused_at_once(task: Any, how: dict[str, Any], told: str) -> None:
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.numbers, {"n": 1})
    with pytest.raises(InvalidJob, match=told):
        workflow.map(task, over=source, **how)
    assert workflow.jobs == [source]


@pytest.mark.parametrize(
    ("task", "over"), [(jobs.echo, None), (flow_jobs.double, "an id"), (flow_jobs.double, [1])]
)
def test_arguments_of_other_types(task: Any, over: Any) -> None:
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.numbers, {"n": 1})
    with pytest.raises(TypeError, match=r"^(map|add_task): "):
        workflow.map(task, over=source if over is None else over)
