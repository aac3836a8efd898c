"""Worker: its attributes, and process_one in the calling thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from processes import wait_until

from gigq import GigQError, InvalidJob, Job, JobQueue, Worker, current_job

MakeWorker = Callable[..., Worker]

SEEN: dict[str, Any] = {}
"""What the functions below saw: they run in this process."""
BARRIER = threading.Barrier(4)


def look_around() -> None:
    SEEN["thread"] = threading.get_ident()
    SEEN["patched"] = jobs.add(1, 1)
    SEEN["job"] = current_job().id


def look_at_the_loop() -> None:
    SEEN["loop"] = asyncio.get_running_loop()


async def look_from_a_coroutine() -> str:
    await asyncio.sleep(0)
    SEEN["coroutine loop"] = asyncio.get_running_loop()
    return "done"


def use_the_connection() -> int:
    connection: sqlite3.Connection = SEEN["connection"]
    count: int = connection.execute("SELECT count(*) FROM mine").fetchone()[0]
    return count


def meet() -> None:
    BARRIER.wait(60)


# -- the object ------------------------------------------------------------------------------------------------


def test_the_example_of_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    worker = Worker("jobs.db")
    JobQueue("jobs.db").submit_many(
        [Job("one", jobs.nothing), Job("stop", jobs.stop_the_worker, priority=-1)]
    )
    if worker.process_one():
        print("Processed one job")
    else:
        print("No jobs available")
    assert capsys.readouterr().out == "Processed one job\n"
    jobs.STOPPED_BY_JOBS.append(worker)
    worker.start()  # until the second job stops it
    assert JobQueue("jobs.db").stats()["completed"] == 2


def test_its_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    worker = Worker("jobs.db", "the-worker", 0.5, 2)
    assert worker.db_path == str(tmp_path / "jobs.db")
    assert worker.worker_id == "the-worker"
    assert (worker.polling_interval, worker.concurrency) == (0.5, 2)
    assert (worker.running, worker.current_job_id) == (False, None)


def test_its_defaults_are_those_of_the_reference(db: str) -> None:
    worker = Worker(db)
    assert (worker.polling_interval, worker.concurrency) == (5, 1)


def test_a_worker_id_is_made_when_none_is_given(db: str) -> None:
    one, two = Worker(db), Worker(db)
    assert one.worker_id.startswith("worker-")
    assert one.worker_id != two.worker_id


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "2"])
def test_a_concurrency_below_one_is_a_value_error(db: str, concurrency: Any) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        Worker(db, concurrency=concurrency)


@pytest.mark.parametrize("interval", [0, -1, "5", None, float("nan")])
def test_a_polling_interval_is_seconds_above_zero(db: str, interval: Any) -> None:
    with pytest.raises(InvalidJob, match="polling_interval"):
        Worker(db, polling_interval=interval)


def test_a_worker_initialises_the_database_as_a_queue_does(db: str) -> None:
    Worker(db)
    assert JobQueue(db, initialize=False).stats()["total"] == 0


def test_a_path_object_is_a_path(tmp_path: Path) -> None:
    assert Worker(tmp_path / "jobs.db").db_path == str(tmp_path / "jobs.db")


# -- process_one -----------------------------------------------------------------------------------------------


def test_it_is_true_if_a_job_was_processed_and_false_if_there_was_none(
    queue: JobQueue, worker: Worker
) -> None:
    assert worker.process_one() is False
    queue.submit_many([Job("good", jobs.nothing), Job("bad", jobs.fail, max_attempts=1)])
    assert worker.process_one() is True
    assert worker.process_one() is True
    assert worker.process_one() is False


def test_it_processes_a_single_job(queue: JobQueue, worker: Worker) -> None:
    queue.submit_many([Job("one", jobs.nothing) for _ in range(3)])
    worker.process_one()
    assert (queue.stats()["completed"], queue.stats()["pending"]) == (1, 2)


def test_the_function_runs_in_the_calling_thread_with_its_monkeypatches(
    queue: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "add", lambda a, b: "patched")
    job_id = queue.submit(Job("one", look_around))
    assert worker.process_one()
    assert SEEN["thread"] == threading.get_ident()
    assert (SEEN["patched"], SEEN["job"]) == ("patched", job_id)


def test_the_function_may_use_the_connections_of_the_caller(queue: JobQueue, worker: Worker) -> None:
    mine = SEEN["connection"] = sqlite3.connect(":memory:")  # refuses other threads
    mine.execute("CREATE TABLE mine (x)")
    job_id = queue.submit(Job("one", use_the_connection))
    assert worker.process_one()
    mine.close()
    assert queue.get_status(job_id)["result"] == 0


def test_the_event_loop_is_that_of_the_caller(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", look_at_the_loop))

    async def main() -> None:
        assert worker.process_one()
        assert SEEN["loop"] is asyncio.get_running_loop()

    asyncio.run(main())


def test_a_coroutine_function_runs(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", look_from_a_coroutine))
    assert worker.process_one()
    assert queue.get_result(job_id) == "done"


def test_a_coroutine_function_runs_where_a_loop_is_running_already(queue: JobQueue, worker: Worker) -> None:
    """As in a notebook."""
    job_id = queue.submit(Job("one", look_from_a_coroutine))

    async def main() -> None:
        assert worker.process_one()

    asyncio.run(main())
    assert queue.get_result(job_id) == "done"


def test_the_current_job_is_known_while_it_runs(queue: JobQueue, worker: Worker, tmp_path: Path) -> None:
    job_id = queue.submit(Job("one", jobs.wait_for, {"path": str(tmp_path / "go")}))
    thread = threading.Thread(target=worker.process_one, daemon=True)
    thread.start()
    wait_until(lambda: worker.current_job_id == job_id, "it is known")
    (tmp_path / "go").touch()
    thread.join()
    assert worker.current_job_id is None


def test_outside_a_job_there_is_no_current_job() -> None:
    with pytest.raises(GigQError, match="no job is running"):
        current_job()


def test_it_may_be_called_in_several_threads_at_once(queue: JobQueue, worker: Worker) -> None:
    ids = queue.submit_many([Job("one", meet) for _ in range(4)])
    threads = [threading.Thread(target=worker.process_one) for _ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.stats()["completed"] == 4
    workers = {run["worker_id"] for job_id in ids for run in queue.get_status(job_id)["executions"]}
    assert workers == {worker.worker_id}


def test_a_worker_made_in_one_thread_works_in_another(db: str, make_worker: MakeWorker) -> None:
    queue, worker = JobQueue(db), make_worker(db)
    queue.submit_many([Job("one", jobs.nothing), Job("two", jobs.nothing)])
    assert worker.process_one()
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(worker.process_one()))
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt, BaseException])
def test_whatever_a_job_raises_ends_the_job_and_not_the_worker(
    queue: JobQueue, worker: Worker, error: type[BaseException]
) -> None:
    job_id = queue.submit(Job("one", jobs.raise_by_name, {"name": error.__name__}, max_attempts=1))
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(worker.process_one()))
    thread.start()
    thread.join()
    assert done == [True]
    record = queue.get_status(job_id)
    assert record["status"] == "failed"
    assert record["error"].startswith(error.__name__)
