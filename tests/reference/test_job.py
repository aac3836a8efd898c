"""Job: what a caller declares, and what is refused."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import jobs
import pytest

from gigq import GigQError, InvalidJob, Job, JobQueue, Worker, task


def process_data(filename: str, threshold: float = 0.5) -> dict[str, Any]:
    return {"processed": True, "count": 42, "filename": filename, "threshold": threshold}


@task(priority=7)
def decorated(x: int) -> int:
    return x * 2


def test_the_example_of_the_reference(queue: JobQueue, worker: Worker) -> None:
    job = Job(
        name="process_data_job",
        function=process_data,
        params={"filename": "data.csv", "threshold": 0.7},
        priority=10,
        max_attempts=3,
        timeout=300,
        description="Process the daily data CSV file",
    )
    assert queue.submit(job) == job.id
    assert worker.process_one()
    assert queue.get_result(job.id) == {
        "processed": True,
        "count": 42,
        "filename": "data.csv",
        "threshold": 0.7,
    }


def test_its_properties_are_those_of_the_reference() -> None:
    job = Job(
        "name", jobs.add, {"a": 1}, 5, ["parent"], 7, 60, "what it does", True, 2.5
    )  # in the order of the reference and gigq 0.5.1
    assert job.name == "name"
    assert job.function is jobs.add
    assert job.params == {"a": 1}
    assert job.priority == 5
    assert job.dependencies == ["parent"]
    assert job.max_attempts == 7
    assert job.timeout == 60
    assert job.description == "what it does"
    assert job.pass_parent_results is True
    assert job.retry_delay == 2.5


def test_its_defaults_are_those_of_the_reference() -> None:
    job = Job("name", jobs.nothing)
    assert job.params == {}
    assert job.priority == 0
    assert job.dependencies == []
    assert job.max_attempts == 3
    assert job.timeout == 300
    assert job.description == ""
    assert job.pass_parent_results is None
    assert job.retry_delay == 0


def test_the_defaults_of_two_jobs_are_not_the_same_objects() -> None:
    one, two = Job("one", jobs.nothing), Job("two", jobs.nothing)
    one.params["x"] = 1
    one.dependencies.append("parent")
    assert (two.params, two.dependencies) == ({}, [])


def test_its_id_is_a_uuid_of_its_own() -> None:
    one, two = Job("same", jobs.nothing), Job("same", jobs.nothing)
    assert str(uuid.UUID(one.id)) == one.id
    assert one.id != two.id


def test_created_at_is_the_iso_time_at_which_it_was_constructed() -> None:
    before = datetime.now(UTC)
    created = datetime.fromisoformat(Job("one", jobs.nothing).created_at)
    assert before - timedelta(milliseconds=1) <= created <= datetime.now(UTC)
    assert created.utcoffset() == timedelta(0)


def test_created_at_is_the_jobs_own_and_not_that_of_its_submission(queue: JobQueue) -> None:
    job = Job("one", jobs.nothing)
    record = queue.get_status(queue.submit(job))
    assert record["created_at"] == job.created_at
    assert record["updated_at"] != job.created_at  # the queue's clock stands elsewhere


def test_a_job_of_an_earlier_day_may_say_so(queue: JobQueue) -> None:
    job = Job("one", jobs.nothing)
    job.created_at = "2020-01-01T00:00:00+02:00"
    assert queue.get_status(queue.submit(job))["created_at"] == "2019-12-31T22:00:00.000000+00:00"


def test_a_task_is_unwrapped() -> None:
    assert Job("one", decorated).function is decorated.__wrapped__


def test_a_text_names_a_function_that_only_the_worker_imports(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("text", "jobs.add", {"a": 1, "b": 2}))
    job = queue.get_status(job_id)
    assert (job["function_module"], job["function_name"]) == ("jobs", "add")
    queue.submit(Job("elsewhere", "no_such_module_here.f"))  # the submitter need not have it
    assert worker.process_one()
    assert queue.get_result(job_id) == 3


def test_fields_may_be_assigned_until_it_is_submitted(queue: JobQueue) -> None:
    job = Job("one", jobs.nothing)
    job.id = "an-id-of-ones-own"
    job.name, job.priority, job.timeout, job.description = "two", 9, None, "later"
    job.function, job.params = jobs.add, {"a": 1, "b": 1}
    record = queue.get_status(queue.submit(job))
    assert (record["id"], record["name"], record["priority"]) == ("an-id-of-ones-own", "two", 9)
    assert (record["timeout"], record["description"], record["function_name"]) == (None, "later", "add")


def test_it_is_an_ordinary_class() -> None:
    job = Job("one", jobs.nothing)
    job.__dict__["anything"] = 1
    assert vars(job)["anything"] == 1


@pytest.mark.parametrize("timeout", [1, 0.25, None, 86400])
def test_a_timeout_is_seconds_or_no_limit(queue: JobQueue, timeout: float | None) -> None:
    assert queue.get_status(queue.submit(Job("one", jobs.nothing, timeout=timeout)))["timeout"] == timeout


BAD_FIELDS: list[tuple[str, Any]] = [
    ("name", None),
    ("name", ""),
    ("name", 5),
    ("name", "a\x00b"),
    ("name", "\ud800"),
    ("description", 5),
    ("description", "a\x00b"),
    ("params", [1]),
    ("params", "x"),
    ("params", {1: 2}),
    ("priority", "high"),
    ("priority", 1.5),
    ("priority", True),
    ("priority", 2**63),
    ("dependencies", "one-id"),
    ("dependencies", [1]),
    ("dependencies", {"a": 1}),
    ("max_attempts", 0),
    ("max_attempts", -1),
    ("max_attempts", 1.5),
    ("max_attempts", None),
    ("max_attempts", True),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", "1"),
    ("timeout", math.nan),
    ("timeout", math.inf),
    ("timeout", True),
    ("retry_delay", -1),
    ("retry_delay", None),
    ("retry_delay", math.nan),
    ("retry_delay", "1"),
    ("pass_parent_results", "yes"),
    ("on_parent_failure", "explode"),
    ("max_crashes", 0),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_what_cannot_be_accepted_is_refused_at_construction_naming_the_field(field: str, value: Any) -> None:
    given: dict[str, Any] = {"name": "one", "function": jobs.nothing, field: value}
    with pytest.raises(InvalidJob, match=field) as refusal:
        Job(**given)
    assert isinstance(refusal.value, ValueError | GigQError)


@pytest.mark.parametrize(
    ("field", "value"), [*BAD_FIELDS, ("id", ""), ("id", 5), ("created_at", "yesterday")]
)
def test_what_is_assigned_later_is_refused_at_submit_and_nothing_is_written(
    queue: JobQueue, field: str, value: Any
) -> None:
    job = Job("one", jobs.nothing)
    setattr(job, field, value)
    with pytest.raises(InvalidJob, match=field):
        queue.submit(job)
    assert queue.stats()["total"] == 0


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_retries"):
        Job("one", jobs.nothing, max_retries=5)  # type: ignore[call-arg]


def test_the_options_of_ours_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        Job("one", jobs.nothing, {}, 0, [], 3, 300, "", None, 0, "run")  # type: ignore[call-arg]


def nested_function() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda: None, "lambda"),
        (nested_function(), "closure"),
        (uuid.uuid4().bytes.hex, "cannot be found"),
        (5, "function"),
        ("no_dot", "module.function"),
    ],
    ids=["lambda", "closure", "bound method", "number", "text"],
)
def test_a_function_that_no_worker_could_find_is_refused_at_submit(
    queue: JobQueue, function: Any, hint: str
) -> None:
    with pytest.raises(InvalidJob, match=hint):
        queue.submit(Job("one", function))
    assert queue.stats()["total"] == 0


def test_it_shows_its_name_and_id() -> None:
    job = Job("report", jobs.nothing)
    assert "report" in repr(job)
    assert job.id in repr(job)
