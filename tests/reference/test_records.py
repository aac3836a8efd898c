"""What get_status and list_jobs tell: keys, words, times, and the history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import jobs
import pytest
from clocks import TurnedClock

from gigq import Job, JobQueue, JobStatus, Worker

# As the reference implementation has them.
KEYS = {
    "id",
    "name",
    "function_module",
    "function_name",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "status",
    "created_at",
    "updated_at",
    "attempts",
    "result",
    "error",
    "started_at",
    "completed_at",
    "worker_id",
    "pass_parent_results",
    "retry_delay",
    "retry_after",
}
OURS = {
    "queue",
    "on_parent_failure",
    "crashes",
    "max_crashes",
    "parents_left",
    "held_by",
    "progress",
    "workflow",
    "retry",
    "run_at",
    "expires_at",
    "deadline_at",
    "schedule",
    "tick",
    "unique_key",
    "tags",
    "metadata",
    "limits",
}
EXECUTION = {"id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error"}


def iso(moment: int) -> str:
    """How the clock of the tests is shown."""
    from gigq.clock import to_iso

    return to_iso(moment)


def test_an_unknown_job_does_not_exist(queue: JobQueue) -> None:
    assert queue.get_status("no such id") == {"exists": False}


def test_the_keys_are_those_of_the_reference_implementation_and_ours(queue: JobQueue) -> None:
    record = queue.get_status(queue.submit(Job("one", jobs.nothing)))
    assert set(record) == {"exists", "executions"} | KEYS | OURS
    assert record["exists"] is True


def test_listed_rows_have_the_same_keys_but_exists_and_executions(queue: JobQueue) -> None:
    job_id = queue.submit(Job("one", jobs.echo, {"value": 1}))
    (row,) = queue.list_jobs()
    record = queue.get_status(job_id)
    del record["exists"], record["executions"]
    assert row == record


def test_a_new_job_is_told_as_it_was_declared(queue: JobQueue, clock: TurnedClock) -> None:
    parent = Job("parent", jobs.nothing)
    queue.submit(parent)
    job = Job(
        name="child",
        function=jobs.echo,
        params={"value": [1, {"a": None}]},
        priority=-3,
        dependencies=[parent.id],
        max_attempts=5,
        timeout=1.5,
        description="what it does",
        pass_parent_results=False,
        retry_delay=0.25,
    )
    record = queue.get_status(queue.submit(job))
    assert {key: record[key] for key in KEYS} == {
        "id": job.id,
        "name": "child",
        "function_module": "jobs",
        "function_name": "echo",
        "params": {"value": [1, {"a": None}]},
        "priority": -3,
        "dependencies": [parent.id],
        "max_attempts": 5,
        "timeout": 1.5,
        "description": "what it does",
        "status": "pending",
        "created_at": job.created_at,
        "updated_at": iso(clock.now()),
        "attempts": 0,
        "result": None,
        "error": None,
        "started_at": None,
        "completed_at": None,
        "worker_id": None,
        "pass_parent_results": False,
        "retry_delay": 0.25,
        "retry_after": None,
    }
    assert record["executions"] == []


@pytest.mark.parametrize("value", [True, False, None])
def test_pass_parent_results_is_told_as_a_bool_or_none(queue: JobQueue, value: bool | None) -> None:
    job_id = queue.submit(Job("one", jobs.nothing, pass_parent_results=value))
    assert queue.get_status(job_id)["pass_parent_results"] is value


@pytest.mark.parametrize(("declared", "shown"), [(300, 300), (2, 2), (0.5, 0.5)])
def test_whole_seconds_are_shown_as_whole_numbers(queue: JobQueue, declared: float, shown: float) -> None:
    record = queue.get_status(queue.submit(Job("one", jobs.nothing, timeout=declared, retry_delay=declared)))
    for told in (record["timeout"], record["retry_delay"]):
        assert (told, type(told)) == (shown, type(shown))


def test_while_it_runs_it_has_a_worker_a_start_and_an_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker], clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    clock.turn(5)
    claimed = make_worker(queue, worker_id="the-worker")._claim_job()
    assert claimed is not None
    record = queue.get_status(job_id)
    assert (record["status"], record["worker_id"], record["attempts"]) == ("running", "the-worker", 1)
    assert (record["started_at"], record["completed_at"]) == (iso(clock.now()), None)
    (execution,) = record["executions"]
    assert {key: execution[key] for key in EXECUTION} == {
        "id": claimed["execution_id"],
        "job_id": job_id,
        "worker_id": "the-worker",
        "status": "running",
        "started_at": iso(clock.now()),
        "completed_at": None,
        "result": None,
        "error": None,
    }


def test_once_completed_it_has_an_end_a_result_and_no_worker(
    queue: JobQueue, make_worker: Callable[..., Worker], clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.echo, {"value": [1]}))
    clock.turn(5)
    assert make_worker(queue, worker_id="the-worker").process_one()
    record = queue.get_status(job_id)
    assert (record["status"], record["worker_id"], record["attempts"]) == ("completed", None, 1)
    assert (record["result"], record["error"]) == ([1], None)
    assert record["started_at"] == record["completed_at"] == record["updated_at"] == iso(clock.now())
    (execution,) = record["executions"]
    assert {key: execution[key] for key in EXECUTION - {"id"}} == {
        "job_id": job_id,
        "worker_id": "the-worker",
        "status": "completed",
        "started_at": iso(clock.now()),
        "completed_at": iso(clock.now()),
        "result": [1],
        "error": None,
    }


def test_between_two_attempts_it_says_what_went_wrong_and_when_it_goes_on(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.fail, {"message": "the first"}, retry_delay=60))
    worker.process_one()
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"], record["worker_id"]) == ("pending", 1, None)
    assert (record["completed_at"], record["retry_after"]) == (None, iso(clock.now() + 60_000_000))
    assert record["error"].startswith("ValueError: the first\n")
    assert "Traceback" in record["error"]
    assert "raise ValueError(message)" in record["error"]
    clock.turn(59.999)
    assert not worker.process_one()
    clock.turn(0.001)
    assert worker.process_one()
    assert queue.get_status(job_id)["attempts"] == 2


def test_an_error_is_gone_once_it_is_completed(queue: JobQueue, worker: Worker, tmp_path: Any) -> None:
    job_id = queue.submit(Job("one", jobs.fail_until, {"path": str(tmp_path / "calls"), "times": 1}))
    worker.process_one()
    assert queue.get_status(job_id)["error"].startswith("RuntimeError: call 1")
    worker.process_one()
    record = queue.get_status(job_id)
    assert (record["status"], record["error"], record["attempts"]) == ("completed", None, 2)
    assert [(e["status"], (e["error"] or "").partition("\n")[0]) for e in record["executions"]] == [
        ("failed", "RuntimeError: call 1"),
        ("completed", ""),
    ]


def test_started_at_is_that_of_the_newest_attempt(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job_id = queue.submit(Job("one", jobs.fail))
    starts = []
    for _ in range(3):
        clock.turn(10)
        worker.process_one()
        starts.append(iso(clock.now()))
        assert queue.get_status(job_id)["started_at"] == starts[-1]
    record = queue.get_status(job_id)
    assert [execution["started_at"] for execution in record["executions"]] == starts
    assert (record["status"], record["completed_at"]) == ("failed", starts[-1])


def test_what_was_given_back_before_its_start_left_no_trace(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    from gigq.store.claiming import Claim
    from gigq.worker import settling

    job_id = queue.submit(Job("one", jobs.fail))
    worker.process_one()
    before = queue.get_status(job_id)
    clock.turn(10)
    (lease,) = queue._store.exchange([], Claim(1, 1), clock.now()).claimed
    given_back = settling.decide(lease, "unstarted", clock.now(), started_at=None)
    queue._store.exchange([given_back], None, clock.now())
    assert queue.get_status(job_id) == {**before, "updated_at": iso(clock.now())}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (JobStatus.COMPLETED, "completed"),
        (JobStatus.FAILED, "failed"),
        (JobStatus.TIMEOUT, "timeout"),
        (JobStatus.CANCELLED, "cancelled"),
    ],
)
def test_the_history_has_a_word_for_every_end(
    queue: JobQueue, worker: Worker, status: JobStatus, word: str
) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    claimed = worker._claim_job()
    assert claimed is not None
    worker._complete_job(job_id, claimed["execution_id"], status)
    (execution,) = queue.get_status(job_id)["executions"]
    assert execution["status"] == word


def test_times_are_iso_8601_in_utc_with_offset_to_the_microsecond(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    worker.process_one()
    record = queue.get_status(job_id)
    for key in ("created_at", "updated_at", "started_at", "completed_at"):
        moment = datetime.fromisoformat(record[key])
        assert record[key] == moment.isoformat(timespec="microseconds")
        assert record[key].endswith("+00:00")
