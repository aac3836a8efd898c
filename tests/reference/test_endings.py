"""How a run can end besides returning and raising, and what that costs."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from processes import run_code, start, wait_until

from gigq import Job, JobQueue, Worker, close_connections

MakeWorker = Callable[..., Worker]
PROCESS_ONE = "import sys; from gigq import Worker; Worker(sys.argv[1]).process_one()"
DRAIN = "import sys; from gigq import Worker; w = Worker(sys.argv[1])\nwhile w.process_one(): pass"
START = (
    "import sys; from gigq import Worker; Worker(sys.argv[1], concurrency=2, polling_interval=0.1).start()"
)


@pytest.mark.parametrize("name", ["SystemExit", "GeneratorExit", "BaseException", "StopIteration"])
def test_what_is_not_an_exception_ends_the_job_like_any_other_error(
    queue: JobQueue, worker: Worker, name: str
) -> None:
    job_id = queue.submit(Job("one", jobs.raise_by_name, {"name": name}, max_attempts=2))
    assert worker.process_one() is True
    assert worker.process_one() is True
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert record["error"].startswith(name)


@pytest.mark.parametrize("params", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"x": 1}])
def test_arguments_that_do_not_fit_are_an_error_of_the_attempt(
    queue: JobQueue, worker: Worker, params: dict[str, int]
) -> None:
    job_id = queue.submit(Job("one", jobs.add, params, max_attempts=2))
    while worker.process_one():
        pass
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert record["error"].startswith("TypeError: add()")


def test_a_module_that_raises_while_it_is_imported_is_an_error_of_the_attempt(
    queue: JobQueue, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raises_on_import.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    job_id = queue.submit(Job("one", "raises_on_import.f", max_attempts=2))
    while worker.process_one():
        pass
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert record["error"].startswith("ZeroDivisionError")


# -- death -----------------------------------------------------------------------------------------------------


def die(db: str, folder: Path, function: Callable[..., Any] = jobs.die, **options: Any) -> str:
    """A job whose function has ended its process once."""
    job_id = JobQueue(db).submit(Job("dies", function, **options))
    close_connections()
    die_again(db, folder)
    return job_id


def die_again(db: str, folder: Path) -> None:
    process = start(PROCESS_ONE, db, cwd=folder)
    process.communicate(timeout=60)
    assert process.returncode == 7


def test_a_death_is_charged_as_a_crash_and_not_as_an_attempt(
    db: str, tmp_path: Path, make_worker: MakeWorker
) -> None:
    job_id = die(db, tmp_path, jobs.die_once, params={"path": str(tmp_path / "died")}, retry_delay=3600)
    queue = JobQueue(db)
    assert make_worker(db).process_one()  # at once: a death is not delayed
    record = queue.get_status(job_id)
    assert (record["status"], record["result"]) == ("completed", "survived")
    assert (record["crashes"], record["attempts"]) == (1, 1)
    assert [run["status"] for run in record["executions"]] == ["crashed", "completed"]


def test_after_three_deaths_it_is_given_up_with_the_reason(
    db: str, tmp_path: Path, make_worker: MakeWorker
) -> None:
    job_id = die(db, tmp_path)
    die_again(db, tmp_path)
    die_again(db, tmp_path)
    assert make_worker(db).process_one() is False
    record = JobQueue(db).get_status(job_id)
    assert (record["status"], record["crashes"], record["attempts"]) == ("failed", 3, 0)
    assert "died while it ran" in record["error"]
    assert "3 crashes" in record["error"]
    assert [run["status"] for run in record["executions"]] == ["crashed"] * 3


def test_max_crashes_says_how_many(db: str, tmp_path: Path, make_worker: MakeWorker) -> None:
    job_id = die(db, tmp_path, max_crashes=1)
    assert make_worker(db).process_one() is False
    assert JobQueue(db).get_status(job_id)["status"] == "failed"


def test_a_job_of_one_attempt_is_not_started_again(db: str, tmp_path: Path, make_worker: MakeWorker) -> None:
    job_id = die(db, tmp_path, max_attempts=1)
    assert make_worker(db).process_one() is False
    record = JobQueue(db).get_status(job_id)
    assert record["status"] == "failed"
    assert record["error"].startswith("died while it ran; not started again because max_attempts=1")


def test_what_a_dead_worker_had_only_claimed_goes_back_uncharged(
    db: str, tmp_path: Path, make_worker: MakeWorker
) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.nothing, max_attempts=1))
    run_code(
        "import os, sys; from gigq import Worker; Worker(sys.argv[1])._claim_job(); os._exit(0)",
        db,
        cwd=tmp_path,
    )
    assert queue.get_status(job_id)["status"] == "running"
    assert make_worker(db).process_one() is True
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"], record["crashes"]) == ("completed", 1, 0)
    assert len(record["executions"]) == 1


# -- several workers -------------------------------------------------------------------------------------------


def test_workers_in_processes_and_threads_run_each_job_once(
    db: str, tmp_path: Path, make_worker: MakeWorker
) -> None:
    """One that starts two threads, one that processes one by one, and one here."""
    queue, ledger = JobQueue(db), tmp_path / "ledger"
    processes: list[subprocess.Popen[str]] = [start(code, db, cwd=tmp_path) for code in (START, DRAIN)]
    ids = queue.submit_many(
        [Job("one", jobs.append_my_id, {"path": str(ledger)}, priority=n % 5) for n in range(300)]
    )
    worker = make_worker(db)
    while worker.process_one():
        pass
    wait_until(lambda: queue.stats()["completed"] == 300, "all jobs are done")
    for process in processes:
        process.terminate()
        process.communicate(timeout=60)
    assert Counter(ledger.read_text().split()) == Counter(ids)
    assert {queue.get_status(job_id)["attempts"] for job_id in ids} == {1}
