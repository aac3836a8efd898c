"""gigq db info, check, backup, migrate."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from terminal import Gigq, MakeJob

from gigq import JobQueue, Worker
from gigq.store import migrations

VERSION = f"version {migrations.NEWEST}"

LEGACY = Path(__file__).parents[1] / "fixtures" / "legacy"


def run_sql(db: str, *statements: str) -> None:
    """Do to a queue what nobody may."""
    with closing(sqlite3.connect(db)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def old(db: str) -> str:
    """A file that gigq 0.5.1 made."""
    shutil.copy(LEGACY / "gigq-0.5.1.db", db)
    return db


# -- info --------------------------------------------------------------------------------------------------------


def test_info_says_what_is_in_the_file(
    gigq: Gigq, db: str, make_job: MakeJob, work: Callable[[], None]
) -> None:
    make_job()
    work()
    make_job()
    lines = dict(line.split(": ", 1) for line in gigq("db", "info").out.splitlines())
    assert lines["Database"] == db
    assert lines["Schema"] == VERSION
    assert lines["Journal"] == "wal"
    assert lines["Jobs"] == "2 (1 pending, 1 completed)"
    assert lines["First created"] <= lines["Last created"]
    found = json.loads(gigq("db", "info", "--json").out)
    assert found["path"] == db
    assert found["schema_version"] == migrations.NEWEST
    assert found["size"] > 0
    assert found["jobs"]["total"] == 2
    assert found["workers"] == []


def test_info_of_an_empty_queue(gigq: Gigq, on_file: JobQueue) -> None:
    lines = gigq("db", "info").out.splitlines()
    assert "Jobs: 0" in lines
    assert "First created: -" in lines
    assert "Live workers: 0" in lines


def test_info_counts_living_workers_and_names_dead_ones(gigq: Gigq, db: str, make_job: MakeJob) -> None:
    make_job()
    worker = Worker(db, worker_id="my-worker")
    worker._claim_job()
    out = gigq("db", "info").out
    assert "Live workers: 1" in out
    assert "Worker: my-worker (pid " in out
    assert ", 1 running)" in out
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE worker SET boot = 'another boot'")
        connection.commit()
    out = gigq("db", "info").out
    assert "Live workers: 0" in out
    assert ", 1 running, dead)" in out
    worker.close()


@pytest.mark.parametrize("words", [["info"], ["check"], ["backup", "copy.db"], ["migrate"]])
def test_without_a_file_there_is_nothing_to_look_after(gigq: Gigq, db: str, words: list[str]) -> None:
    answer = gigq("db", *words)
    assert (answer.code, answer.out) == (5, "")
    assert answer.err.startswith(f"Error: {db}: there is no such file.")
    assert "gigq submit" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not Path(db).exists()
    assert not Path("copy.db").exists()


# -- check -------------------------------------------------------------------------------------------------------


def test_a_queue_in_use_is_sound(gigq: Gigq, db: str, make_job: MakeJob, work: Callable[[], None]) -> None:
    failing = make_job("fail", retry_delay=60)
    make_job("nothing", dependencies=[failing])
    parent = make_job()
    make_job(dependencies=[parent])
    work()
    gigq("cancel", failing)
    gigq("requeue", failing)
    gigq("clear")
    make_job()
    assert gigq("db", "check") == (0, f"{db} is sound.\n", "")
    assert json.loads(gigq("db", "check", "--json").out) == {"ok": True, "findings": []}


@pytest.mark.parametrize("name", [path.name for path in sorted(LEGACY.glob("*.db"))])
def test_what_is_taken_over_from_old_releases_is_sound(gigq: Gigq, db: str, name: str) -> None:
    shutil.copy(LEGACY / name, db)
    assert gigq("db", "check") == (0, f"{db} is sound.\n", "")


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (
            "UPDATE counts SET n = n + 1 WHERE status = 'pending'",
            "queue 'default': 3 pending jobs counted, there are 2",
        ),
        (
            "DELETE FROM counts WHERE status = 'completed'",
            "queue 'default': 0 completed jobs counted, there are 1",
        ),
        (
            "UPDATE job SET parents_left = 7 WHERE status = 'pending' AND parents = 1",
            "is noted to wait for 7 parents, it waits for 1",
        ),
        (
            "UPDATE job SET parents_left = 1 WHERE status = 'pending' AND parents = 0",
            "is noted to wait for 1 parents, it waits for 0",
        ),
        ("UPDATE job SET runs = 5 WHERE status = 'completed'", "has 5 runs, its history 1"),
        ("DELETE FROM execution", "has 1 runs, its history 0"),
        ("DELETE FROM params", "has no parameters stored"),
    ],
)
def test_what_contradicts_itself_is_found(
    gigq: Gigq, db: str, make_job: MakeJob, work: Callable[[], None], damage: str, finding: str
) -> None:
    make_job()
    work()
    make_job(dependencies=[make_job()])
    run_sql(db, damage)
    answer = gigq("db", "check")
    assert answer.code == 1
    assert finding in answer.out
    assert answer.err == "Keep a copy before anything else: gigq db backup copy.db\n"
    found = json.loads(gigq("db", "check", "--json").out)
    assert found["ok"] is False
    assert any(finding in line for line in found["findings"])


def test_many_findings_of_a_kind_are_cut(gigq: Gigq, db: str, make_job: MakeJob) -> None:
    for _ in range(30):
        make_job()
    run_sql(db, "DELETE FROM params")
    assert gigq("db", "check").out.splitlines()[-1] == "more such jobs (without_params)"


def test_damage_is_found(gigq: Gigq, db: str, on_file: JobQueue, make_job: MakeJob) -> None:
    for _ in range(200):
        make_job("echo", params={"value": "x" * 500})
    on_file.close()
    run_sql(db, "PRAGMA wal_checkpoint(TRUNCATE)")
    page = 4096
    with Path(db).open("r+b") as file:  # nobody has it open
        last = Path(db).stat().st_size // page
        for number in range(
            last - 20, last - 10
        ):  # of the jobs; without the schema in the first ones nothing opens
            file.seek(page * number)
            file.write(b"\xff" * page)
    answer = gigq("db", "check")
    assert answer.code == 1
    assert "damaged" in answer.out


# -- backup ------------------------------------------------------------------------------------------------------


def test_a_backup_is_a_whole_queue_that_only_its_owner_may_read(
    gigq: Gigq, db: str, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    job_id = make_job("echo", params={"value": "kept"})
    work()
    answer = gigq("db", "backup", "copy.db")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Backed up to copy.db (")
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o600
    copy = JobQueue("copy.db")
    assert copy.get_result(job_id) == "kept"
    copy.close()
    assert gigq("--db", "copy.db", "db", "check").code == 0
    assert {path.name for path in Path().iterdir()} <= {"copy.db", "copy.db-lock"}


def test_a_backup_replaces_a_file_only_when_forced(gigq: Gigq, make_job: MakeJob) -> None:
    job_id = make_job()
    Path("copy.db").write_text("precious")
    answer = gigq("db", "backup", "copy.db")
    assert (answer.code, answer.out) == (1, "")
    assert "copy.db: there is a file already" in answer.err
    assert "--force" in answer.err
    assert Path("copy.db").read_text() == "precious"
    found = json.loads(gigq("db", "backup", "copy.db", "--force", "--json").out)
    assert found == {"path": "copy.db", "size": Path("copy.db").stat().st_size}
    assert JobQueue("copy.db").get_status(job_id)["exists"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-lock", "-journal"])
def test_a_backup_never_goes_over_the_queue_itself(
    gigq: Gigq, db: str, make_job: MakeJob, suffix: str
) -> None:
    job_id = make_job()
    Path("link").symlink_to(f"{db}{suffix}")
    for target in (f"{db}{suffix}", "link"):
        answer = gigq("db", "backup", target, "--force")
        assert answer.code == 1
        assert "belongs to the queue itself" in answer.err
    assert gigq("status", job_id).code == 0


def test_a_backup_into_nowhere_is_refused(gigq: Gigq, make_job: MakeJob) -> None:
    make_job()
    for target in ("no/such/folder/copy.db", "."):
        answer = gigq("db", "backup", target)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("Error: ")
    assert list(Path().iterdir()) == []


def test_an_old_file_is_backed_up_as_it_is(gigq: Gigq, old: str) -> None:
    before = Path(old).read_bytes()
    assert gigq("db", "backup", "copy.db").code == 0
    assert Path(old).read_bytes() == before
    with closing(sqlite3.connect("copy.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] > 0


# -- migrate -----------------------------------------------------------------------------------------------------


def test_migrate_says_from_what_to_what_and_then_that_all_is_new(gigq: Gigq, old: str) -> None:
    said = f"Migrated {old} from tables of gigq 0.5.1 or older to {VERSION}.\n"
    assert gigq("db", "migrate") == (0, said, "")
    assert gigq("db", "migrate") == (0, f"{old} is up to date: {VERSION}.\n", "")
    found = json.loads(gigq("db", "migrate", "--json").out)
    assert found == {"path": old, "from": VERSION, "to": VERSION, "changed": False}


@pytest.mark.parametrize("words", [["list"], ["stats"], ["db", "info"], ["db", "check"], ["clear"]])
def test_every_command_migrates_an_old_file(gigq: Gigq, old: str, words: list[str]) -> None:
    assert gigq(*words).code == 0
    assert gigq("db", "migrate").out == f"{old} is up to date: {VERSION}.\n"


def test_jobs_of_an_old_file_are_listed(gigq: Gigq, old: str) -> None:
    expected = json.loads((LEGACY / "gigq-0.5.1.json").read_text())
    found = json.loads(gigq("list", "--limit", "10000", "--json").out)
    assert {job["name"] for job in found} == set(expected["list_jobs"])


def test_a_newer_file_is_refused(gigq: Gigq, db: str) -> None:
    JobQueue(db).close()
    run_sql(db, "PRAGMA user_version = 99")
    for words in (
        ["list"],
        ["db", "migrate"],
        ["db", "info"],
        ["submit", "jobs.nothing"],
        ["worker", "--once"],
    ):
        answer = gigq(*words)
        assert (answer.code, answer.out) == (5, "")
        assert "version 99" in answer.err
        assert "Traceback" not in answer.err
