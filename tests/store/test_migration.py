"""Databases of gigq 0.1 to 0.5.1 open, are migrated in place, and go on working."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import TurnedClock
from legacy import AFTERWARDS, FOLDER, RELEASES, ROWS, ZONE, Old, microseconds, utc
from stores import Hands, assert_sound

from gigq import JobQueue, Worker
from gigq.clock import SECOND, SYSTEM, Clock
from gigq.worker.chores.rescue import Rescue

MakeWorker = Callable[..., Worker]


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The times in those files are naive, and local to this zone."""
    monkeypatch.setenv("TZ", ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=RELEASES)
def every(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    """A database of every release."""
    return Old(request.param, tmp_path)


@pytest.fixture
def old(tmp_path: Path) -> Old:
    """A database of the last old release."""
    return Old("0.5.1", tmp_path)


def opened(old: Old, clock: Clock = SYSTEM) -> JobQueue:
    """The queue in it, migrated; a test waits for no disk."""
    return JobQueue(old.path, durability="normal", clock=clock)


# -- nothing is lost, and nothing changes its state -------------------------------------------------------------

# What those releases took unseen, and meant so:
MEANT: dict[str, dict[str, Any]] = {
    "pending_between": {"priority": 1},
    "pending_timeout_zero": {"timeout": 300},
    "pending_timeout_none": {"timeout": 300},
    "pending_timeout_negative": {"timeout": 300},
    "pending_attempts_zero": {"max_attempts": 1},
    "pending_nulls": {"priority": 0, "max_attempts": 3, "timeout": 300},
}


def shown_now(label: str, said: dict[str, Any]) -> dict[str, Any]:
    """What is to be shown of a job of which an old release said that."""
    job = {key: value for key, value in said.items() if key not in ("exists", "executions")}
    ended = job["status"] not in ("pending", "running")
    job |= {"created_at": utc(job["created_at"]), "updated_at": utc(job["updated_at"])}
    job |= {"started_at": utc(job["started_at"]), "dependencies": list(dict.fromkeys(job["dependencies"]))}
    # They left it out for what was cancelled or timed out, and kept it for what was requeued.
    job["completed_at"] = (utc(job["completed_at"]) or job["updated_at"]) if ended else None
    if "retry_after" in job:
        job["retry_after"] = utc(job["retry_after"]) if job["status"] == "pending" else None
    return job | MEANT.get(label, {})


def runs_now(said: dict[str, Any]) -> list[dict[str, Any]]:
    runs = []
    for run in said["executions"]:
        overtaken = run["status"] == "running" and said["status"] != "running"
        times = {key: utc(run[key]) for key in ("started_at", "completed_at")}
        runs.append(run | times | ({"status": "superseded"} if overtaken else {}))
    return runs


def test_every_job_is_as_the_old_release_showed_it(every: Old) -> None:
    queue = opened(every)
    for label, said in every.jobs.items():
        status = queue.get_status(said["id"])
        found = {key: status[key] for key in said if key not in ("exists", "executions")}
        # As text, because NaN differs from itself.
        assert repr(sorted(found.items())) == repr(sorted(shown_now(label, said).items())), label


def test_every_execution_is_kept(every: Old) -> None:
    queue = opened(every)
    for label, said in every.jobs.items():
        found = queue.get_status(said["id"])["executions"]
        kept = [{key: run[key] for key in run if key not in ("run", "output")} for run in found]
        assert repr([sorted(run.items()) for run in kept]) == repr(
            [sorted(run.items()) for run in runs_now(said)]
        ), label
        assert [run["run"] for run in found] == list(range(1, len(found) + 1))


def test_the_counts_and_everything_else_are_sound(every: Old, clock: TurnedClock) -> None:
    queue = opened(every)
    statuses = [job["status"] for job in every.jobs.values()]
    stats = queue.stats()
    assert stats == {status: statuses.count(status) for status in stats} | {"total": len(statuses)}
    assert every.stats in (None, stats)
    assert_sound(Hands(queue._store, clock))


def test_what_had_been_removed_stays_so(every: Old) -> None:
    queue = opened(every)
    assert every.removed
    for job_id in every.removed:
        assert queue.get_status(job_id) == {"exists": False}


def test_results_are_read_with_the_token_nan(every: Old) -> None:
    result = opened(every).get_result(every.id("completed_nan"))
    assert repr(result) == "{'mean': nan, 'max': inf}"


def test_lists_are_newest_first_by_submission(every: Old) -> None:
    queue = opened(every)
    assert [row["name"] for row in queue.list_jobs(limit=1000)] == list(reversed(every.jobs))
    assert {row["name"] for row in queue.list_jobs("failed")} == {
        label for label, job in every.jobs.items() if job["status"] == "failed"
    }


def test_the_old_tables_are_gone_and_the_file_is_ours(every: Old) -> None:
    queue = opened(every)
    queue.close()
    kinds = dict(
        every.sql("SELECT name, type FROM sqlite_master WHERE name LIKE '%job%' OR name LIKE '%old%'")
    )
    assert kinds["jobs"] == kinds["job_executions"] == "view"
    assert not [name for name in kinds if "gigq_old" in name or name.startswith("idx_")]
    assert every.sql("PRAGMA journal_mode") == [("wal",)]
    assert every.sql("PRAGMA integrity_check") == [("ok",)]


def test_opening_once_more_changes_nothing(old: Old) -> None:
    opened(old).close()
    before = old.sql("SELECT * FROM jobs") + old.sql("PRAGMA schema_version")
    opened(old).close()
    assert old.sql("SELECT * FROM jobs") + old.sql("PRAGMA schema_version") == before


# -- and it goes on working --------------------------------------------------------------------------------------


def test_what_was_pending_runs_and_what_was_waiting_waits(
    every: Old, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    queue = opened(every)
    worker = make_worker(queue)
    while worker.process_one():
        pass
    afterwards: dict[str, tuple[str, Any]] = AFTERWARDS | {
        "child_with_own_parent_results": (
            "completed",
            {"parent_results": {every.id("parent_completed"): ROWS}},
        ),
        "child_passed_true": ("completed", {"parent_results": {every.id("parent_completed"): ROWS}}),
        "pending_all_kinds": ("completed", every.jobs["pending_all_kinds"]["params"]["value"]),
        "pending_numbers": ("completed", ascii(every.jobs["pending_numbers"]["params"]["value"])),
    }
    for label, job in every.jobs.items():
        status = queue.get_status(job["id"])
        if job["status"] in ("pending", "running"):
            assert (status["status"], status["result"]) == afterwards[label], label
        else:
            assert status["status"] == job["status"], label
    assert_sound(Hands(queue._store, TurnedClock()))


def test_the_claim_order_is_priority_then_submission(
    old: Old, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, clock: TurnedClock
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    hands = Hands(opened(old, clock=clock)._store, clock)
    hands.exchange([])  # promotes what is due
    order = hands.ready()
    names = {job["id"]: label for label, job in old.jobs.items()}
    ready = [names[job_id] for job_id in order]
    assert ready[0] == "pending_urgent"
    assert ready[-1] == "pending_patient"
    assert ready[-2] == "pending_built_early", "built first, but submitted last"
    assert ready.index("pending_between") > ready.index("pending_task"), "1.5 is below 2"
    assert ready.index("pending_between") < ready.index("pending"), "and above 0"


# -- runs that were under way ------------------------------------------------------------------------------------


def at(moment: int) -> TurnedClock:
    return TurnedClock(moment)


@pytest.mark.parametrize("label", ["running", "running_last_attempt"])
def test_a_running_job_is_rescued_when_its_timeout_since_its_start_is_over(old: Old, label: str) -> None:
    job = old.jobs[label]
    clock = at(microseconds(job["started_at"]) + (job["timeout"] - 1) * SECOND)
    queue = opened(old, clock=clock)
    rescue = Rescue(queue._store, clock)
    assert job["id"] not in [one.lease.id for one in rescue.overdue(None, grace=0)]
    assert queue.get_status(job["id"])["status"] == "running", "its worker may still live"
    clock.turn(1.5)
    assert job["id"] in [one.lease.id for one in rescue.overdue(None, grace=0)]
    after = queue.get_status(job["id"])
    assert after["status"] == ("timeout" if label == "running_last_attempt" else "pending")
    assert after["attempts"] == 1
    [run] = after["executions"]
    [before] = job["executions"]
    assert (run["id"], run["worker_id"], run["status"]) == (before["id"], before["worker_id"], "timeout")


def test_a_worker_beside_gives_it_ten_seconds_more(old: Old) -> None:
    job = old.jobs["running"]
    clock = at(microseconds(job["started_at"]) + 309 * SECOND)
    rescue = Rescue(opened(old, clock=clock)._store, clock)
    assert job["id"] not in [one.lease.id for one in rescue.overdue(7)]
    clock.turn(2)
    assert job["id"] in [one.lease.id for one in rescue.overdue(7)]


def test_a_running_job_with_a_century_left_is_not_touched(old: Old, make_worker: MakeWorker) -> None:
    queue = opened(old)
    assert make_worker(queue)._check_for_timeouts() == 2
    shown = queue.get_status(old.id("running_for_long"))
    assert (shown["status"], shown["attempts"]) == ("running", 1)
    assert shown["worker_id"] == old.jobs["running_for_long"]["worker_id"]


# -- waiting ----------------------------------------------------------------------------------------------------


def test_retry_after_keeps_its_moment(old: Old) -> None:
    said = old.jobs["retry_waiting"]
    moment = microseconds(said["retry_after"])
    clock = at(moment - SECOND)
    hands = Hands(opened(old, clock=clock)._store, clock)
    hands.exchange([])
    assert said["id"] not in hands.ready()
    clock.turn(1)
    hands.exchange([])
    assert said["id"] in hands.ready()


def test_a_child_of_what_ended_badly_waits_until_the_parent_starts_anew(
    old: Old, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    queue = opened(old)
    for child in ("child_of_failed", "child_of_timed_out", "child_of_cancelled"):
        assert queue.get_status(old.id(child))["on_parent_failure"] == "wait"
    assert queue.get_status(old.id("child_of_completed"))["on_parent_failure"] == "cancel"
    assert queue.requeue_job(old.id("parent_timed_out"))
    worker = make_worker(queue)
    while worker.process_one():
        pass
    assert queue.get_status(old.id("child_of_timed_out"))["status"] == "completed"
    assert queue.get_status(old.id("child_of_failed"))["status"] == "pending"


def test_a_job_that_ended_badly_can_be_requeued_and_cleared_like_any_other(old: Old) -> None:
    queue = opened(old)
    assert queue.requeue_job(old.id("failed"))
    assert queue.get_status(old.id("failed"))["attempts"] == 0
    cleared = queue.clear_completed()
    assert cleared > 10
    assert queue.get_status(old.id("parent_completed"))["exists"], "its children have not run yet"
    assert_sound(Hands(queue._store, TurnedClock()))
