"""Every way in which a worker runs a function, and what became of the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from processes import PATIENCE, in_a_thread, wait_until
from stores import Kind

from gigq import Job, JobQueue, Worker

Run = Callable[[list[Job]], dict[str, dict[str, Any]]]


class Seams(Worker):
    """A worker with a seam of its own, which calls the original."""

    def _complete_job(self, *args: Any, **options: Any) -> None:
        super()._complete_job(*args, **options)


class _Ways:
    """Runs jobs once each; their records by name."""

    def __init__(self, way: str, queue: JobQueue) -> None:
        self.way = way
        self.queue = queue

    def __call__(self, jobs: list[Job]) -> dict[str, dict[str, Any]]:
        self.queue.submit_many(jobs)
        if self.way == "process_one":
            worker = Worker(self.queue)
            for _ in jobs:
                assert worker.process_one()
            worker.close()
        else:
            self._work(jobs)
        return {job.name: self.queue.get_status(job.id) for job in jobs}

    def _work(self, jobs: list[Job]) -> None:
        kind = Seams if self.way == "seams" else Worker
        worker = kind(self.queue, executor="process" if self.way == "processes" else "thread")
        thread = in_a_thread(worker)
        try:
            wait_until(lambda: all(self._has_run(job) for job in jobs), "all have run")
        finally:
            worker.stop()
            thread.join(PATIENCE)

    def _has_run(self, job: Job) -> bool:
        record = self.queue.get_status(job.id)
        return bool(record["executions"]) and record["status"] != "running"


@pytest.fixture(params=["process_one", "seams", "threads", "processes"])
def run(request: pytest.FixtureRequest, db: str) -> Run:
    return _Ways(request.param, JobQueue(db, durability="normal"))


@pytest.fixture(params=["file", "memory"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """What a file was migrated from is the business of tests/store."""
    made: Kind = request.param
    return made
