"""Threads that hang: they are counted, and a worker with too many of them ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import executions
import jobs
import pytest
from processes import begun, wait_until, waiting

from gigq import InvalidJob, Job, JobQueue, TooManyAbandoned, Worker


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, db: str) -> JobQueue:
    """Under the system's clock: what hangs, hangs in real time."""
    return JobQueue(db if request.param == "file" else ":memory:")


class Started:
    """A worker in a thread, and what it raised."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.worker.start()
        except BaseException as error:
            self.failure = error

    def ends(self) -> BaseException | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.failure


def hanging(path: Path, **options: Any) -> Job:
    return Job(
        "hangs", executions.hang_until, {"path": str(path)}, **{"timeout": 0.05, "max_attempts": 1, **options}
    )


def test_threads_that_hang_are_counted_until_they_end(queue: JobQueue, tmp_path: Path) -> None:
    go = tmp_path / "go"
    jobs_ = [hanging(go) for _ in range(2)]
    queue.submit_many(jobs_)
    worker = Worker(queue, concurrency=2)
    started = Started(worker)
    wait_until(lambda: queue.stats()["timeout"] == 2, "both are given up")
    assert worker.abandoned == 2
    assert worker.running
    go.touch()
    wait_until(lambda: worker.abandoned == 0, "both have ended")
    worker.stop()
    assert started.ends() is None


def test_with_too_many_it_finishes_what_runs_well_gives_back_the_rest_and_raises(
    queue: JobQueue, tmp_path: Path
) -> None:
    never, go = tmp_path / "never", tmp_path / "go"
    well = waiting(go)
    queue.submit(well)
    worker = Worker(queue, concurrency=2, max_abandoned=1)
    started = Started(worker)
    wait_until(lambda: begun(go), "it runs")
    queue.submit_many([hanging(never) for _ in range(2)])
    wait_until(lambda: not worker.running, "it has had enough")
    later = queue.submit(Job("later", jobs.nothing))
    assert queue.get_status(well.id)["status"] == "running"
    go.touch()
    failure = started.ends()
    assert isinstance(failure, TooManyAbandoned)
    assert "2 threads hang in runs that were given up, more than max_abandoned=1" in str(failure)
    assert queue.stats() == {
        **dict.fromkeys(["running", "failed", "cancelled"], 0),
        "pending": 1,
        "completed": 1,
        "timeout": 2,
        "total": 4,
    }
    assert queue.get_status(later)["executions"] == []
    with pytest.raises(TooManyAbandoned):  # they still hang
        worker.start()
    never.touch()
    wait_until(lambda: worker.abandoned == 0, "they have ended")


def test_who_stops_it_meanwhile_is_told_nothing_else(queue: JobQueue, tmp_path: Path) -> None:
    never, go = tmp_path / "never", tmp_path / "go"
    queue.submit(waiting(go))
    worker = Worker(queue, concurrency=2, max_abandoned=0)
    started = Started(worker)
    wait_until(lambda: begun(go), "it runs")
    queue.submit(hanging(never))
    wait_until(lambda: not worker.running, "it has had enough")
    worker.stop()
    go.touch()
    assert started.ends() is None
    never.touch()
    wait_until(lambda: worker.abandoned == 0, "it has ended")


def test_a_run_of_process_one_that_was_given_up_counts_too(queue: JobQueue, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = queue.submit(hanging(go))
    worker = Worker(queue)
    thread = threading.Thread(target=worker.process_one)
    thread.start()
    wait_until(lambda: queue.get_status(job)["status"] == "timeout", "the watchdog settles it")
    assert worker.abandoned == 1
    go.touch()
    thread.join(60)
    assert worker.abandoned == 0


@pytest.mark.parametrize("number", [-1, 1.5, True, None])
def test_a_number_that_is_none_is_refused(queue: JobQueue, number: Any) -> None:
    with pytest.raises(InvalidJob, match="max_abandoned"):
        Worker(queue, max_abandoned=number)


def test_a_worker_that_is_stopped_amid_its_pulse_tells_of_it(queue: JobQueue) -> None:
    worker = Worker(queue)
    told: list[bool] = []

    def on_turn(stopping: bool) -> None:
        told.append(stopping)
        worker.stop()

    worker.on_turn = on_turn
    assert Started(worker).ends() is None
    assert (told[0], told[-1]) == (False, True)


@pytest.mark.usefixtures("frequent_upkeep")
def test_its_pulse_is_felt_at_each_turn(queue: JobQueue) -> None:
    worker = Worker(queue)
    told: list[bool] = []
    worker.on_turn = told.append
    started = Started(worker)
    wait_until(lambda: len(told) > 1, "it turns")
    assert not any(told)
    worker.stop()
    started.ends()
    assert told[-1]
