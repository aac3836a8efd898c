"""The signals that stop a worker."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from processes import begun, in_a_thread, start, wait_until, waiting

from gigq import Job, JobQueue, Worker

MakeWorker = Callable[..., Worker]
SEEN: dict[str, Any] = {}


def look_at_signals() -> None:
    SEEN["handlers"] = handlers()


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, db: str) -> JobQueue:
    """With the clock of the machine: the loop needs one that moves."""
    return JobQueue(db if request.param == "file" else ":memory:")


def test_start_sets_signal_handlers_and_restores_them(queue: JobQueue, make_worker: MakeWorker) -> None:
    before = handlers()
    queue.submit_many([Job("look", look_at_signals), Job("stop", jobs.stop_the_worker)])
    worker = make_worker(queue)
    jobs.STOPPED_BY_JOBS.append(worker)
    worker.start()
    assert handlers() == before
    assert all(now is not then for now, then in zip(SEEN["handlers"], before, strict=True))


def test_the_handlers_come_back_even_if_the_worker_fails(
    queue: JobQueue, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = handlers()
    worker = make_worker(queue)
    monkeypatch.setattr(worker, "_work", lambda: pytest.fail("as planned"))
    with pytest.raises(pytest.fail.Exception):
        worker.start()
    assert handlers() == before


def test_nothing_else_touches_signals(queue: JobQueue, make_worker: MakeWorker) -> None:
    before = handlers()
    SEEN.clear()
    queue.submit(Job("look", look_at_signals))
    worker = make_worker(queue)
    assert worker.process_one()
    assert SEEN["handlers"] == before
    queue.submit(Job("look", look_at_signals))
    SEEN.clear()
    thread = in_a_thread(worker)  # not the main one
    wait_until(lambda: "handlers" in SEEN, "the job has looked")
    worker.stop()
    thread.join(60)
    assert SEEN["handlers"] == before


START = """
import sys
from gigq import Worker
Worker("jobs.db", grace=float(sys.argv[1]) if len(sys.argv) > 1 else None).start()
print("start returned")
"""


@pytest.fixture
def running(db: str, tmp_path: Path, go: Path) -> tuple[JobQueue, str]:
    """A queue with a job that waits for ``go``, to be worked by processes in its folder."""
    queue = JobQueue(db)
    return queue, queue.submit(waiting(go))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_lets_the_current_job_end(
    running: tuple[JobQueue, str], tmp_path: Path, go: Path, number: signal.Signals
) -> None:
    queue, job_id = running
    process = start(START, cwd=tmp_path)
    wait_until(lambda: begun(go), "the job runs")
    later = queue.submit(Job("later", jobs.nothing))
    process.send_signal(number)
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.3)
    go.touch()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "start returned\n"), err
    assert queue.get_status(job_id)["status"] == "completed"
    assert queue.get_status(later)["status"] == "pending"


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
def test_a_second_signal_ends_it_at_once_and_gives_the_job_back_uncharged(
    running: tuple[JobQueue, str], tmp_path: Path, go: Path, signals: list[signal.Signals]
) -> None:
    queue, job_id = running
    process = start(START, cwd=tmp_path)
    wait_until(lambda: begun(go), "the job runs")
    later = queue.submit(Job("later", jobs.nothing))
    process.send_signal(signals[0])
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.2)
    process.send_signal(signals[1])
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    given_back(queue, job_id)
    assert queue.get_status(later)["status"] == "pending"


def test_a_grace_ends_the_wait(running: tuple[JobQueue, str], tmp_path: Path, go: Path) -> None:
    queue, job_id = running
    process = start(START, "0.2", cwd=tmp_path)
    wait_until(lambda: begun(go), "the job runs")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    given_back(queue, job_id)


def test_stop_with_a_grace_ends_the_wait_and_with_it_the_process(
    running: tuple[JobQueue, str], tmp_path: Path
) -> None:
    queue, job_id = running
    code = """
    import pathlib, threading, time
    from gigq import Worker
    worker = Worker("jobs.db")
    threading.Thread(target=worker.start, daemon=True).start()
    while not pathlib.Path("go.waits").exists():
        time.sleep(0.01)
    worker.stop(grace=0.2)
    time.sleep(60)
    print("the process goes on")
    """
    process = start(code, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")
    given_back(queue, job_id)


def given_back(queue: JobQueue, job_id: str) -> None:
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"], record["crashes"]) == ("pending", 0, 0)
    assert [run["status"] for run in record["executions"]] == ["released"]


PROCESS_ONE = """
import json, sys
from gigq import JobQueue, Worker
worker = Worker("jobs.db")
try:
    worker.process_one()
except KeyboardInterrupt:
    print("raised on")
print(worker.current_job_id)
"""


@pytest.mark.parametrize("max_attempts", [3, 1])
def test_ctrl_c_in_process_one_ends_the_function_uncharged_and_is_raised_on(
    db: str, tmp_path: Path, go: Path, max_attempts: int
) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(waiting(go, max_attempts=max_attempts))
    process = start(PROCESS_ONE, cwd=tmp_path)
    wait_until(lambda: begun(go), "the job runs")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "raised on\nNone\n"), err
    record = queue.get_status(job_id)
    assert record["attempts"] == 0
    assert [run["status"] for run in record["executions"]] == ["released"]
    if max_attempts == 1:
        assert record["status"] == "failed"
        assert "not started again because max_attempts=1" in record["error"]
    else:
        assert record["status"] == "pending"
