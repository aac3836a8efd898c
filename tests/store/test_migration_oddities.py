"""Whatever an old database holds, it opens: its tables had no types to speak of, and its users their own ideas."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clocks import TurnedClock
from legacy import Old
from stores import Hands, assert_sound

from gigq import JobQueue
from gigq.errors import StoreMissing, StoreUnusable


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old("0.5.1", tmp_path)


def opened(old: Old) -> JobQueue:
    """The queue in it, migrated and sound."""
    queue = JobQueue(old.path, durability="normal")
    assert_sound(Hands(queue._store, TurnedClock()))
    return queue


INF = float("inf")


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("timeout", 2.5, 2.5),
        ("timeout", 0, 300),
        ("timeout", -1, 300),
        ("timeout", -0.5, 300),
        ("timeout", None, 300),
        ("timeout", "60", 60),
        ("timeout", "soon", 300),
        ("timeout", b"\xff", 300),
        ("timeout", INF, None),
        ("timeout", 1e-9, 1e-06),
        ("priority", 1.5, 1),
        ("priority", -1.5, -2),
        ("priority", None, 0),
        ("priority", "high", 0),
        ("priority", 2**63 - 1, 2**63 - 1),
        ("priority", -(2**63), -(2**63)),
        ("max_attempts", 0, 1),
        ("max_attempts", -5, 1),
        ("max_attempts", None, 3),
        ("max_attempts", 2.5, 3),
        ("max_attempts", "many", 3),
        ("retry_delay", 0.25, 0.25),
        ("retry_delay", -3, 0),
        ("retry_delay", None, 0),
        ("attempts", None, 0),
        ("attempts", 1.0, 1),
        ("attempts", -1, 0),
        ("pass_parent_results", "yes", None),
        ("pass_parent_results", 1.0, True),
        ("description", None, None),
        ("description", b"bytes \xff", "bytes �"),
        ("description", 7, "7"),
        ("params", None, {}),
        ("dependencies", None, []),
        ("dependencies", "", []),
        ("dependencies", "not json", []),
        ("dependencies", '{"a": 1}', []),
        ("dependencies", "7", []),
        ("retry_after", "whenever", None),
        ("retry_after", 7, None),
        ("error", b"\xff", "�"),
    ],
)
def test_an_odd_value_becomes_what_it_meant(old: Old, column: str, value: Any, shown: Any) -> None:
    old.change("pending", **{column: value})
    job = opened(old).get_status(old.id("pending"))
    assert job["status"] == "pending"
    assert job[column] == shown
    assert type(job[column]) is type(shown)


@pytest.mark.parametrize("column", ["timeout", "retry_delay", "priority", "max_attempts", "attempts"])
@pytest.mark.parametrize("value", [1e300, -1e300, INF, -INF])
def test_no_number_is_too_large(old: Old, column: str, value: float) -> None:
    old.change("pending", **{column: value})
    assert opened(old).get_status(old.id("pending"))["status"] == "pending"


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2024-13-45", b"\x00", 1.5, "9999-12-31T23:59:59", "0001-01-01"]
)
@pytest.mark.parametrize("label", ["pending", "completed_dict", "running"])
def test_no_time_is_too_odd(old: Old, label: str, value: Any) -> None:
    times = ("created_at", "updated_at", "started_at", "completed_at", "retry_after")
    old.change(label, **dict.fromkeys(times, value))
    old.sql("UPDATE job_executions SET started_at = ? WHERE job_id = ?", value, old.id(label))
    assert opened(old).get_status(old.id(label))["status"] == old.jobs[label]["status"]


@pytest.mark.parametrize(
    "params", ["[1, 2]", "7", "null", "not json", '{"value": "\\ud800"}', '{"v": "\\u0000"}']
)
def test_params_are_taken_as_they_are(old: Old, params: str) -> None:
    """They can only fail when they run, if they do."""
    old.change("pending", params=params)
    queue = opened(old)
    hands = Hands(queue._store, TurnedClock())
    lease = next(lease for lease in hands.claim(500) if lease.id == old.id("pending"))
    assert lease.params == params


def test_text_that_is_no_unicode_is_taken_over(old: Old) -> None:
    old.sql("UPDATE jobs SET error = CAST(x'66ff6f' AS TEXT) WHERE id = ?", old.id("failed"))
    old.sql("UPDATE job_executions SET error = CAST(x'66ff6f' AS TEXT) WHERE job_id = ?", old.id("failed"))
    job = opened(old).get_status(old.id("failed"))
    assert job["error"] == job["executions"][0]["error"] == "f�o"


def test_text_with_a_nul_is_taken_over_whole(old: Old) -> None:
    old.change("pending", name="a\0b", description="c\0d")
    job = opened(old).get_status(old.id("pending"))
    assert (job["name"], job["description"]) == ("a\0b", "c\0d")


def test_a_status_that_never_was_is_a_failure_that_says_so(old: Old) -> None:
    old.change("pending", status="archived")
    job = opened(old).get_status(old.id("pending"))
    assert (job["status"], job["error"]) == ("failed", "its status was 'archived'")


def test_a_job_without_an_id_gets_one(old: Old) -> None:
    old.sql("UPDATE jobs SET id = NULL WHERE id IN (?, ?)", old.id("pending"), old.id("pending_urgent"))
    unnamed = [row["id"] for row in opened(old).list_jobs(limit=1000) if row["id"].startswith("unnamed-")]
    assert len(set(unnamed)) == 2


@pytest.mark.parametrize(
    ("dependencies", "waits"),
    [
        (["self"], True),
        (["pending_urgent", "pending_urgent"], True),
        (["no-such-job"], False),
        (["parent_completed", "no-such-job", "parent_completed"], False),
        ([7, None, 1.5], False),
    ],
)
def test_odd_dependencies_bind_whom_they_bound(old: Old, dependencies: list[Any], waits: bool) -> None:
    ids = {"self": old.id("pending"), "pending_urgent": old.id("pending_urgent")}
    ids["parent_completed"] = old.id("parent_completed")
    old.change("pending", dependencies=json.dumps([ids.get(parent, parent) for parent in dependencies]))
    hands = Hands(opened(old)._store, TurnedClock())
    assert (old.id("pending") not in hands.ready()) == waits
    shown = json.loads(hands.sql("SELECT dependencies FROM jobs WHERE id = ?", old.id("pending"))[0][0])
    assert shown == list(dict.fromkeys(str(ids.get(parent, parent)) for parent in dependencies))


def test_a_loop_waits_for_ever_as_it_did(old: Old) -> None:
    queue = opened(old)
    assert queue.get_status(old.id("loop_first"))["dependencies"] == [old.id("loop_second")]
    assert queue.get_status(old.id("loop_second"))["dependencies"] == [old.id("loop_first")]
    assert queue.cancel(old.id("loop_first")), "but its owner can end it"
    assert queue.get_status(old.id("loop_second"))["status"] == "cancelled"


def test_a_running_job_without_an_execution_has_a_lease_of_its_own(old: Old) -> None:
    old.sql("DELETE FROM job_executions WHERE job_id = ?", old.id("running"))
    job = opened(old).get_status(old.id("running"))
    assert job["status"] == "running"
    assert [run["status"] for run in job["executions"]] == ["running"]


def test_without_the_table_of_executions_there_is_no_history(old: Old) -> None:
    old.sql("DROP TABLE job_executions")
    job = opened(old).get_status(old.id("completed_dict"))
    assert (job["status"], job["executions"]) == ("completed", [])


def test_a_file_of_0_4_that_0_5_opened_has_its_new_columns_at_the_end(tmp_path: Path) -> None:
    old = Old("0.4.0", tmp_path)
    for column in ("pass_parent_results INTEGER", "retry_delay INTEGER DEFAULT 0", "retry_after TEXT"):
        old.sql(f"ALTER TABLE jobs ADD COLUMN {column}")
    old.change("pending", pass_parent_results=0, retry_delay=5)
    job = opened(old).get_status(old.id("pending"))
    assert (job["pass_parent_results"], job["retry_delay"], job["retry_after"]) == (False, 5, None)
    assert opened(old).get_status(old.id("pending_patient"))["pass_parent_results"] is None


# -- others in the same file -------------------------------------------------------------------------------------


def test_tables_views_and_indexes_of_the_user_stay(old: Old) -> None:
    for statement in (
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO customers VALUES (1, 'Ada')",
        "CREATE VIEW late AS SELECT id, name FROM jobs WHERE status = 'failed'",
        "CREATE INDEX mine ON jobs (name)",
        "CREATE TRIGGER seen AFTER UPDATE ON jobs BEGIN DELETE FROM customers; END",
    ):
        old.sql(statement)
    queue = opened(old)
    queue.close()
    assert old.sql("SELECT * FROM customers") == [(1, "Ada")]
    failed = [job["id"] for job in old.jobs.values() if job["status"] == "failed"]
    assert sorted(row[0] for row in old.sql("SELECT id FROM late")) == sorted(failed)


def test_a_table_of_the_user_that_references_the_jobs_stays(old: Old) -> None:
    old.sql("CREATE TABLE notes (job TEXT REFERENCES jobs (id), note TEXT)")
    old.sql("INSERT INTO notes VALUES (?, 'mine')", old.id("pending"))
    opened(old).close()
    assert old.sql("SELECT note FROM notes JOIN jobs ON jobs.id = notes.job") == [("mine",)]


@pytest.mark.parametrize("name", ["job", "params", "execution", "worker", "counts"])
def test_a_table_of_the_user_with_a_name_of_ours_is_named_and_nothing_is_changed(old: Old, name: str) -> None:
    old.sql(f"CREATE TABLE {name} (theirs)")
    with pytest.raises(StoreUnusable, match=f"{old.path}: .*table '?{name}'? .*another application"):
        JobQueue(old.path)
    assert old.sql("SELECT count(*) FROM jobs") == [(len(old.jobs),)]
    assert old.sql("SELECT type FROM sqlite_master WHERE name = 'jobs'") == [("table",)]


def test_a_new_queue_lives_beside_the_tables_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE customers (id); INSERT INTO customers VALUES (1)")
    queue = JobQueue(path)
    assert queue.stats()["total"] == 0
    queue.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM customers").fetchall() == [(1,)]


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_a_file_that_another_application_numbers_is_refused(tmp_path: Path, pragma: str) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"CREATE TABLE customers (id); PRAGMA {pragma} = 7")
    with pytest.raises(StoreUnusable, match=rf"app\.db: .*another application \({pragma} 7\)"):
        JobQueue(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (7,)


def test_a_table_called_jobs_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (id, title, salary)")
    with pytest.raises(StoreUnusable, match=r"app\.db: .*'jobs'.*another application"):
        JobQueue(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("jobs",)]


# -- who may not migrate -----------------------------------------------------------------------------------------


def test_initialize_false_does_not_migrate(old: Old) -> None:
    queue = JobQueue(old.path, initialize=False)
    before = old.sql("SELECT * FROM jobs")
    for call in (queue.stats, queue.list_jobs, lambda: queue.get_status("x"), lambda: queue.cancel("x")):
        with pytest.raises(StoreMissing, match=r"old\.db: holds a queue of an older gigq.*initialize=False"):
            call()
    queue.close()
    assert old.sql("SELECT * FROM jobs") == before
    assert opened(old).stats()["total"] == len(old.jobs)
    assert queue.stats()["total"] == len(old.jobs), "once somebody else has migrated it"
