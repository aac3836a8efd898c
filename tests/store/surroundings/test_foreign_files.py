"""What is at the path is not a queue, or not a sound one: named, with the remedy, and left as it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import jobs
import processes
import pytest
from processes import wait_until

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreUnusable, StoreVersion

_OPENINGS: list[Callable[[str], object]] = [
    JobQueue,
    Worker,
    lambda path: JobQueue(path, initialize=False).stats(),
    lambda path: JobQueue(path, initialize=False).submit(Job("j", jobs.nothing)),
]


@pytest.mark.parametrize(
    "content",
    [b"dear diary\n", b"x" * 10_000, os.urandom(70_000), b"SQLite format 4\0" + b"\0" * 5000],
    ids=["short", "long", "random", "nearly"],
)
@pytest.mark.parametrize("opening", _OPENINGS, ids=["queue", "worker", "read", "submit"])
def test_what_is_not_a_database_is_left_byte_for_byte_as_it_was(
    tmp_path: Path, content: bytes, opening: Callable[[str], object]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreUnusable) as refused:
        opening(str(path))
    assert str(refused.value).startswith(f"{path}: is not a SQLite database.")
    assert "name another file" in str(refused.value)
    close_connections()
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("opening", _OPENINGS, ids=["queue", "worker", "read", "submit"])
def test_the_database_of_another_application_is_left_as_it_was(
    tmp_path: Path, opening: Callable[[str], object]
) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA application_id = 7; CREATE TABLE mine (a)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"another application \(application_id 7\). Name another file"):
        opening(str(path))
    close_connections()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def damage(path: str, name: str) -> None:
    """Write rubbish over the page in which a table begins."""
    close_connections()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
    with Path(path).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def assert_damaged(path: str, error: pytest.ExceptionInfo[StoreUnusable]) -> None:
    assert str(error.value).startswith(f"{path}: is damaged")
    assert "gigq db check" in str(error.value)
    assert "restore a backup" in str(error.value)


def test_a_corrupt_page_is_named_and_nothing_is_overwritten(db: str) -> None:
    job = JobQueue(db).submit(Job("j", jobs.nothing))
    damage(db, "job")
    before = Path(db).read_bytes()
    queue = JobQueue(db)
    asks: list[Callable[[], object]] = [
        queue.list_jobs,
        lambda: queue.get_status(job),
        lambda: queue.submit(Job("k", jobs.nothing)),
        lambda: queue.cancel(job),
    ]
    for ask in asks:
        with pytest.raises(StoreUnusable) as refused:
            ask()
        assert_damaged(db, refused)
    close_connections()
    assert Path(db).read_bytes() == before
    with pytest.raises(StoreUnusable) as refused:  # it takes its seat first, on a sound page
        Worker(db).process_one()
    assert_damaged(db, refused)
    close_connections()
    assert Path(db).read_bytes().count(b"\xa5" * 4096) == 1


def test_what_lies_on_sound_pages_can_still_be_read(db: str) -> None:
    JobQueue(db).submit(Job("j", jobs.nothing))
    damage(db, "execution")
    assert [job["name"] for job in JobQueue(db).list_jobs()] == ["j"]


def test_a_damaged_schema_is_named(db: str) -> None:
    JobQueue(db).submit(Job("j", jobs.nothing))
    close_connections()
    with Path(db).open("r+b") as file:
        file.seek(100)  # behind the header: the root of sqlite_schema
        file.write(b"\xa5" * 900)
    before = Path(db).read_bytes()
    with pytest.raises(StoreUnusable) as refused:
        JobQueue(db)
    assert_damaged(db, refused)
    close_connections()
    assert Path(db).read_bytes() == before


def test_a_schema_whose_words_are_no_text_is_named(db: str) -> None:
    JobQueue(db).submit(Job("j", jobs.nothing))
    close_connections()
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET name = CAST(x'9f9f' AS TEXT), sql = 'CREATE rubbish' WHERE name = 'job'"
        )
    for opening in _OPENINGS:
        with pytest.raises(StoreUnusable) as refused:
            opening(db)
        assert_damaged(db, refused)


def test_a_truncated_file_is_named(db: str) -> None:
    queue = JobQueue(db)
    queue.submit_many([Job(f"j{n}", jobs.nothing) for n in range(300)])
    damage(db, "counts")  # also folds the WAL into the file
    os.truncate(db, 20_000)
    with pytest.raises(StoreUnusable) as refused:
        JobQueue(db).list_jobs()
    assert_damaged(db, refused)


@pytest.mark.parametrize("version", [(3, 36, 0), (3, 8, 2)])
def test_an_sqlite_older_than_3_37_is_refused_with_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    spelled = ".".join(map(str, version))
    monkeypatch.setattr("gigq.store.connections.sqlite3.sqlite_version_info", version)
    monkeypatch.setattr("gigq.store.connections.sqlite3.sqlite_version", spelled)
    for path in (str(tmp_path / "jobs.db"), ":memory:"):
        with pytest.raises(StoreVersion) as refused:
            JobQueue(path)
        assert "needs SQLite 3.37.0 or newer" in str(refused.value)
        assert f"this Python has {spelled}" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_3_37_will_do(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigq.store.connections.sqlite3.sqlite_version_info", (3, 37, 0))
    assert JobQueue(db).stats()["total"] == 0


def test_a_subclass_with_its_own_connection_is_refused_on_an_old_sqlite_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Own(JobQueue):
        def _get_connection(self) -> sqlite3.Connection:
            return opened

    monkeypatch.setattr("gigq.store.connections.sqlite3.sqlite_version_info", (3, 36, 0))
    for path in (":memory:", tmp_path / "own.db"):
        with contextlib.closing(sqlite3.connect(path)) as opened, pytest.raises(StoreVersion):
            Own(path)


_WORK = """
import sys
from gigq import Worker
Worker(sys.argv[1], grace=0.5).start()
"""


def test_a_worker_under_which_a_page_is_damaged_says_so_and_keeps_what_it_knows(
    db: str, tmp_path: Path
) -> None:
    queue, go = JobQueue(db), tmp_path / "go"
    job = queue.submit(processes.waiting(go))
    working = processes.start(_WORK, db, cwd=tmp_path)
    assert working.stderr is not None
    try:
        wait_until(lambda: processes.begun(go), "the job runs")
        damage(db, "execution")
        go.touch()
        assert working.stderr.readline().startswith(f"gigq: {db}: is damaged")
        later = queue.submit(Job("later", jobs.nothing))  # on sound pages
        assert working.poll() is None
        working.terminate()
        said = working.communicate(timeout=processes.PATIENCE)[1]
    finally:
        working.kill()
    assert working.returncode == 1, said
    assert all(line.startswith(f"gigq: {db}: is damaged") for line in said.splitlines()), said
    with contextlib.closing(sqlite3.connect(db)) as connection:
        found = dict(connection.execute("SELECT id, status FROM job").fetchall())
    assert found == {job: "running", later: "pending"}
    assert Path(f"{go}.waits").read_text() == "begun\n"
