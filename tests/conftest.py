"""What most tests need: a queue on every kind of store, workers that are closed, a clock to turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import TurnedClock

from gigq import JobQueue, Worker, close_connections

MakeWorker = Callable[..., Worker]


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Path of a database that does not exist yet."""
    return str(tmp_path / "jobs.db")


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, db: str, clock: TurnedClock) -> JobQueue:
    """An empty queue, on every kind of store; its clock stands still."""
    return JobQueue(db if request.param == "file" else ":memory:", clock=clock)


@pytest.fixture
def make_worker() -> Iterator[MakeWorker]:
    """Workers that are closed at the end of the test."""
    made: list[Worker] = []

    def make(*args: object, **options: object) -> Worker:
        worker = Worker(*args, **options)  # type: ignore[arg-type]
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def worker(queue: JobQueue, make_worker: MakeWorker) -> Worker:
    """A worker on ``queue``."""
    return make_worker(queue)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_connections()
