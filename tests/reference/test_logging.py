"""What is logged: by which logger, at which level, in which words, with which fields."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jobs
import pytest

from gigq import Job, JobQueue, Worker, close_connections, setup_logging


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="gigq")
    return caplog


def only(log: pytest.LogCaptureFixture, word: str) -> logging.LogRecord:
    """The one record that says a word."""
    (record,) = [record for record in log.records if word in record.getMessage().lower()]
    return record


def about(record: logging.LogRecord) -> dict[str, Any]:
    fields = ("job_id", "job_name", "attempt", "worker_id")
    return {field: getattr(record, field) for field in fields if hasattr(record, field)}


def test_submitted_is_info_of_the_queue(queue: JobQueue, log: pytest.LogCaptureFixture) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    record = only(log, "submitted")
    assert (record.name, record.levelname) == ("gigq.queue", "INFO")
    assert record.getMessage() == f"Job submitted: {job_id} (one)"
    assert about(record) == {"job_id": job_id, "job_name": "one"}


def test_many_submitted_jobs_are_one_line(queue: JobQueue, log: pytest.LogCaptureFixture) -> None:
    queue.submit_many([Job("one", jobs.nothing) for _ in range(7)])
    assert only(log, "submitted").getMessage() == "Jobs submitted: 7"


def test_cancelled_is_info_and_not_cancelled_a_warning(
    queue: JobQueue, log: pytest.LogCaptureFixture
) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    queue.cancel(job_id)
    assert (only(log, "cancelled").levelname, only(log, "cancelled").getMessage()) == (
        "INFO",
        f"Job cancelled: {job_id}",
    )
    queue.cancel(job_id)
    record = only(log, "not cancelled")
    assert (record.name, record.levelname) == ("gigq.queue", "WARNING")
    assert job_id in record.getMessage()


def test_a_refused_requeue_is_logged_with_its_reason(queue: JobQueue, log: pytest.LogCaptureFixture) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    queue.requeue_job(job_id)
    assert "pending" in only(log, f"not requeued: {job_id}").getMessage()


def test_started_and_completed_are_info_of_the_worker(
    queue: JobQueue, make_worker: Callable[..., Worker], log: pytest.LogCaptureFixture
) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    make_worker(queue, worker_id="the-worker").process_one()
    fields = {"job_id": job_id, "job_name": "one", "attempt": 1, "worker_id": "the-worker"}
    for word in ("job started", "job completed"):
        record = only(log, word)
        assert (record.name, record.levelname) == ("gigq.worker", "INFO")
        assert about(record) == fields
        assert job_id in record.getMessage()
        assert "one" in record.getMessage()
    assert re.search(r"in \d+\.\d+ s$", only(log, "job completed").getMessage())


def test_an_attempt_that_will_be_repeated_is_a_warning(
    queue: JobQueue, worker: Worker, log: pytest.LogCaptureFixture
) -> None:
    job_id = queue.submit(Job("one", jobs.fail, retry_delay=60))
    worker.process_one()
    record = only(log, "will be retried")
    assert (record.name, record.levelname) == ("gigq.worker", "WARNING")
    assert about(record) == {
        "job_id": job_id,
        "job_name": "one",
        "attempt": 1,
        "worker_id": worker.worker_id,
    }
    assert "in 60 s" in record.getMessage()
    assert "ValueError: it broke" in record.getMessage()


def test_a_failed_job_is_an_error_with_its_traceback(
    queue: JobQueue, worker: Worker, log: pytest.LogCaptureFixture
) -> None:
    job_id = queue.submit(Job("one", jobs.fail, max_attempts=1))
    worker.process_one()
    record = only(log, "job failed")
    assert (record.name, record.levelname) == ("gigq.worker", "ERROR")
    assert about(record)["job_id"] == job_id
    assert "ValueError: it broke" in record.getMessage()
    assert "Traceback" in record.getMessage()
    assert "raise ValueError(message)" in record.getMessage()


def test_a_timeout_is_a_warning(queue: JobQueue, worker: Worker, log: pytest.LogCaptureFixture) -> None:
    job_id = queue.submit(Job("one", jobs.sleep, {"seconds": 0.3}, timeout=0.05, max_attempts=1))
    worker.process_one()
    record = only(log, "timed out")
    assert (record.name, record.levelname) == ("gigq.worker", "WARNING")
    assert about(record)["job_id"] == job_id
    assert "0.05 s" in record.getMessage()


def test_a_lost_lease_is_a_warning(queue: JobQueue, worker: Worker, log: pytest.LogCaptureFixture) -> None:
    from gigq import JobStatus

    job_id = queue.submit(Job("one", jobs.nothing))
    claimed = worker._claim_job()
    assert claimed is not None
    worker._complete_job(job_id, claimed["execution_id"], JobStatus.COMPLETED)
    worker._complete_job(job_id, claimed["execution_id"], JobStatus.FAILED, error="late")
    record = only(log, "lease lost")
    assert (record.name, record.levelname) == ("gigq.worker", "WARNING")
    assert about(record) == {
        "job_id": job_id,
        "job_name": "one",
        "attempt": 1,
        "worker_id": worker.worker_id,
    }


def test_a_rescue_is_a_warning(db: str, make_worker: Any, tmp_path: Any, log: Any) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.die_once, {"path": str(tmp_path / "died")}))
    close_connections()
    code = f"from gigq import Worker; Worker({db!r}, worker_id='the-dead').process_one()"
    died = subprocess.run([sys.executable, "-c", code], env=jobs.environment(), check=False, timeout=60)
    assert died.returncode == 7
    assert make_worker(db).process_one()
    record = only(log, "rescued")
    assert (record.name, record.levelname) == ("gigq.worker", "WARNING")
    assert about(record)["job_id"] == job_id
    assert "the-dead" in record.getMessage()
    assert [e["status"] for e in queue.get_status(job_id)["executions"]] == ["crashed", "completed"]


def test_a_worker_that_starts_and_stops_says_so(
    db: str, make_worker: Callable[..., Worker], log: pytest.LogCaptureFixture
) -> None:
    JobQueue(db).submit(Job("stop", jobs.stop_the_worker))
    worker = make_worker(db, worker_id="the-worker")
    jobs.STOPPED_BY_JOBS.append(worker)
    worker.start()
    for word in ("the-worker started", "the-worker stopping", "the-worker stopped"):
        record = only(log, word)
        assert (record.name, record.levelname) == ("gigq.worker", "INFO")
        assert about(record) == {"worker_id": "the-worker"}


def test_records_reach_the_handlers_of_the_application(queue: JobQueue) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.name)

    root, handler = logging.getLogger(), Handler()
    logging.getLogger("gigq").setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        queue.submit(Job("one", jobs.nothing))
    finally:
        root.removeHandler(handler)
        logging.getLogger("gigq").setLevel(logging.NOTSET)
    assert seen == ["gigq.queue"]


def test_importing_configures_nothing_but_a_null_handler() -> None:
    code = (
        "import logging, gigq, gigq.worker, gigq.queue\n"
        "ours = logging.getLogger('gigq')\n"
        "print([type(h).__name__ for h in ours.handlers], ours.level, ours.propagate, logging.getLogger().handlers)\n"
        "print([logging.getLogger(n).handlers for n in ('gigq.queue', 'gigq.worker')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['NullHandler'] 0 True []", "[[], []]"]


def test_without_configuration_nothing_is_printed(tmp_path: Any) -> None:
    code = (
        "from gigq import JobQueue, Job, Worker; q = JobQueue('jobs.db'); q.cancel('x')\n"
        "q.submit(Job('one', 'os.getcwd', {'no': 'such'}, max_attempts=1)); Worker('jobs.db').process_one()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


# -- setup_logging ---------------------------------------------------------------------------------------------


@pytest.fixture
def fresh() -> Iterator[logging.Logger]:
    """The logger gigq, put back as it was."""
    ours = logging.getLogger("gigq")
    before, level = list(ours.handlers), ours.level
    yield ours
    ours.handlers[:] = before
    ours.setLevel(level)


def test_setup_logging_shows_lines_on_stderr_in_the_format_of_gigq(
    queue: JobQueue, fresh: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging()
    job_id = queue.submit(Job("one", jobs.nothing))
    out, err = capsys.readouterr()
    assert out == ""
    line = (
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} - gigq\.queue - INFO - Job submitted: {job_id} \(one\)\n"
    )
    assert re.fullmatch(line, err)


def test_calling_it_twice_does_not_double_lines(
    queue: JobQueue, fresh: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        setup_logging()
    queue.submit(Job("one", jobs.nothing))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_its_level_is_info_unless_told(
    queue: JobQueue, fresh: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging()
    assert fresh.level == logging.INFO
    setup_logging(logging.WARNING)
    queue.submit(Job("one", jobs.nothing))
    assert capsys.readouterr().err == ""
    queue.cancel("no such id")
    assert "WARNING" in capsys.readouterr().err


def test_it_leaves_handlers_of_the_application_alone(fresh: logging.Logger) -> None:
    mine = logging.NullHandler()
    fresh.addHandler(mine)
    setup_logging()
    setup_logging()
    assert mine in fresh.handlers


def test_lines_of_job_threads_are_whole(fresh: logging.Logger, db: str, capsys: Any) -> None:
    setup_logging()
    queue = JobQueue(db)

    def submit() -> None:
        for _ in range(20):
            queue.submit(Job("one", jobs.nothing))
        queue.close()

    threads = [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 60
    assert all(line.endswith(" (one)") for line in lines)
