"""The command in this process: quick, with its streams captured."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminal import Answer, Gigq, MakeJob

from gigq import Job, JobQueue, Worker
from gigq.cli import main


@pytest.fixture
def gigq(
    db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gigq]:
    """``gigq *words`` on the database ``db``, in an empty working directory."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("GIGQ_DB_PATH", "GIGQ_WORKER_ID", "GIGQ_POLLING_INTERVAL", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIGQ_DB", db)

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = main(list(words))
        return Answer(code, *capsys.readouterr())

    logger = logging.getLogger("gigq")
    handlers, level = list(logger.handlers), logger.level
    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def on_file(db: str) -> JobQueue:
    """The queue in ``db``, under the system's clock."""
    return JobQueue(db)


@pytest.fixture
def make_job(on_file: JobQueue) -> MakeJob:
    """Submit a job of tests/support/jobs.py by the name of its function."""

    def make(
        function: str = "nothing", name: str = "", params: dict[str, object] | None = None, **options: object
    ) -> str:
        job = Job(name or function, f"jobs.{function}", params, **options)  # type: ignore[arg-type]
        return on_file.submit(job)

    return make


@pytest.fixture
def work(db: str) -> Callable[[], None]:
    """Run everything that is ready, in this thread."""

    def run() -> None:
        worker = Worker(db)
        while worker.process_one():
            pass
        worker.close()

    return run
