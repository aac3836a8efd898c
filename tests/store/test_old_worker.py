"""A worker of gigq 0.5.1 that is still running when the file is migrated is fenced off: the real one, installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jobs
import pytest
from processes import PATIENCE, wait_until

from gigq import Job, JobQueue, Worker

MakeWorker = Callable[..., Worker]
SUPPORT = Path(jobs.__file__).parent


@pytest.fixture(scope="session")
def old_release() -> str:
    """A folder in which the package of the old release is installed, kept for the next time."""
    folder = Path(tempfile.gettempdir()) / f"gigq-0.5.1-for-tests-{os.geteuid()}"
    if not _is_whole(folder):
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh]
            done = subprocess.run(
                [*install, "gigq==0.5.1"], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            if done.returncode:
                pytest.skip(f"gigq 0.5.1 cannot be installed here: {done.stderr.strip()[-200:]}")
            folder.mkdir(exist_ok=True)
            if not _is_whole(folder):  # half of it may have been cleared away
                shutil.rmtree(folder / "gigq", ignore_errors=True)
            try:
                Path(fresh, "gigq").rename(folder / "gigq")
            except OSError:  # somebody else who runs tests may have been quicker
                if not _is_whole(folder):
                    raise
    return str(folder)


def _is_whole(folder: Path) -> bool:
    return all(
        (folder / "gigq" / f"{name}.py").exists() for name in ("__init__", "job_queue", "worker", "workflow")
    )


class Old:
    """Programs that run under the old release."""

    def __init__(self, release: str, folder: Path) -> None:
        self.path = str(folder / "jobs.db")
        self.log = folder / "old.log"
        self.ledger = folder / "ledger"
        self.go = folder / "go"
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join([release, str(SUPPORT)])}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, code: str) -> subprocess.Popen[str]:
        preface = (
            "import logging, sys, gigq, jobs; from importlib.metadata import version\n"
            "path, log, ledger, go = sys.argv[1:]\n"
            "handler = logging.FileHandler(log); logger = logging.getLogger('gigq')\n"
            "logger.addHandler(handler); logger.setLevel(logging.INFO)\n"
            "assert not hasattr(gigq, 'GigQError'), 'this is the old release'\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", preface + code, self.path, str(self.log), str(self.ledger), str(self.go)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, code: str) -> str:
        output, _ = self.start(code).communicate(timeout=PATIENCE)
        return output

    def lines(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def said(self, text: str) -> int:
        return self.log.read_text().count(text) if self.log.exists() else 0

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def old(old_release: str, tmp_path: Path) -> Iterator[Old]:
    made = Old(old_release, tmp_path)
    yield made
    made.end()


_WORK = "gigq.Worker(path, worker_id='the old one', polling_interval=0.02).start()"
_SUBMIT = """
queue = gigq.JobQueue(path)
slow = gigq.Job('slow', jobs.append_and_return, {'path': ledger, 'text': 'slow', 'value': 1, 'after': go}, priority=1)
later = gigq.Job('later', jobs.append_and_return, {'path': ledger, 'text': 'later', 'value': 2})
print(queue.submit(slow), queue.submit(later))
"""


def test_a_busy_old_worker_writes_nothing_and_runs_nothing_more(old: Old, make_worker: MakeWorker) -> None:
    slow, later = old.run(_SUBMIT).split()
    worker = old.start(_WORK)
    wait_until(lambda: old.lines() == ["slow"], "the old worker runs the first job")

    queue = JobQueue(old.path)
    status = queue.get_status(slow)
    assert (status["status"], status["worker_id"], status["attempts"]) == ("running", "the old one", 1)
    lease = status["executions"][-1]["id"]
    old.go.touch()
    wait_until(lambda: worker.poll() is not None, "the old worker has ended, since it cannot write")

    after = queue.get_status(slow)
    assert (after["status"], after["result"], after["executions"][-1]["id"]) == ("running", None, lease)
    assert old.said("modify jobs because it is a view")
    assert old.lines() == ["slow"]
    assert queue.get_status(later)["status"] == "pending"
    assert make_worker(queue).process_one()
    assert old.lines() == ["slow", "later"]


def test_an_idle_old_worker_claims_nothing_more(old: Old, make_worker: MakeWorker) -> None:
    old.run("gigq.JobQueue(path)")
    worker = old.start(_WORK)
    wait_until(lambda: old.said("Worker thread the old one starting"), "the old worker is at work")

    queue = JobQueue(old.path)
    new = queue.submit(
        Job("new", jobs.append_and_return, {"path": str(old.ledger), "text": "new", "value": 1})
    )
    wait_until(
        lambda: old.said("Database error when claiming job") >= 3, "the old worker has tried to claim it"
    )
    assert worker.poll() is None, "and goes on trying"
    assert (old.lines(), queue.get_status(new)["status"]) == ([], "pending")
    assert make_worker(queue).process_one()
    assert (old.lines(), queue.get_status(new)["status"]) == (["new"], "completed")


def test_a_program_of_the_old_release_cannot_write_the_migrated_file(old: Old) -> None:
    slow, _ = old.run(_SUBMIT).split()
    queue = JobQueue(old.path)
    before = queue.list_jobs()
    for code in (
        "queue.submit(gigq.Job('x', jobs.nothing))",
        f"queue.cancel({slow!r})",
        f"queue.requeue_job({slow!r})",
        "queue.clear_completed()",
        f"gigq.Worker(path)._complete_job({slow!r}, 'x', gigq.JobStatus.COMPLETED, result=1)",
    ):
        output = old.run(f"queue = gigq.JobQueue(path, initialize=False)\n{code}\nprint('done')")
        assert "view" in output, code
        assert "done" not in output, code
    assert "view" in old.run("gigq.JobQueue(path)\nprint('done')")
    assert queue.list_jobs() == before


def test_a_program_of_the_old_release_can_still_read_the_migrated_file(old: Old) -> None:
    slow, _ = old.run(_SUBMIT).split()
    JobQueue(old.path)
    output = old.run(
        "queue = gigq.JobQueue(path, initialize=False)\n"
        f"print(queue.get_status({slow!r})['status'], queue.stats()['pending'], len(queue.list_jobs('pending')))"
    )
    assert output.split() == ["pending", "2", "2"]
