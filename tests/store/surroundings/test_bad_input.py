"""Unknown jobs have their answers; bad options are refused by name, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest

from gigq import Job, JobQueue, Worker, task
from gigq.errors import GigQError, InvalidJob

UNKNOWN = ["nobody", "", "' OR 1=1 --", "\N{SNOWMAN}", "0" * 10_000]


@pytest.mark.parametrize("job_id", UNKNOWN, ids=["word", "empty", "quote", "unicode", "long"])
def test_an_unknown_job_has_an_answer_for_every_question(queue: JobQueue, job_id: str) -> None:
    known = queue.submit(Job("j", jobs.nothing))
    assert queue.get_status(job_id) == {"exists": False}
    with pytest.raises(KeyError) as missing:
        queue.get_result(job_id)
    assert job_id in str(missing.value)
    assert queue.cancel(job_id) is False
    assert queue.requeue_job(job_id) is False
    assert queue.get_status(known)["status"] == "pending"


BAD: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", None),
    ("name", 7),
    ("name", b"bytes"),
    ("function", None),
    ("function", 7),
    ("function", ""),
    ("params", [1]),
    ("params", {1: 2}),
    ("params", "text"),
    ("priority", "high"),
    ("priority", 1.5),
    ("priority", None),
    ("priority", True),
    ("priority", 2**63),
    ("dependencies", "one-id"),
    ("dependencies", [1]),
    ("dependencies", {"a": 1}),
    ("max_attempts", 0),
    ("max_attempts", -1),
    ("max_attempts", 1.5),
    ("max_attempts", "3"),
    ("max_attempts", None),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", -0.001),
    ("timeout", float("nan")),
    ("timeout", float("inf")),
    ("timeout", "300"),
    ("timeout", True),
    ("description", 7),
    ("pass_parent_results", "yes"),
    ("retry_delay", -1),
    ("retry_delay", "soon"),
    ("retry_delay", None),
    ("retry_delay", float("nan")),
    ("on_parent_failure", "explode"),
    ("on_parent_failure", None),
    ("on_parent_failure", ["cancel"]),
    ("max_crashes", 0),
    ("max_crashes", "many"),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=[f"{field}={value!r:.20}" for field, value in BAD])
def test_a_bad_option_of_a_job_is_named_at_construction(field: str, value: Any) -> None:
    arguments: dict[str, Any] = {"name": "my job", "function": jobs.nothing} | {field: value}
    with pytest.raises(InvalidJob) as refused:
        Job(**arguments)
    assert field in str(refused.value)
    if field != "name":
        assert "my job" in str(refused.value)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, GigQError)


@pytest.mark.parametrize(("field", "value"), BAD, ids=[f"{field}={value!r:.20}" for field, value in BAD])
def test_a_field_that_was_spoiled_later_is_named_at_submit_and_nothing_is_written(
    queue: JobQueue, field: str, value: Any
) -> None:
    good, bad = Job("good", jobs.nothing), Job("my job", jobs.nothing)
    setattr(bad, field, value)
    with pytest.raises(InvalidJob) as refused:
        queue.submit_many([good, bad])
    assert field in str(refused.value)
    assert queue.stats()["total"] == 0
    assert queue.submit(good) == good.id


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match="max_retries"):
        Job("j", jobs.nothing, max_retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unexpected.*max_retries"):
        task(max_retries=3)(jobs.nothing)


OPENINGS: list[tuple[str, Callable[[str], object]]] = [
    ("db_path", lambda _: JobQueue("")),
    ("db_path", lambda _: JobQueue(None)),  # type: ignore[arg-type]
    ("db_path", lambda _: JobQueue(7)),  # type: ignore[arg-type]
    ("db_path", lambda _: JobQueue(b"jobs.db")),  # type: ignore[arg-type]
    ("db_path", lambda path: JobQueue(f"{path}\0x")),
    ("db_path", lambda _: Worker("")),
    ("db_path", lambda _: Worker(None)),  # type: ignore[arg-type]
    ("concurrency", lambda path: Worker(path, concurrency=0)),
    ("concurrency", lambda path: Worker(path, concurrency=1.5)),  # type: ignore[arg-type]
    ("concurrency", lambda path: Worker(path, concurrency="4")),  # type: ignore[arg-type]
    ("polling_interval", lambda path: Worker(path, polling_interval=0)),
    ("polling_interval", lambda path: Worker(path, polling_interval=-1)),
    ("polling_interval", lambda path: Worker(path, polling_interval="5")),  # type: ignore[arg-type]
    ("grace", lambda path: Worker(path, grace=-1)),
    ("grace", lambda path: Worker(path, grace="25")),  # type: ignore[arg-type]
    ("grace", lambda path: Worker(path, grace=float("nan"))),
    ("durability", lambda path: Worker(path, durability="off")),  # type: ignore[arg-type]
    ("durability", lambda path: JobQueue(path, durability="off")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "opening"), OPENINGS, ids=[f"{n}-{o[0]}" for n, o in enumerate(OPENINGS)])
def test_a_bad_option_of_a_queue_or_worker_is_named_and_no_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, opening: Callable[[str], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidJob, match=field):
        opening(str(tmp_path / "jobs.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_question_is_named(queue: JobQueue) -> None:
    for ask, word in (
        (lambda: queue.list_jobs(status="done"), "status"),
        (lambda: queue.list_jobs(limit=-1), "limit"),
        (lambda: queue.list_jobs(limit="5"), "limit"),  # type: ignore[arg-type]
        (lambda: queue.clear_completed("yesterday"), "before_timestamp"),
        (lambda: queue.clear_completed(7), "before_timestamp"),  # type: ignore[arg-type]
        (lambda: queue.submit("jobs.nothing"), "Job"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidJob, match=word):
            ask()
