"""Workflow: drawing a graph and posting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jobs
import pytest

from gigq import (
    DependencyCycle,
    DuplicateJob,
    InvalidValue,
    Job,
    JobQueue,
    UnknownParent,
    Worker,
    Workflow,
    task,
)


@task(timeout=60)
def download(url: str) -> dict[str, str]:
    return {"path": "/tmp/data.csv", "url": url}


@task(timeout=120)
def process(input_path: str) -> dict[str, int]:
    return {"rows": 1000}


def analyze_data() -> str:
    return "analyzed"


def run_all(worker: Worker) -> int:
    count = 0
    while worker.process_one():
        count += 1
    return count


def test_the_example_of_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workflow = Workflow("pipeline")
    dl = workflow.add_task(download, params={"url": "https://example.com/data.csv"})
    pr = workflow.add_task(process, params={"input_path": "/tmp/data.csv"}, depends_on=[dl])

    job = Job(name="analyze", function=analyze_data)
    workflow.add_job(job, depends_on=[pr])

    queue = JobQueue("workflow.db")
    job_ids = workflow.submit_all(queue)
    assert job_ids == [dl.id, pr.id, job.id]

    worker = Worker("workflow.db")
    assert run_all(worker) == 3
    worker.close()
    assert [queue.get_result(job_id) for job_id in job_ids] == [
        {"path": "/tmp/data.csv", "url": "https://example.com/data.csv"},
        {"rows": 1000},
        "analyzed",
    ]


def test_it_has_a_name_its_jobs_in_order_and_a_map_of_them() -> None:
    workflow = Workflow("pipeline")
    assert (workflow.name, workflow.jobs, workflow.job_map) == ("pipeline", [], {})
    one = workflow.add_job(Job("one", jobs.nothing))
    two = workflow.add_task(download, params={"url": "x"})
    assert workflow.jobs == [one, two]
    assert workflow.job_map == {one.id: one, two.id: two}


def test_add_job_returns_the_job_it_was_given() -> None:
    job = Job("one", jobs.nothing)
    assert Workflow("w").add_job(job) is job


def test_dependencies_are_the_jobs_own_first_then_the_new_ones_without_doubles() -> None:
    workflow = Workflow("w")
    parents = [workflow.add_job(Job(f"parent {n}", jobs.nothing)) for n in range(3)]
    child = Job("child", jobs.nothing, dependencies=["elsewhere", parents[1].id])
    workflow.add_job(child, depends_on=[parents[2], parents[1], parents[0], parents[2]])
    assert child.dependencies == ["elsewhere", parents[1].id, parents[2].id, parents[0].id]


def test_adding_a_job_leaves_the_list_that_it_was_made_with_alone() -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.nothing))
    own: list[str] = []
    workflow.add_job(Job("child", jobs.nothing, dependencies=own), depends_on=[parent])
    assert own == []


def test_the_same_job_twice_is_a_type_error() -> None:
    workflow = Workflow("w")
    job = workflow.add_job(Job("one", jobs.nothing))
    with pytest.raises(TypeError, match="already"):
        workflow.add_job(job)
    assert workflow.jobs == [job]


@pytest.mark.parametrize("depends_on", ["an-id", ["an-id"], [None], 5, download])
def test_dependencies_that_are_not_a_list_of_jobs_are_a_type_error(depends_on: Any) -> None:
    workflow = Workflow("w")
    with pytest.raises(TypeError, match="depends_on"):
        workflow.add_job(Job("one", jobs.nothing), depends_on=depends_on)
    with pytest.raises(TypeError, match="depends_on"):
        workflow.add_task(download, params={"url": "x"}, depends_on=depends_on)
    assert workflow.jobs == []


def test_one_job_instead_of_a_list_is_a_type_error() -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.nothing))
    with pytest.raises(TypeError, match="depends_on"):
        workflow.add_job(Job("child", jobs.nothing), depends_on=parent)  # type: ignore[arg-type]


@pytest.mark.parametrize("job", [download, analyze_data, "an-id", None])
def test_what_is_not_a_job_cannot_be_added(job: Any) -> None:
    with pytest.raises(TypeError, match="add_job"):
        Workflow("w").add_job(job)


@pytest.mark.parametrize("function", [analyze_data, "text", None, Job("one", jobs.nothing)])
def test_add_task_of_what_is_not_decorated_is_a_type_error(function: Any) -> None:
    with pytest.raises(TypeError, match="@task"):
        Workflow("w").add_task(function)


def test_add_task_makes_the_job_that_to_job_makes() -> None:
    job = Workflow("w").add_task(download, params={"url": "x"})
    expected = download.to_job(url="x")
    same = ("name", "function", "params", "timeout", "max_attempts", "priority", "pass_parent_results")
    assert [getattr(job, field) for field in same] == [getattr(expected, field) for field in same]


@task
def without_params() -> None: ...


def test_add_task_without_params_has_none() -> None:
    assert Workflow("w").add_task(without_params).params == {}


@task(pass_parent_results=False)
def says_no() -> None: ...


@pytest.mark.parametrize("value", [True, False])
def test_add_task_sets_pass_parent_results_if_it_is_given(value: bool) -> None:
    assert Workflow("w").add_task(without_params, pass_parent_results=value).pass_parent_results is value


def test_add_task_leaves_pass_parent_results_alone_if_it_is_none() -> None:
    assert Workflow("w").add_task(without_params).pass_parent_results is None
    assert Workflow("w").add_task(says_no).pass_parent_results is False


# -- submit_all ------------------------------------------------------------------------------------------------


def test_a_job_runs_when_all_it_depends_on_completed(queue: JobQueue, worker: Worker, tmp_path: Path) -> None:
    """A child of the highest priority waits for parents of the lowest."""
    log = str(tmp_path / "order")
    workflow = Workflow("diamond")

    def add(name: str, priority: int, *parents: Job) -> Job:
        params = {"path": log, "text": name}
        return workflow.add_job(Job(name, jobs.append, params, priority=priority), depends_on=list(parents))

    top = add("top", 0)
    left, right = add("left", 1, top), add("right", 2, top)
    add("bottom", 99, left, right)
    workflow.submit_all(queue)
    assert run_all(worker) == 4
    assert Path(log).read_text().split() == ["top", "right", "left", "bottom"]


def test_it_returns_the_ids_in_the_order_added(queue: JobQueue) -> None:
    workflow = Workflow("w")
    added = [workflow.add_job(Job(f"job {n}", jobs.nothing)) for n in range(5)]
    assert workflow.submit_all(queue) == [job.id for job in added]


def test_an_empty_workflow_submits_nothing(queue: JobQueue) -> None:
    assert Workflow("w").submit_all(queue) == []


def test_a_parent_may_be_in_the_queue_already(queue: JobQueue, worker: Worker) -> None:
    parent = Job("parent", jobs.echo, {"value": 3})
    queue.submit(parent)
    workflow = Workflow("w")
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    workflow.submit_all(queue)
    assert run_all(worker) == 2
    assert queue.get_result(child.id) == [3]


def test_a_parent_that_has_completed_counts_as_done(queue: JobQueue, worker: Worker) -> None:
    parent = queue.submit(Job("parent", jobs.echo, {"value": 3}))
    run_all(worker)
    child = queue.submit(Job("child", jobs.merge, dependencies=[parent]))
    assert run_all(worker) == 1
    assert queue.get_result(child) == [3]


def cycle() -> Workflow:
    workflow = Workflow("w")
    one = workflow.add_job(Job("one", jobs.nothing))
    two = workflow.add_job(Job("two", jobs.nothing), depends_on=[one])
    one.dependencies.append(two.id)
    return workflow


def unknown_parent() -> Workflow:
    workflow = Workflow("w")
    workflow.add_job(Job("one", jobs.nothing))
    workflow.add_job(Job("two", jobs.nothing, dependencies=["no such id"]))
    return workflow


def bad_params() -> Workflow:
    workflow = Workflow("w")
    workflow.add_job(Job("one", jobs.nothing))
    workflow.add_job(Job("two", jobs.echo, {"value": object()}))
    return workflow


@pytest.mark.parametrize(
    ("workflow", "error", "word"),
    [
        (cycle(), DependencyCycle, "two"),
        (unknown_parent(), UnknownParent, "no such id"),
        (bad_params(), InvalidValue, "params"),
    ],
    ids=["cycle", "unknown parent", "bad params"],
)
def test_a_workflow_that_cannot_be_accepted_is_not_submitted_at_all(
    queue: JobQueue, workflow: Workflow, error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        workflow.submit_all(queue)
    assert queue.stats()["total"] == 0


def test_a_workflow_is_submitted_once(queue: JobQueue) -> None:
    workflow = Workflow("w")
    workflow.add_job(Job("one", jobs.nothing))
    workflow.submit_all(queue)
    with pytest.raises(DuplicateJob):
        workflow.submit_all(queue)
    assert queue.stats()["total"] == 1
