"""Limits with real workers: how many run at once, how many start within a time, and who is told to come back later."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limitedjobs
import pytest
from limited import assert_limits_are_sound
from processes import PATIENCE, in_a_thread, wait_until
from stores import Hands

from gigq import InvalidJob, Job, JobQueue, Limit, Worker, task
from gigq.clock import SYSTEM

Run = Callable[[list[Job]], dict[str, dict[str, Any]]]


def all_ended(queue: JobQueue) -> bool:
    stats = queue.stats()
    return not stats["pending"] and not stats["running"]


def work_off(queue: JobQueue, *workers: Worker) -> None:
    threads = [in_a_thread(worker) for worker in workers]
    try:
        wait_until(lambda: all_ended(queue), "all have ended")
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(PATIENCE)
    assert queue.stats()["completed"] == queue.stats()["total"]
    assert_limits_are_sound(Hands(queue._store, SYSTEM))  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_no_more_run_at_once_than_a_limit_allows_with_several_workers(
    db: str, tmp_path: Path, executor: Any
) -> None:
    queue, path = JobQueue(db, durability="normal"), str(tmp_path / "runs")
    host = Limit("host:{key}", concurrency=2)
    both = [host, Limit("all", concurrency=3)]
    queue.submit_many(
        [
            Job("one", limitedjobs.mark, {"path": path, "key": "ab"[n % 2], "seconds": 0.01}, limit=both)
            for n in range(24)
        ]
        + [Job("free", limitedjobs.mark, {"path": path, "key": "free"}) for _ in range(10)]
    )
    work_off(
        queue,
        *[Worker(queue, concurrency=4 if executor == "thread" else 2, executor=executor) for _ in range(2)],
    )
    most = limitedjobs.most_at_once(path)
    assert most["a"] <= 2
    assert most["b"] <= 2
    assert len(limitedjobs.starts(path)) == 34


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_no_more_start_than_a_rate_allows_in_any_time_of_its_length(
    db: str, tmp_path: Path, executor: Any
) -> None:
    """As the history has their starts; those of jobs that wait behind others in a worker are not overlooked."""
    queue, path = JobQueue(db, durability="normal"), str(tmp_path / "runs")
    mark = task(limitedjobs.mark, limit=Limit("api", rate=(4, 0.5)))
    ids = [mark.submit(queue, path=path, key="x", seconds=0.02 * (n % 3)) for n in range(10)]
    work_off(queue, *[Worker(queue, concurrency=2, executor=executor, polling_interval=30) for _ in range(2)])
    runs = [run for job in ids for run in queue.get_status(job)["executions"]]
    from gigq.clock import from_iso

    at = sorted(from_iso(run["started_at"]) for run in runs)
    assert len(at) == 10
    closest = min(later - first for first, later in zip(at, at[4:], strict=False))
    assert closest >= 500_000
    assert at[-1] - at[0] < 20_000_000, "woken when a time is over, and not by polling"


def test_a_job_that_is_told_to_come_back_later_does_so_uncharged(run: Run, tmp_path: Path) -> None:
    """In every way in which a function runs; the run that said so is in the history."""
    limit = Limit("api", concurrency=5)
    job = Job(
        "asks", limitedjobs.limited_once, {"path": str(tmp_path / "first")}, limit=limit, max_attempts=1
    )
    record = run([job])["asks"]
    first = record["executions"][0]
    assert (first["status"], record["status"] in ("pending", "running", "completed")) == ("snoozed", True)
    assert "429" in first["error"]
    queue: JobQueue = run.queue  # type: ignore[attr-defined]
    if record["status"] == "pending":
        [limited] = queue.limits("api")
        assert limited["backs_off_until"] in (record["retry_after"], None), "None when it is over by now"


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_all_jobs_of_a_limit_wait_when_one_is_told_to(db: str, tmp_path: Path, kind: Any) -> None:
    queue, path = JobQueue(db, durability="normal"), str(tmp_path / "runs")
    api = Limit("api", concurrency=1)
    queue.submit(Job("asks", limitedjobs.limited_once, {"path": str(tmp_path / "first")}, limit=api))
    other = queue.submit(Job("other", limitedjobs.mark, {"path": path, "key": "x"}, limit=api))
    work_off(queue, Worker(queue, executor=kind, polling_interval=30))
    asked = next(job for job in queue.list_jobs() if job["name"] == "asks")
    executions = queue.get_status(asked["id"])["executions"]
    assert [run["status"] for run in executions] == ["snoozed", "completed"]
    from gigq.clock import from_iso

    told = from_iso(executions[0]["completed_at"])
    began = from_iso(queue.get_status(other)["executions"][0]["started_at"])
    assert began - told >= 300_000


def test_what_a_server_asks_for_is_passed_on() -> None:
    from gigq import RateLimited

    error = OSError("429")
    error.headers = {"Retry-After": "7"}  # type: ignore[attr-defined]
    assert RateLimited.from_response(error, "api").delay == 7_000_000
    assert RateLimited.from_response(error, "api").backs_off == "api"
    assert RateLimited.from_response(object()).delay == 60_000_000
    assert RateLimited.from_response(object(), default=5).backs_off == ""
    with pytest.raises(InvalidJob, match="RateLimited: retry_after"):
        RateLimited(-1)


class OwnClaim(Worker):
    """Claims in its own SQL, as the reference shows it."""

    def _claim_job(self) -> dict[str, Any] | None:
        connection = self._get_connection()
        connection.execute("BEGIN EXCLUSIVE")
        row = connection.execute(
            "SELECT * FROM jobs WHERE status = 'pending' ORDER BY priority DESC LIMIT 1"
        ).fetchone()
        if row is None:
            connection.rollback()
            return None
        execution = f"own-{row['id']}-{time.monotonic_ns()}"
        connection.execute(
            "UPDATE jobs SET status = 'running', worker_id = ? WHERE id = ?", (self.worker_id, row["id"])
        )
        connection.execute(
            "INSERT INTO job_executions (id, job_id, worker_id, status) VALUES (?, ?, ?, 'running')",
            (execution, row["id"], self.worker_id),
        )
        connection.commit()
        return {**dict(row), "execution_id": execution}


def test_a_claim_of_ones_own_keeps_limits_too(queue_on_file: JobQueue, tmp_path: Path) -> None:
    queue, path = queue_on_file, str(tmp_path / "runs")
    limits = [Limit("a", concurrency=1), Limit("r", rate=(2, 0.3))]
    for _ in range(5):
        queue.submit(Job("one", limitedjobs.mark, {"path": path, "key": "a", "seconds": 0.02}, limit=limits))
    workers = [OwnClaim(queue.db_path, polling_interval=0.01) for _ in range(2)]
    work_off(queue, *workers)
    assert limitedjobs.most_at_once(path) == {"a": 1}
    at = limitedjobs.starts(path)
    assert min(later - first for first, later in zip(at, at[2:], strict=False)) >= 280e6


@pytest.fixture
def queue_on_file(db: str) -> JobQueue:
    return JobQueue(db, durability="normal")


# -- the client ---------------------------------------------------------------------------------------------------


def test_limits_are_listed_and_set(queue: JobQueue) -> None:
    limit = Limit("host:{host}", concurrency=2, rate="100/min")
    for host in ("b", "a", "a"):
        queue.submit(Job("fetch", limitedjobs.anything, {"host": host}, limit=limit))
    queue.limit_key("host:a", concurrency=5)
    queue.limit_key("other", rate="1/s")
    assert queue.limits() == [
        _row("host:a", 5, "100/min", ["concurrency"], 2),
        _row("host:b", 2, "100/min", [], 1),
        _row("other", None, "1/s", ["rate"], 0),
    ]
    queue.limit_key("host:a", concurrency=None, rate=None)
    assert queue.limits("host:a") == [_row("host:a", None, None, ["concurrency", "rate"], 2)]
    queue.limit_key("host:a", reset=True)
    assert queue.limits("host:a") == [_row("host:a", 2, "100/min", [], 2)]
    assert queue.limits(limit=1) == queue.limits("host:a")
    assert queue.limits("nobody") == []


def _row(
    key: str, concurrency: int | None, rate: str | None, set_here: list[str], waiting: int
) -> dict[str, Any]:
    return {
        "key": key,
        "concurrency": concurrency,
        "rate": rate,
        "set_here": set_here,
        "running": 0,
        "started": 0,
        "waiting": waiting,
        "backs_off_until": None,
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "limit_key: concurrency, rate or both"),
        ({"concurrency": 0}, "limit_key: concurrency: "),
        ({"rate": "soon"}, "limit_key: rate: "),
        ({"reset": True, "rate": None}, "reset: goes alone"),
        ({"reset": True}, "key: no limit 'api' is known"),
        ({"key": "", "concurrency": 1}, "limit_key: key: "),
        ({"key": "a\x00", "concurrency": 1}, "limit_key: key: "),
    ],
)
def test_a_setting_that_cannot_be_accepted_is_refused(
    queue: JobQueue, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidJob, match=told):
        queue.limit_key(**{"key": "api", **options})
    assert queue.limits() == []
    with pytest.raises(InvalidJob, match="limit: "):
        queue.limits(limit=-1)


def test_a_setting_takes_effect_while_workers_rest(db: str, tmp_path: Path) -> None:
    """The bell tells them; they would not look for half a minute."""
    queue, path = JobQueue(db, durability="normal"), str(tmp_path / "runs")
    queue.limit_key("api", rate="1/day")
    for _ in range(3):
        queue.submit(Job("one", limitedjobs.mark, {"path": path, "key": "x"}, limit=Limit("api", rate="9/s")))
    worker = Worker(queue, polling_interval=30)
    thread = in_a_thread(worker)
    try:
        wait_until(lambda: queue.stats()["completed"] == 1, "the first has run")
        queue.limit_key("api", reset=True)
        wait_until(lambda: queue.stats()["completed"] == 3, "the others have run")
    finally:
        worker.stop()
        thread.join(PATIENCE)


def test_a_job_that_starts_too_late_for_its_rate_goes_back(db: str) -> None:
    """It may have waited in its worker for long: its start would not be where the ledger has it."""
    queue = JobQueue(db, durability="normal")
    job = queue.submit(Job("late", limitedjobs.anything, limit=Limit("api", rate="9/s")))
    worker = Worker(queue)
    claim = worker._claim_job

    def slow_claim() -> Any:
        claimed = claim()
        time.sleep(0.25)
        return claimed

    worker._single._seams = _Seams(worker, slow_claim)
    assert worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["attempts"], record["executions"]) == ("pending", 0, [])
    assert queue.limits("api")[0]["started"] == 0
    worker.close()


class _Seams:
    def __init__(self, worker: Worker, claim: Callable[[], Any]) -> None:
        self._claim_job = claim
        self._complete_job = worker._complete_job
