"""The views ``jobs`` and ``job_executions``: the shape in which gigq 0.5.1 had its tables, to be read by anybody."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq.clock import SECOND, to_iso
from gigq.queues import EVERYTHING
from gigq.status import End
from gigq.store.claiming import Claim

JOBS_OF_051 = [
    "id",
    "name",
    "function_name",
    "function_module",
    "params",
    "priority",
    "dependencies",
    "max_attempts",
    "timeout",
    "description",
    "status",
    "created_at",
    "updated_at",
    "attempts",
    "result",
    "error",
    "started_at",
    "completed_at",
    "worker_id",
    "pass_parent_results",
    "retry_delay",
    "retry_after",
]
EXECUTIONS_OF_051 = ["id", "job_id", "worker_id", "status", "started_at", "completed_at", "result", "error"]
ENDS: tuple[End, ...] = ("raised", "stopped", "died", "unstarted")


class _Who:
    worker_id = "worker-one"
    serving = EVERYTHING
    pid = 1
    birth: str | None = None
    host = "here"
    boot = "now"


def record(hands: Hands, job_id: str) -> dict[str, Any]:
    found = hands.store.record(job_id)
    assert found is not None
    return found[0]


def executions(hands: Hands, job_id: str) -> list[dict[str, Any]]:
    found = hands.store.record(job_id)
    assert found is not None
    return found[1]


def columns(hands: Hands, view: str) -> list[str]:
    return [row[1] for row in hands.sql(f"PRAGMA table_info({view})")]


def test_the_columns_of_the_old_tables_come_first_and_in_their_order(hands: Hands) -> None:
    assert columns(hands, "jobs")[: len(JOBS_OF_051)] == JOBS_OF_051
    assert columns(hands, "job_executions")[: len(EXECUTIONS_OF_051)] == EXECUTIONS_OF_051


def test_the_columns_are_as_the_old_database_had_them() -> None:
    path = Path(__file__).parent.parent / "fixtures" / "legacy" / "gigq-0.5.1-empty.db"
    old = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    for table, names in (("jobs", JOBS_OF_051), ("job_executions", EXECUTIONS_OF_051)):
        assert [row[1] for row in old.execute(f"PRAGMA table_info({table})")] == names
    old.close()


def test_a_pending_job_is_shown_as_it_was_declared(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a", "b", new_job("child", ["b", "a"], priority=3, max_attempts=5, retry_delay=2.5))
    shown = record(hands, "child")
    assert (shown["id"], shown["name"], shown["status"]) == ("child", "child", "pending")
    assert (shown["function_module"], shown["function_name"], shown["params"]) == ("jobs", "nothing", "{}")
    assert (shown["priority"], shown["max_attempts"], shown["attempts"]) == (3, 5, 0)
    assert (shown["timeout"], shown["retry_delay"]) == (300, 2.5)
    assert isinstance(shown["timeout"], int), "a whole number of seconds is shown as one"
    assert shown["dependencies"] == '["b","a"]'
    assert record(hands, "a")["dependencies"] == "[]"
    assert shown["updated_at"] == to_iso(clock.now())
    for field in ("result", "error", "started_at", "completed_at", "worker_id", "retry_after"):
        assert shown[field] is None


@pytest.mark.parametrize("microseconds", [0, 1, 999_999, 1_750_000_000_000_001, 4_102_444_800_500_000])
def test_times_are_utc_with_an_offset_to_the_microsecond(hands: Hands, microseconds: int) -> None:
    job = new_job("a")
    job.created_at = microseconds
    hands.submit(job)
    shown = record(hands, "a")["created_at"]
    assert shown == to_iso(microseconds)
    assert datetime.fromisoformat(shown).utcoffset() is not None


def test_attempts_include_the_run_under_way_less_what_was_given_back(hands: Hands) -> None:
    hands.submit("a")
    shown = []
    for end in ENDS:
        lease = hands.claim_one("a")
        shown.append(record(hands, "a")["attempts"])
        hands.settle(lease, end)
    assert shown == [1, 2, 2, 2]
    assert record(hands, "a")["attempts"] == 1


def test_a_running_job_is_shown_with_its_worker_and_the_run_under_way(
    hands: Hands, clock: TurnedClock
) -> None:
    seat = hands.store.register(_Who(), clock.now())
    hands.submit("a")
    hands.settle(hands.claim_one("a"), "raised", error="ValueError: one")
    clock.turn(1)
    [lease] = hands.store.exchange([], Claim(seat.number, 1), clock.now()).claimed
    shown = record(hands, "a")
    assert (shown["worker_id"], shown["started_at"]) == ("worker-one", to_iso(clock.now()))
    first, second = executions(hands, "a")
    assert (first["status"], first["error"], first["run"]) == ("failed", "ValueError: one", 1)
    assert second == {
        "id": lease.lease,
        "job_id": "a",
        "worker_id": "worker-one",
        "status": "running",
        "started_at": to_iso(clock.now()),
        "completed_at": None,
        "result": None,
        "error": None,
        "run": 2,
    }
    hands.settle(lease, result="5")
    shown = record(hands, "a")
    assert (shown["worker_id"], shown["result"]) == (None, "5"), "only while it runs"
    last = executions(hands, "a")[1]
    assert (last["id"], last["status"], last["worker_id"]) == (lease.lease, "completed", "worker-one")
    assert (last["result"], last["completed_at"]) == ("5", to_iso(clock.now()))
    seat.life.close()


def test_the_result_is_shown_at_the_run_that_returned_it_and_no_other(hands: Hands) -> None:
    hands.submit("a")
    hands.run("a", "raised")
    hands.run("a", result="1")
    assert [run["result"] for run in executions(hands, "a")] == [None, "1"]


def test_a_waiting_retry_shows_its_moment(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", retry_delay=60))
    hands.run("a", "raised")
    assert record(hands, "a")["retry_after"] == to_iso(clock.now() + 60 * SECOND)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET status = 'completed'",
        "DELETE FROM jobs",
        "INSERT INTO jobs (id, name) VALUES ('b', 'b')",
        "UPDATE job_executions SET status = 'completed'",
        "INSERT INTO job_executions (id) VALUES ('x')",
        "CREATE INDEX idx_jobs_status ON jobs (status)",
        "ALTER TABLE jobs ADD COLUMN mine TEXT",
    ],
)
def test_the_views_cannot_be_written(hands: Hands, statement: str) -> None:
    hands.submit("a")
    with pytest.raises(sqlite3.OperationalError, match=r"view|not a table"):
        hands.store.engine.connection().execute(statement)
    assert hands.statuses() == {"a": "pending"}


def test_lists_are_newest_first_and_as_long_as_asked_for(hands: Hands) -> None:
    hands.submit(*"abcde")
    hands.run("a")
    hands.run("b")
    assert [row["id"] for row in hands.listed(None, 3)] == ["e", "d", "c"]
    assert [row["id"] for row in hands.listed("pending", 2)] == ["e", "d"]
    assert [row["id"] for row in hands.listed("completed", 9)] == ["b", "a"]
    assert hands.listed("failed", 9) == []
    assert hands.listed(None, 0) == []


def test_ids_are_found_by_their_beginning_or_their_end(hands: Hands) -> None:
    hands.submit("abc-1", "abd-2", "xyz-1")
    assert hands.store.matching_ids("ab", 9) == ["abc-1", "abd-2"]
    assert hands.store.matching_ids("ab", 1) == ["abc-1"]
    assert sorted(hands.store.matching_ids("-1", 9)) == ["abc-1", "xyz-1"]
    assert hands.store.matching_ids("nothing", 9) == []


def test_beginnings_and_ends_count_together(hands: Hands) -> None:
    hands.submit("abc-1", "xyz-abc", "abc-2-abc", "other")
    assert hands.store.matching_ids("abc", 9) == ["abc-1", "abc-2-abc", "xyz-abc"]
    assert hands.store.matching_ids("abc", 2) == ["abc-1", "abc-2-abc"]
    assert hands.store.matching_ids("xyz", 9) == ["xyz-abc"]
    assert hands.store.matching_ids("2-abc", 9) == ["abc-2-abc"]


def test_a_whole_id_is_found_alone(hands: Hands) -> None:
    hands.submit("1", "11", "21", "12")
    assert hands.store.matching_ids("1", 9) == ["1"]
    assert hands.store.matching_ids("1", 1) == ["1"]


def test_any_character_may_follow_a_beginning(hands: Hands) -> None:
    hands.submit("job-~1", "job-é", "job-\U0001f600", "jobs")
    assert sorted(hands.store.matching_ids("job-", 9)) == ["job-~1", "job-é", "job-\U0001f600"]


def test_an_unknown_job_has_no_record_and_no_result(hands: Hands) -> None:
    assert hands.store.record("a") is None
    assert hands.store.result("a") is None


@pytest.mark.parametrize("kind", ["file", "migrated"])
def test_an_application_reads_the_views_on_a_connection_of_its_own(hands: Hands) -> None:
    hands.submit("a", "b")
    hands.run("a", result='{"rows": 3}')
    reader = sqlite3.connect(hands.store.engine.name)
    rows = reader.execute("SELECT name, status, result FROM jobs ORDER BY created_at, id").fetchall()
    assert rows == [("a", "completed", '{"rows": 3}'), ("b", "pending", None)]
    assert reader.execute("SELECT count(*) FROM job_executions WHERE status = 'completed'").fetchone() == (1,)
    reader.close()
