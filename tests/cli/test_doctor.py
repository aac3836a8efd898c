"""gigq doctor, and the checkup behind it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from terminal import Gigq, MakeJob

from gigq import JobQueue, Worker, checkup
from gigq.checkup import Finding, examine, has_wal_bug

LEGACY = Path(__file__).parents[1] / "fixtures" / "legacy"


def found(db: str, subject: str) -> Finding:
    """The one finding about a subject."""
    (one,) = [finding for finding in examine(db) if finding.subject == subject]
    return one


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 9), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_which_versions_of_sqlite_have_the_wal_reset_bug(version: tuple[int, ...], has_it: bool) -> None:
    assert has_wal_bug(version) is has_it


def test_a_healthy_queue_gets_a_clean_bill(gigq: Gigq, db: str, on_file: JobQueue) -> None:
    answer = gigq("doctor")
    assert (answer.code, answer.err) == (0, "")
    levels = [line.split()[0] for line in answer.out.splitlines() if not line.startswith(" ")]
    assert "bad" not in levels
    for subject in (
        "gigq",
        "Python",
        "SQLite",
        "file system",
        "disk",
        "permissions",
        "tables",
        "workers",
        "jobs",
    ):
        assert any(line[4:].strip().startswith(subject) for line in answer.out.splitlines()), subject


def test_the_doctor_says_the_same_in_json(gigq: Gigq, db: str, on_file: JobQueue) -> None:
    said = json.loads(gigq("doctor", "--json").out)
    assert said["ok"] is True
    assert all(set(finding) == {"level", "subject", "text", "remedy"} for finding in said["findings"])
    assert sqlite3.sqlite_version in next(f["text"] for f in said["findings"] if f["subject"] == "SQLite")


def test_before_the_first_job_there_is_no_file_and_none_is_made(gigq: Gigq, db: str) -> None:
    answer = gigq("doctor")
    assert answer.code == 0
    assert "there is none yet" in answer.out
    assert "gigq submit" in answer.out
    assert not Path(db).exists()


def test_a_missing_folder_is_bad(gigq: Gigq, tmp_path: Path) -> None:
    answer = gigq("doctor", "--db", str(tmp_path / "no" / "jobs.db"))
    assert answer.code == 1
    assert "there is no folder" in answer.out


def test_a_file_that_is_no_database_is_bad_and_stays_as_it_is(gigq: Gigq, db: str) -> None:
    Path(db).write_text("not a database, but long enough to be read as one" * 100)
    answer = gigq("doctor")
    assert answer.code == 1
    assert "is not a SQLite database" in answer.out
    assert Path(db).read_text().startswith("not a database")


def test_an_old_file_is_a_warning_and_is_not_migrated(gigq: Gigq, db: str) -> None:
    shutil.copy(LEGACY / "gigq-0.5.1.db", db)
    before = Path(db).read_bytes()
    assert gigq("doctor").code == 0
    assert found(db, "tables").level == "warn"
    assert "gigq db migrate" in found(db, "tables").remedy
    assert Path(db).read_bytes() == before


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o660, "ok"), (0o644, "warn"), (0o666, "bad")])
def test_who_else_may_read_or_write_the_file(db: str, on_file: JobQueue, mode: int, level: str) -> None:
    Path(db).chmod(mode)
    assert found(db, "permissions").level == level


@pytest.mark.parametrize(
    ("kind", "level"), [("ext4", "ok"), ("nfs4", "bad"), ("cifs", "bad"), ("9p", "ok"), ("tmpfs", "warn")]
)
def test_the_kind_of_file_system_is_judged(
    db: str, monkeypatch: pytest.MonkeyPatch, kind: str, level: str
) -> None:
    monkeypatch.setattr("gigq.store.places.file_system", lambda _: kind)
    assert found(db, "file system").level == level


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(10**12, "ok"), (10**8, "warn"), (10**6, "bad")])
def test_the_free_space_is_judged(db: str, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(10**12, 0, free))
    assert found(db, "disk").level == level


def test_a_large_wal_is_a_warning(db: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job()
    monkeypatch.setattr(checkup, "_WAL_LARGE", 1)
    assert found(db, "WAL").level == "warn"


def test_work_without_a_worker_is_a_warning(db: str, make_job: MakeJob) -> None:
    make_job()
    finding = found(db, "workers")
    assert (finding.level, finding.remedy) == ("warn", "start one: 'gigq worker'")


def test_living_and_dead_workers_are_told_apart(db: str, make_job: MakeJob) -> None:
    make_job()
    worker = Worker(db, worker_id="my-worker")
    worker._claim_job()
    assert found(db, "worker").level == "ok"
    assert found(db, "worker").text.startswith("my-worker (pid ")
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE worker SET boot = 'another boot'")
        connection.commit()
    assert found(db, "worker").level == "warn"
    assert found(db, "worker").text.endswith(" died")
    worker.close()


def test_overdue_runs_are_a_warning(db: str, make_job: MakeJob) -> None:
    make_job(timeout=1)
    worker = Worker(db)
    worker._claim_job()
    assert found(db, "jobs").level == "ok"
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE job SET started_at = started_at - 60000000")
        connection.commit()
    assert found(db, "jobs").level == "warn"
    assert "1 past their timeout" in found(db, "jobs").text
    worker.close()


def test_what_held_jobs_wait_for_is_named(
    gigq: Gigq, db: str, on_file: JobQueue, make_job: MakeJob, work: Callable[[], None]
) -> None:
    make_job()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE job SET function_module = 'module_that_is_not_here'")
        connection.commit()
    assert gigq("worker", "--once").code == 0
    finding = found(db, "held")
    assert finding.level == "warn"
    assert "import module_that_is_not_here: 1 job" in finding.text
    assert "gigq worker" in finding.remedy


def test_what_was_typed_is_not_looked_for_in_a_folder(
    gigq: Gigq, db: str, on_file: JobQueue, make_job: MakeJob
) -> None:
    job_id = make_job()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE job SET function_module = '__main__', script = 'process:elsewhere:4711'")
        connection.commit()
    assert gigq("worker", "--once").code == 0
    finding = found(db, "held")
    assert "has their script, or where they were typed: 1 job" in finding.text
    assert "gigq status" in finding.remedy
    assert "typed into the interpreter of process 4711" in gigq("status", job_id).out
