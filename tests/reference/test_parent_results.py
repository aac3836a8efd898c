"""parent_results: who gets them, in which order, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jobs
import pytest

from gigq import Job, JobQueue, ParentResultsTooLarge, Worker, Workflow, current_job, task
from gigq.status import OnParentFailure
from gigq.worker import runner


def wants(parent_results: Any = "not given") -> Any:
    return parent_results


def takes_anything(**anything: Any) -> list[str]:
    return sorted(anything)


def takes_nothing() -> str:
    return "nothing given"


@task
def task_that_wants(parent_results: dict[str, Any]) -> list[str]:
    return list(parent_results)


@task
async def coroutine_that_wants(parent_results: dict[str, Any]) -> list[Any]:
    return list(parent_results.values())


def reads_them_one_by_one() -> list[tuple[str, str | None, Any, str]]:
    return [
        (parent.id, parent.status, parent.result, (parent.error or "").partition("\n")[0])
        for parent in current_job().parents
    ]


def run_all(worker: Worker) -> None:
    while worker.process_one():
        pass


class Family:
    """Parents, and a child that depends on them."""

    def __init__(self, queue: JobQueue, worker: Worker, *results: Any) -> None:
        self.queue, self.worker = queue, worker
        self.workflow = Workflow("family")
        self.parents = [
            self.workflow.add_job(Job(f"parent {n}", jobs.echo, {"value": value}))
            for n, value in enumerate(results)
        ]

    def child(self, function: Callable[..., Any], **options: Any) -> dict[str, Any]:
        """What became of it."""
        job = self.workflow.add_job(Job("child", function, **options), depends_on=self.parents)
        self.workflow.submit_all(self.queue)
        run_all(self.worker)
        return self.queue.get_status(job.id)


@pytest.fixture
def family(queue: JobQueue, worker: Worker) -> Family:
    return Family(queue, worker, {"a": [1]}, "two", None)


def test_they_map_each_parents_id_to_its_result(family: Family) -> None:
    first, second, third = family.parents
    assert family.child(wants)["result"] == {first.id: {"a": [1]}, second.id: "two", third.id: None}


def test_they_have_the_order_of_the_dependency_list_and_not_of_completion(
    queue: JobQueue, worker: Worker
) -> None:
    workflow = Workflow("w")
    parents = [workflow.add_job(Job("p", jobs.echo, {"value": n}, priority=n)) for n in range(5)]
    order = [parents[place] for place in (3, 0, 4, 2, 1)]
    child = workflow.add_job(Job("child", jobs.merge), depends_on=order)
    workflow.submit_all(queue)
    run_all(worker)
    assert queue.get_result(child.id) == [3, 0, 4, 2, 1]


# pass_parent_results -> what each kind of function is given
@pytest.mark.parametrize(
    ("function", "mode", "given"),
    [
        (wants, None, True),
        (wants, True, True),
        (wants, False, False),
        (takes_anything, None, True),
        (takes_anything, True, True),
        (takes_anything, False, False),
        (takes_nothing, None, False),
        (takes_nothing, False, False),
    ],
)
@pytest.mark.parametrize("as_text", [False, True], ids=["callable", "text"])
def test_auto_goes_by_the_signature_true_always_and_false_never(
    family: Family, function: Callable[..., Any], mode: bool | None, given: bool, as_text: bool
) -> None:
    ids = [parent.id for parent in family.parents]
    submitted: Any = f"{__name__}.{function.__name__}" if as_text else function
    record = family.child(submitted, pass_parent_results=mode)
    result = record["result"]
    was_given = list(result) == ids if isinstance(result, dict) else result == ["parent_results"]
    assert record["status"] == "completed"
    assert was_given == given


def test_true_may_fail_at_run_time_if_the_signature_does_not_accept_them(family: Family) -> None:
    record = family.child(takes_nothing, pass_parent_results=True, max_attempts=1)
    assert record["status"] == "failed"
    assert record["error"].startswith("TypeError: ")
    assert "parent_results" in record["error"]


@pytest.mark.parametrize("mode", [None, True, False])
def test_a_job_without_dependencies_is_given_nothing(
    queue: JobQueue, worker: Worker, mode: bool | None
) -> None:
    job_id = queue.submit(Job("alone", wants, pass_parent_results=mode))
    run_all(worker)
    assert queue.get_result(job_id) == "not given"


def test_what_is_injected_overrides_the_params(family: Family) -> None:
    first = family.parents[0]
    assert family.child(wants, params={"parent_results": "mine"})["result"][first.id] == {"a": [1]}


def test_where_nothing_is_injected_the_params_stand(family: Family) -> None:
    record = family.child(wants, params={"parent_results": "mine"}, pass_parent_results=False)
    assert record["result"] == "mine"


def test_the_stored_params_are_not_changed(family: Family) -> None:
    assert family.child(takes_anything, params={"x": 1})["params"] == {"x": 1}


@pytest.mark.parametrize("decorated", [task_that_wants, coroutine_that_wants])
def test_tasks_and_coroutines_are_given_them_too(queue: JobQueue, worker: Worker, decorated: Any) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": 5}))
    child = workflow.add_task(decorated, depends_on=[parent])
    workflow.submit_all(queue)
    run_all(worker)
    assert queue.get_result(child.id) == ([parent.id] if decorated is task_that_wants else [5])


def test_they_are_given_again_at_each_attempt(queue: JobQueue, worker: Worker, tmp_path: Any) -> None:
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": str(tmp_path / "calls")}))
    child = workflow.add_job(Job("child", jobs.fail_once_with_parents), depends_on=[parent])
    workflow.submit_all(queue)
    run_all(worker)
    record = queue.get_status(child.id)
    assert (record["status"], record["attempts"]) == ("completed", 2)


def test_the_worker_that_starts_gives_them_too(db: str, make_worker: Callable[..., Worker]) -> None:
    queue = JobQueue(db)
    workflow = Workflow("w")
    parent = workflow.add_job(Job("parent", jobs.echo, {"value": 5}))
    child = workflow.add_job(Job("child", jobs.merge), depends_on=[parent])
    stop = workflow.add_job(Job("stop", jobs.stop_the_worker), depends_on=[child])
    workflow.submit_all(queue)
    worker = make_worker(db)
    jobs.STOPPED_BY_JOBS.append(worker)
    worker.start()
    assert queue.get_result(child.id) == [5]
    assert queue.get_status(stop.id)["status"] == "completed"


def test_a_running_function_can_read_its_parents_one_by_one(family: Family) -> None:
    first, second, third = (parent.id for parent in family.parents)
    assert family.child(reads_them_one_by_one)["result"] == [
        [first, "completed", {"a": [1]}, ""],
        [second, "completed", "two", ""],
        [third, "completed", None, ""],
    ]


@pytest.mark.parametrize(
    ("policy", "status"), [("cancel", "cancelled"), ("run", "completed"), ("wait", "pending")]
)
def test_a_parent_that_ended_badly_is_none_for_a_child_that_runs_anyway(
    queue: JobQueue, worker: Worker, policy: OnParentFailure, status: str
) -> None:
    workflow = Workflow("w")
    good = workflow.add_job(Job("good", jobs.echo, {"value": 5}))
    bad = workflow.add_job(Job("bad", jobs.fail, max_attempts=1))
    child = workflow.add_job(Job("child", wants, on_parent_failure=policy), depends_on=[bad, good])
    reader = workflow.add_job(
        Job("reader", reads_them_one_by_one, on_parent_failure=policy), depends_on=[bad, good]
    )
    workflow.submit_all(queue)
    run_all(worker)
    assert queue.get_status(child.id)["status"] == queue.get_status(reader.id)["status"] == status
    if policy == "run":
        assert queue.get_result(child.id) == {bad.id: None, good.id: 5}
        assert queue.get_result(reader.id) == [
            [bad.id, "failed", None, "ValueError: it broke"],
            [good.id, "completed", 5, ""],
        ]
    if policy == "cancel":
        assert queue.get_status(child.id)["error"] == f"parent bad {bad.id} failed"


def test_what_is_too_large_to_be_given_at_once_can_be_read_one_by_one(
    queue: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_PARENT_RESULTS", 1000)
    workflow = Workflow("w")
    parents = [workflow.add_job(Job("p", jobs.echo, {"value": "x" * 600})) for _ in range(2)]
    eager = workflow.add_job(Job("eager", wants, max_attempts=1), depends_on=parents)
    careful = workflow.add_job(Job("careful", reads_them_one_by_one), depends_on=parents)
    workflow.submit_all(queue)
    run_all(worker)
    error = queue.get_status(eager.id)["error"]
    assert ParentResultsTooLarge.__name__ in error.partition("\n")[0]
    assert "current_job().parents" in error
    result = queue.get_result(careful.id)
    assert result is not None
    assert [len(value) for _, _, value, _ in result] == [600, 600]


def test_the_limit_is_64_mib() -> None:
    assert runner.MAX_PARENT_RESULTS == 64 * 1024 * 1024
