"""@task and TaskWrapper."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gigq import InvalidJob, Job, JobQueue, TaskWrapper, Worker, task


@task(timeout=60, max_attempts=5)
def process_data(filename: str, threshold: float = 0.5) -> dict[str, Any]:
    """What it says."""
    return {"filename": filename, "threshold": threshold}


@task
def bare(x: int) -> int:
    return x * 2


@task()
def with_brackets(x: int) -> int:
    return x * 3


@task(
    name="named",
    priority=7,
    max_attempts=2,
    timeout=1.5,
    description="what it does",
    retry_delay=0.5,
    on_parent_failure="run",
    max_crashes=5,
    pass_parent_results=False,
)
def with_every_option() -> str:
    return "done"


@task
def of_a_queue(queue: str, self: str) -> str:
    return queue + self


@task
async def soon(x: int) -> int:
    return x + 1


def plain(x: int) -> int:
    return x


def test_the_example_of_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = process_data("data.csv", threshold=0.8)
    assert result == {"filename": "data.csv", "threshold": 0.8}

    queue = JobQueue("jobs.db")
    job_id = process_data.submit(queue, filename="data.csv", threshold=0.8)
    record = queue.get_status(job_id)
    assert (record["timeout"], record["max_attempts"], record["name"]) == (60, 5, "process_data")

    job = process_data.to_job(filename="data.csv")
    assert isinstance(job, Job)
    assert job.params == {"filename": "data.csv"}
    assert queue.stats()["total"] == 1

    worker = Worker("jobs.db")
    assert worker.process_one()
    worker.close()
    assert queue.get_result(job_id) == result


@pytest.mark.parametrize(
    ("decorated", "times"), [(bare, 2), (with_brackets, 3)], ids=["without arguments", "with brackets"]
)
def test_it_can_be_used_with_or_without_arguments(decorated: TaskWrapper[[int], int], times: int) -> None:
    assert isinstance(decorated, TaskWrapper)
    assert decorated(4) == 4 * times
    assert bare(x=4) == 8


def test_without_options_a_job_has_the_defaults_and_the_name_of_the_function() -> None:
    job, default = bare.to_job(x=1), Job("bare", plain)
    for field in ("priority", "max_attempts", "timeout", "description", "retry_delay", "pass_parent_results"):
        assert getattr(job, field) == getattr(default, field)
    assert job.name == "bare"
    assert job.params == {"x": 1}


def test_every_option_is_one_of_the_job() -> None:
    job = with_every_option.to_job()
    assert (job.name, job.priority, job.max_attempts, job.timeout) == ("named", 7, 2, 1.5)
    assert (job.description, job.retry_delay) == ("what it does", 0.5)
    assert (job.on_parent_failure, job.max_crashes, job.pass_parent_results) == ("run", 5, False)


def test_submit_calls_queue_submit_and_returns_what_that_returns() -> None:
    class Recorder(JobQueue):
        def submit(self, job: Job, **_more: object) -> str:
            assert job.params == {"x": 5}
            return "what that returns"

    assert bare.submit(Recorder(":memory:"), x=5) == "what that returns"


def test_the_queue_is_positional_only_so_that_functions_may_have_such_parameters(
    queue: JobQueue, worker: Worker
) -> None:
    job_id = of_a_queue.submit(queue, queue="a", self="b")
    assert worker.process_one()
    assert queue.get_result(job_id) == "ab"


def test_a_coroutine_function_runs(queue: JobQueue, worker: Worker) -> None:
    job_id = soon.submit(queue, x=1)
    assert worker.process_one()
    assert queue.get_result(job_id) == 2


def test_it_looks_like_the_function() -> None:
    function = process_data.__wrapped__
    assert inspect.isfunction(function)
    assert process_data.__name__ == "process_data"
    assert process_data.__qualname__ == "process_data"
    assert process_data.__module__ == __name__
    assert process_data.__doc__ == "What it says."
    assert inspect.signature(process_data) == inspect.signature(function)


def test_a_job_has_the_bare_function() -> None:
    assert process_data.to_job(filename="x").function is process_data.__wrapped__


def test_a_plain_function_can_be_made_a_task() -> None:
    wrapper = task(plain)
    assert wrapper(3) == 3
    assert wrapper.to_job(x=1).function is plain
    assert task(plain, priority=4).to_job(x=1).priority == 4


@pytest.mark.parametrize("option", ["tries", "params", "dependencies", "function"])
def test_an_unknown_option_is_a_type_error_that_names_it(option: str) -> None:
    with pytest.raises(TypeError, match=rf"unexpected.*{option}"):
        task(plain, **{option: 1})
    with pytest.raises(TypeError, match=rf"unexpected.*{option}"):
        task(**{option: 1})(plain)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("option", "value"), [("timeout", 0), ("max_attempts", 0), ("priority", "high"), ("name", "")]
)
def test_an_option_with_a_bad_value_is_refused_at_decoration(option: str, value: object) -> None:
    with pytest.raises(InvalidJob, match=option):
        task(plain, **{option: value})


def numbers() -> Iterator[int]:
    yield 1


async def async_numbers() -> AsyncIterator[int]:
    yield 1


def nested() -> Callable[[], None]:
    free = 1

    def closure() -> None:
        print(free)

    return closure


def _not_decorable() -> list[tuple[Any, str]]:
    return [
        (lambda: None, "lambda"),
        (nested(), "closure or nested function"),
        (numbers, "generator"),
        (async_numbers, "generator"),
        (bare, "twice"),
        (42, "not callable"),
        ("text", "not callable"),
        (Path, "class"),
        (Path.home, "method"),
    ]


@pytest.mark.parametrize(("function", "word"), _not_decorable(), ids=lambda value: str(value)[:20])
def test_what_cannot_be_a_task_is_a_type_error_with_the_word(function: Any, word: str) -> None:
    with pytest.raises(TypeError, match=word):
        task(function)
    with pytest.raises(TypeError, match=word):
        task(timeout=60)(function)


def test_a_function_called_from_text_is_the_task_itself(queue: JobQueue, worker: Worker) -> None:
    """The module holds the wrapper under the name of the function; the worker finds the function beneath."""
    job_id = queue.submit(Job("text", f"{__name__}.bare", {"x": 4}))
    assert worker.process_one()
    assert queue.get_result(job_id) == 8


if TYPE_CHECKING:
    # mypy --strict reads these: an ignore that is not needed is an error.
    _queue = JobQueue("jobs.db")
    _id: str = process_data.submit(_queue, filename="x", threshold=0.1)
    _result: dict[str, Any] = process_data("x")
    process_data.submit(_queue, filename=5)  # type: ignore[arg-type]
    process_data.submit(_queue, file="x")  # type: ignore[call-arg]
    process_data.submit(_queue)  # type: ignore[call-arg]
    process_data(5)  # type: ignore[arg-type]
    _wrong: int = process_data("x")  # type: ignore[assignment]
