"""Database or sidecar replaced, renamed or deleted while in use: nothing acknowledged goes to the orphan."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from processes import PATIENCE, wait_until

from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreMissing, StoreReplaced
from gigq.store.sqlite import Sqlite


def rename(path: Path) -> None:
    path.rename(path.with_name(f"moved-{path.name}"))


def replace(path: Path) -> None:
    copy = path.with_name(f"copy-{path.name}")
    shutil.copy(path, copy)
    rename(path)
    copy.rename(path)


HARMS: list[Callable[[Path], None]] = [Path.unlink, rename, replace]
FILES = ["jobs.db", "jobs.db-lock"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A queue whose tables are in the file, not in the WAL."""
    JobQueue(tmp_path / "jobs.db")
    close_connections()
    return tmp_path / "jobs.db"


def names_in(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM job ORDER BY seq")]


class Working:
    """A worker in a thread, and how it ended."""

    def __init__(self, path: Path) -> None:
        self.worker = Worker(path, polling_interval=0.1)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        try:
            self.worker.start()
        except BaseException as error:
            self.error = error

    def end(self) -> BaseException | None:
        """The error with which it ended by itself."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.error


@pytest.mark.usefixtures("frequent_upkeep")
@pytest.mark.parametrize("harm", HARMS, ids=["deleted", "renamed", "replaced"])
@pytest.mark.parametrize("file", FILES)
def test_an_idle_worker_stops_with_a_message(path: Path, file: str, harm: Callable[[Path], None]) -> None:
    queue = JobQueue(path)
    job = queue.submit(Job("j", jobs.nothing))
    working = Working(path)
    wait_until(lambda: queue.get_status(job)["status"] == "completed", "the worker works")
    harm(path.with_name(file))
    error = working.end()
    assert isinstance(error, StoreReplaced)
    assert str(error).startswith(f"{path}: the database or its sidecar was replaced, renamed or deleted")


@pytest.mark.parametrize("harm", HARMS, ids=["deleted", "renamed", "replaced"])
def test_a_worker_with_a_running_job_stops_and_stores_nothing_in_the_orphan(
    path: Path, harm: Callable[[Path], None]
) -> None:
    go = path.with_name("go")
    queue = JobQueue(path)
    job = queue.submit(Job("j", jobs.wait_for, params={"path": str(go)}))
    working = Working(path)
    wait_until(lambda: queue.get_status(job)["status"] == "running", "the job runs")
    look = sqlite3.connect(path)  # stays on the old file, whatever is at the path
    with contextlib.closing(look):
        look.execute("SELECT count(*) FROM job").fetchall()
        harm(path)
        go.touch()
        assert isinstance(working.end(), StoreReplaced)
        assert look.execute("SELECT status FROM job").fetchall() == [("running",)]


def test_the_job_of_a_stopped_worker_is_rescued_when_the_file_comes_back(path: Path) -> None:
    go = path.with_name("go")
    queue = JobQueue(path)
    job = queue.submit(Job("j", jobs.wait_for, params={"path": str(go)}))
    working = Working(path)
    wait_until(lambda: queue.get_status(job)["status"] == "running", "the job runs")
    moved = path.with_name("moved.db")
    path.rename(moved)
    go.touch()
    assert isinstance(working.end(), StoreReplaced)
    moved.rename(path)
    worker = Worker(path)
    wait_until(worker.process_one, "the job runs again")
    worker.close()
    assert JobQueue(path).get_status(job)["status"] == "completed"


@pytest.mark.parametrize("harm", HARMS, ids=["deleted", "renamed", "replaced"])
@pytest.mark.parametrize("file", FILES)
def test_a_submit_is_refused_and_the_next_call_uses_what_is_at_the_path(
    path: Path, file: str, harm: Callable[[Path], None]
) -> None:
    queue = JobQueue(path)
    queue.submit(Job("before", jobs.nothing))
    harm(path.with_name(file))
    with pytest.raises(StoreReplaced) as refused:
        queue.submit(Job("between", jobs.nothing))
    assert str(refused.value).startswith(f"{path}: the database or its sidecar was replaced")
    assert "Nothing was stored" in str(refused.value)
    assert "open the queue anew" in str(refused.value)
    after = queue.submit(Job("after", jobs.nothing))
    assert JobQueue(path).get_status(after)["exists"]
    close_connections()
    orphan = path.with_name("moved-jobs.db")
    if orphan.exists():
        assert set(names_in(orphan)) <= {"before"}
    if file == "jobs.db":
        assert "between" not in names_in(path)
    else:
        assert names_in(path) == ["before", "after"]


def test_without_initialize_the_next_call_creates_nothing_in_the_place_of_a_moved_file(path: Path) -> None:
    queue = JobQueue(path, initialize=False)
    queue.submit(Job("before", jobs.nothing))
    rename(path)
    with pytest.raises(StoreReplaced):
        queue.submit(Job("between", jobs.nothing))
    with pytest.raises(StoreMissing):
        queue.submit(Job("after", jobs.nothing))
    assert not path.exists()


def test_a_read_of_a_moved_file_says_so(path: Path) -> None:
    queue = JobQueue(path)
    queue.submit(Job("before", jobs.nothing))
    rename(path)
    with pytest.raises(StoreReplaced):
        queue.stats()


def test_a_file_that_was_put_back_is_gone_on_with(path: Path) -> None:
    queue = JobQueue(path)
    queue.submit(Job("before", jobs.nothing))
    moved = path.with_name("moved.db")
    path.rename(moved)
    with pytest.raises(StoreReplaced):
        queue.submit(Job("between", jobs.nothing))
    moved.rename(path)
    queue.submit(Job("after", jobs.nothing))
    assert [job["name"] for job in queue.list_jobs()] == ["after", "before"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_moves_away_during_the_commit_is_not_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    queue = JobQueue(path)
    real = Sqlite.commit

    def commit(self: Sqlite, connection: sqlite3.Connection, **how: bool) -> None:
        if moment == "before":
            rename(path)
        real(self, connection, **how)
        if moment == "after":
            rename(path)

    monkeypatch.setattr(Sqlite, "commit", commit)
    with pytest.raises(StoreReplaced):
        queue.submit(Job("j", jobs.nothing))


@pytest.mark.parametrize("file", FILES)
def test_what_moves_away_within_a_transaction_is_not_acknowledged(path: Path, file: str) -> None:
    queue = JobQueue(path)
    job = queue.submit(Job("j", jobs.nothing))

    def write() -> None:
        with queue._store.engine.writing() as connection:
            connection.execute("UPDATE job SET priority = 5")
            rename(path.with_name(file))

    with pytest.raises(StoreReplaced):
        write()
    if file == "jobs.db-lock":  # whoever opens a new one has the turn too
        assert JobQueue(path).get_status(job)["priority"] == 0


def test_what_was_stored_while_the_sidecar_moved_away_is_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(path)
    real = Sqlite.commit

    def commit(self: Sqlite, connection: sqlite3.Connection, **how: bool) -> None:
        real(self, connection, **how)
        rename(path.with_name("jobs.db-lock"))

    with monkeypatch.context() as patched:
        patched.setattr(Sqlite, "commit", commit)
        queue.submit(Job("j", jobs.nothing))
    with pytest.raises(StoreReplaced):
        queue.submit(Job("refused", jobs.nothing))
    queue.submit(Job("after", jobs.nothing))
    assert [job["name"] for job in queue.list_jobs()] == ["after", "j"]
