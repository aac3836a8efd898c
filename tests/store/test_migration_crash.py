"""A migration is one transaction: whoever is killed, fails or races in it leaves the old file or the new one."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jobs
import pytest
import tracer
from clocks import TurnedClock
from legacy import FOLDER, Old, state
from processes import PATIENCE, run_code, start
from stores import Hands, assert_sound

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreBusy, StoreVersion
from gigq.store import migrations, sqlite
from gigq.store.migrations import legacy

FEW = ("family_parent", "family_child", "failed", "running", "loop_first")
"""Jobs of each kind; with all of them there would be a thousand statements to be killed at."""

# Each child kills itself just before the n-th statement; between two of them nobody has the file open.
_KILLED_EVERYWHERE = """
import os, shutil, signal, sqlite3, sys
from contextlib import closing, suppress
import gigq, gigq.store.migrations.legacy
from gigq.store import connections, migrations

source, path = sys.argv[1:]
for suffix in ("", "-wal", "-shm", "-lock"):
    with suppress(FileNotFoundError):
        os.remove(path + suffix)

def ask(file, text):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(text).fetchall()

def state():
    tables = {row[0] for row in ask(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = ask(path, "PRAGMA user_version")[0][0], ask(path, "PRAGMA application_id")[0][0]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    if version == (0, 0):
        assert "jobs" in tables and "job" not in tables, tables
        for table in ("jobs", "job_executions"):
            assert ask(path, f"SELECT * FROM {table}") == ask(source, f"SELECT * FROM {table}")
        return "old"
    assert version == (migrations.NEWEST, 0x47694751) and not [name for name in tables if "gigq_old" in name or name == "jobs"]
    assert ask(path, "SELECT id, status FROM job ORDER BY seq") == ask(source, "SELECT id, status FROM jobs ORDER BY rowid")
    return "new"

def in_a_child(kill_at):
    pid = os.fork()
    if pid == 0:
        count, real = 0, connections.connect
        def strike(statement):
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        def connect(*args, **options):
            connection = real(*args, **options)
            connection.set_trace_callback(strike)
            return connection
        connections.connect = connect
        queue = gigq.JobQueue(path, durability="normal")
        os._exit(7 if queue.stats()["total"] == ask(source, "SELECT count(*) FROM jobs")[0][0] else 8)
    return os.waitpid(pid, 0)[1]

n = 0
while True:
    n += 1
    shutil.copyfile(source, path)
    ended = in_a_child(n)
    if os.WIFEXITED(ended):
        assert os.WEXITSTATUS(ended) == 7
        break
    found = state()
    if n % 7 == 0:
        assert os.WEXITSTATUS(in_a_child(0)) == 7 and state() == "new"
    for suffix in ("-wal", "-shm", "-lock"):
        with suppress(FileNotFoundError):
            os.remove(path + suffix)
    print(found)
"""


@pytest.mark.parametrize(
    ("release", "jobs"),
    [
        ("0.2.1", FEW),
        ("0.5.1", FEW),
        pytest.param("0.1.0", (), marks=pytest.mark.torture),
        pytest.param("0.5.1", (), marks=pytest.mark.torture),
    ],
)
def test_a_kill_at_any_statement_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, release: str, jobs: tuple[str, ...]
) -> None:
    old = Old(release, tmp_path)
    if jobs:
        kept = ", ".join(f"'{old.id(label)}'" for label in jobs)
        old.sql(f"DELETE FROM jobs WHERE id NOT IN ({kept})")
        old.sql(f"DELETE FROM job_executions WHERE job_id NOT IN ({kept})")
    found = run_code(_KILLED_EVERYWHERE, old.path, str(tmp_path / "killed.db"), cwd=tmp_path).split()
    assert found.count("old") > 50
    assert found == sorted(found, reverse=True), "once it is new it stays so"


def test_a_migration_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Old("0.5.1", tmp_path)
    before = old.sql("SELECT * FROM jobs"), old.sql("SELECT * FROM sqlite_master")
    calls = iter(range(40))

    def fail_at_last(*args: object) -> None:
        if next(calls, None) is None:
            raise RuntimeError("the power went out")

    monkeypatch.setattr(legacy, "_take_edges", fail_at_last)
    with pytest.raises(RuntimeError, match="the power went out"):
        JobQueue(old.path)
    close_connections()
    assert (old.sql("SELECT * FROM jobs"), old.sql("SELECT * FROM sqlite_master")) == before
    monkeypatch.undo()
    queue = JobQueue(old.path)
    assert queue.stats()["total"] == len(old.jobs)
    assert_sound(Hands(queue._store, TurnedClock()))


def test_a_migration_waits_for_somebody_who_writes_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Old("0.5.1", tmp_path)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.1)
    with closing(sqlite3.connect(old.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match=r"old\.db: another program has held its write lock"):
            JobQueue(old.path)
        writer.execute("ROLLBACK")
    assert old.sql("SELECT count(*) FROM jobs") == [(len(old.jobs),)]
    assert JobQueue(old.path).stats()["total"] == len(old.jobs)


@pytest.mark.parametrize("release", ["0.2.1", "0.5.1", None])
def test_many_processes_may_migrate_or_create_at_once(tmp_path: Path, release: str | None) -> None:
    old = Old(release, tmp_path) if release else None
    path = old.path if old else str(tmp_path / "new.db")
    code = """
        import sys, jobs
        from gigq import Job, JobQueue
        print("ready", flush=True)
        jobs.wait_for(sys.argv[2])
        queue = JobQueue(sys.argv[1])
        queue.submit(Job("one more", jobs.nothing))
    """
    go = tmp_path / "go"
    others = [start(code, path, str(go), cwd=tmp_path) for _ in range(4)]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    go.touch()
    for other in others:
        _, errors = other.communicate(timeout=PATIENCE)
        assert (other.returncode, errors) == (0, "")
    queue = JobQueue(path)
    assert len([row for row in queue.list_jobs(limit=1000) if row["name"] == "one more"]) == 4
    assert queue.stats()["total"] == 4 + (len(old.jobs) if old else 0)
    assert_sound(Hands(queue._store, TurnedClock()))


# -- newer tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [JobQueue, Worker, lambda path: JobQueue(path, initialize=False).stats()])
def test_a_newer_schema_is_refused_with_both_versions(db: str, opening: type[JobQueue]) -> None:
    JobQueue(db)
    close_connections()
    newer = migrations.NEWEST + 41
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(
        StoreVersion, match=rf"version {newer}, this gigq knows up to {migrations.NEWEST}\. Upgrade"
    ):
        opening(db)
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newer,)


def test_every_migration_has_its_number_and_is_in_the_list() -> None:
    folder = Path(migrations.__file__).parent
    assert sorted(path.name for path in folder.glob("0*.sql")) == list(migrations.NUMBERED)
    numbers = [int(name[:4]) for name in migrations.NUMBERED]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (1, migrations.NEWEST)


def test_a_migration_makes_the_views_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "older.db")
    with monkeypatch.context() as older:
        older.setattr(migrations, "NUMBERED", migrations.NUMBERED[:1])
        older.setattr(migrations, "NEWEST", 1)
        JobQueue(path)
    close_connections()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP VIEW jobs")
        connection.execute("CREATE VIEW jobs AS SELECT id FROM job")
    queue = JobQueue(path)
    job_id = queue.submit(Job("one", jobs.nothing))
    assert queue.get_status(job_id)["name"] == "one"


def test_the_fixtures_are_as_the_old_releases_left_them() -> None:
    for path in FOLDER.glob("*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'jobs'").fetchone()
            assert kind == ("table",), f"{path} was opened, not a copy of it"


# -- a kill at any write -----------------------------------------------------------------------------------------


def migrate(path: Path, folder: Path, orders: tracer.Orders) -> int:
    """Open it in a process that is traced; its exit code."""
    orders.under, orders.names = (
        str(folder.parent),
        [f"{path}{suffix}" for suffix in ("", "-wal", "-journal")],
    )
    code = f"import gigq; gigq.JobQueue({str(path)!r}).close()"
    return subprocess.run([*tracer.command(orders), sys.executable, "-c", code], timeout=PATIENCE).returncode


@tracer.needed()
@pytest.mark.parametrize(
    ("release", "jobs", "every"),
    [
        ("0.5.1", FEW, 17),
        *(pytest.param(release, (), 1, marks=pytest.mark.torture) for release in ("0.1.0", "0.3.0", "0.5.1")),
    ],
)
def test_a_kill_at_any_write_or_sync_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, release: str, jobs: tuple[str, ...], every: int
) -> None:
    old = Old(release, tmp_path)
    if jobs:
        kept = ", ".join(f"'{old.id(label)}'" for label in jobs)
        old.sql(f"DELETE FROM jobs WHERE id NOT IN ({kept})")
    before = old.sql("SELECT * FROM jobs ORDER BY rowid")
    statuses = {row[0]: row[1] for row in old.sql("SELECT id, status FROM jobs ORDER BY rowid")}
    calls = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"]
    found: list[str] = []
    for at in range(1, 10_000, every):
        folder = tmp_path / f"killed-{at}"
        folder.mkdir()
        path = folder / "jobs.db"
        shutil.copyfile(old.path, path)
        code = migrate(path, folder, tracer.Orders("", calls=calls, at=at))
        found.append(state(path, before))
        queue = JobQueue(path)
        hands = Hands(queue._store, TurnedClock())
        assert_sound(hands)
        assert hands.statuses() == statuses
        close_connections()
        if code == 0:
            break
        assert code == -signal.SIGKILL
    print(f"{release}: killed at {len(found) - 1} calls, {found.count('old')} times the old file was left")
    assert found == sorted(found, reverse=True), "once it is new it stays so"
    assert found[0] == "old"
    assert found[-1] == "new"
    assert len(found) > 5
