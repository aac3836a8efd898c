"""What most tests need: a queue on every kind of store, workers that are closed, a clock to turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import TurnedClock
from hypothesis import settings
from stores import KINDS, Hands, Kind, assert_sound, open_kind

from gigq import JobQueue, Worker, close_connections
from gigq.store import Store
from gigq.worker import upkeep

MakeWorker = Callable[..., Worker]

settings.register_profile("however slow", deadline=None)
settings.load_profile("however slow")


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


@pytest.fixture
def frequent_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process do the housekeeping twenty times a second."""
    monkeypatch.setattr(upkeep, "_EVERY", 50_000_000)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_connections()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of a test is waiting for what takes its time by nature."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports cross a pipe that takes UTF-8 only; what hostile tests print and log may hold lone surrogates."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {key: _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(_encodable, value))
        case _:
            return value


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def store(kind: Kind, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_kind(kind, tmp_path)
    yield opened
    opened.engine.close()


@pytest.fixture
def hands(store: Store, clock: TurnedClock) -> Iterator[Hands]:
    """Hands on it; afterwards it must be sound."""
    made = Hands(store, clock)
    yield made
    assert_sound(made)
