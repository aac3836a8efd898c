"""K22: whatever a job returns or raises, it has one end, and the worker goes on."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hell
import jobs
import pytest
from rig import PATIENCE, wait_until

from gigq import Job, JobQueue, Worker

MakeWorker = Callable[..., Worker]


@contextlib.contextmanager
def working(worker: Worker) -> Iterator[threading.Thread]:
    """A worker at work in a thread of its own."""
    thread = threading.Thread(target=worker.start, name="worker")
    thread.start()
    try:
        yield thread
        assert thread.is_alive(), "the worker has ended by itself"
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calls"
    monkeypatch.setenv(hell.CALLS, str(path))
    return path


def submit_all(
    queue: JobQueue, function: Callable[..., object], names: list[str], max_attempts: int = 3
) -> dict[str, str]:
    made = {
        name: Job(name=name, function=function, params={"which": name}, max_attempts=max_attempts)
        for name in names
    }
    queue.submit_many(made.values())
    return {name: job.id for name, job in made.items()}


def await_all(queue: JobQueue) -> None:
    def ended() -> bool:
        stats = queue.stats()
        return stats["pending"] + stats["running"] == 0

    wait_until(ended, f"all jobs to end: {queue.list_jobs('running')}")


def assert_unstorable(queue: JobQueue, name: str, job: str, calls: Counter[str]) -> None:
    shown = queue.get_status(job)
    assert shown["status"] == "failed", name
    assert calls[name] == 1, f"{name} ran {calls[name]} times"
    assert [run["status"] for run in shown["executions"]] == ["failed"], name
    assert shown["result"] is None, name
    assert "The function returned:" in shown["error"], f"{name}: {shown['error'][:300]}"
    assert len(shown["error"]) < 200_000, name


def assert_failed_twice(queue: JobQueue, name: str, job: str, calls: Counter[str]) -> None:
    shown = queue.get_status(job)
    assert shown["status"] == "failed", name
    assert calls[name] == 2, f"{name} ran {calls[name]} times"
    assert [run["status"] for run in shown["executions"]] == ["failed", "failed"], name
    assert shown["error"].strip(), name
    assert len(shown["error"]) < 100_000, name
    shown["error"].encode()
    assert "\x00" not in shown["error"], name


def test_a_result_that_cannot_be_stored_fails_its_job_at_once(
    queue: JobQueue, make_worker: MakeWorker, calls: Path
) -> None:
    submitted = submit_all(queue, hell.give, list(hell.UNSTORABLE))
    with working(make_worker(queue, concurrency=2)):
        await_all(queue)
        last = queue.submit(Job(name="after", function=jobs.add, params={"a": 1, "b": 2}))
        wait_until(lambda: queue.get_result(last) == 3, "the worker to go on")
    counted = Counter(calls.read_text().splitlines())
    for name, job in submitted.items():
        assert_unstorable(queue, name, job, counted)


def test_an_error_that_cannot_be_shown_fails_its_job_and_no_other(
    queue: JobQueue, make_worker: MakeWorker, calls: Path
) -> None:
    submitted = submit_all(queue, hell.throw, list(hell.ERRORS), max_attempts=2)
    with working(make_worker(queue, concurrency=2)):
        await_all(queue)
        last = queue.submit(Job(name="after", function=jobs.add, params={"a": 1, "b": 2}))
        wait_until(lambda: queue.get_result(last) == 3, "the worker to go on")
    counted = Counter(calls.read_text().splitlines())
    for name, job in submitted.items():
        assert_failed_twice(queue, name, job, counted)


def await_and_go_on(queue: JobQueue) -> None:
    await_all(queue)
    last = queue.submit(Job(name="after", function=jobs.add, params={"a": 1, "b": 2}))
    wait_until(lambda: queue.get_result(last) == 3, "the worker to go on")


def test_results_from_hell_in_a_child(db: str, make_worker: MakeWorker, calls: Path) -> None:
    queue = JobQueue(db)
    submitted = submit_all(queue, hell.give, list(hell.UNSTORABLE))
    with working(make_worker(queue, concurrency=2, executor="process")):
        await_and_go_on(queue)
    counted = Counter(calls.read_text().splitlines())
    for name, job in submitted.items():
        assert_unstorable(queue, name, job, counted)


def test_errors_from_hell_in_a_child(db: str, make_worker: MakeWorker, calls: Path) -> None:
    queue = JobQueue(db)
    submitted = submit_all(queue, hell.throw, list(hell.ERRORS), max_attempts=2)
    with working(make_worker(queue, concurrency=2, executor="process")):
        await_and_go_on(queue)
    counted = Counter(calls.read_text().splitlines())
    for name, job in submitted.items():
        assert_failed_twice(queue, name, job, counted)


@pytest.mark.parametrize("kind", ["result", "error"])
def test_process_one_survives_hell_too(db: str, make_worker: MakeWorker, calls: Path, kind: str) -> None:
    queue = JobQueue(db)
    if kind == "result":
        names = [name for name in hell.UNSTORABLE if name != "lying mapping"]
        submitted = submit_all(queue, hell.give, names)
    else:
        # In the main thread an interrupt is its user's: process_one() raises it on.
        names = [name for name in hell.ERRORS if name != "keyboard interrupt"]
        submitted = submit_all(queue, hell.throw, names, max_attempts=2)
    worker = make_worker(queue)
    while worker.process_one():
        pass
    counted = Counter(calls.read_text().splitlines())
    check = assert_unstorable if kind == "result" else assert_failed_twice
    for name, job in submitted.items():
        check(queue, name, job, counted)


def test_an_interrupt_during_process_one_gives_the_job_back_and_is_raised_on(
    queue: JobQueue, worker: Worker, calls: Path
) -> None:
    job = submit_all(queue, hell.throw, ["keyboard interrupt"])["keyboard interrupt"]
    with pytest.raises(KeyboardInterrupt):
        worker.process_one()
    shown = queue.get_status(job)
    assert (shown["status"], shown["attempts"]) == ("pending", 0)
    assert [run["status"] for run in shown["executions"]] == ["released"]


@pytest.mark.parametrize("how", ["a", "\x00", "\ud800", "\U0010ffff", "x" * 5_000])
def test_what_is_odd_and_can_be_stored_comes_back_as_it_was(
    queue: JobQueue, worker: Worker, how: str
) -> None:
    if how in ("\x00", "\ud800"):
        with pytest.raises(ValueError, match="cannot be stored"):
            queue.submit(Job(name="odd", function=jobs.echo, params={"value": how}))
        assert queue.stats()["total"] == 0
        return
    job = queue.submit(Job(name="odd", function=jobs.echo, params={"value": {"k": [how, 2**70, -0.0]}}))
    assert worker.process_one()
    assert queue.get_result(job) == {"k": [how, 2**70, -0.0]}
