"""Connections to databases of which no queue is left: a few are kept, the oldest are closed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from processes import PATIENCE

from gigq import Job, JobQueue, close_connections
from gigq.store import connections

KEPT = connections._KEPT_IDLE
MANY = 2 * KEPT + 4


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [str(tmp_path / f"{n}.db") for n in range(MANY)]


def use(path: str) -> None:
    JobQueue(path).submit(Job("one", jobs.nothing))


def opened() -> set[str]:
    """The databases that this thread is connected to."""
    return {Path(path).name for path, *_ in connections._mine.connections}


def test_queues_that_are_dropped_leave_a_few_connections_behind(paths: list[str]) -> None:
    for path in paths:
        use(path)
    assert opened() == {
        f"{n}.db" for n in range(MANY - KEPT - 1, MANY)
    }  # the one being opened comes to those kept


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nobody tells which files are open")
def test_their_descriptors_are_given_back(paths: list[str]) -> None:
    for path in paths:
        use(path)
    here = Path(paths[0]).parent
    open_files = {fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    assert len([file for file in open_files if file.parent == here and file.suffix == ".db"]) == KEPT + 1


def test_what_a_queue_still_uses_stays_open(paths: list[str]) -> None:
    queues = [JobQueue(path) for path in paths[: MANY // 2]]
    connections = [queue._store.engine.connection() for queue in queues]
    for path in paths[MANY // 2 :]:
        use(path)
    assert [queue._store.engine.connection() for queue in queues] == connections
    assert {f"{n}.db" for n in range(MANY // 2)} <= opened()
    for queue in queues:
        assert queue.stats()["total"] == 0


def test_by_whatever_path_it_is_reached(paths: list[str], tmp_path: Path) -> None:
    class Own(JobQueue):
        def _get_connection(self) -> sqlite3.Connection:
            return super()._get_connection()

    link = tmp_path / "link.db"
    use(paths[0])
    link.symlink_to(paths[0])
    queue = Own(str(link))
    connection = queue._get_connection()
    for path in paths[1:]:
        use(path)
    assert queue._get_connection() is connection


def test_a_connection_that_somebody_asked_for_goes_on(paths: list[str]) -> None:
    lent = JobQueue(paths[0])._get_connection()
    for path in paths[1:]:
        use(path)
    assert "0.db" not in opened()
    assert lent.execute("SELECT count(*) FROM jobs").fetchone()[0] == 0
    lent.close()


def test_one_within_a_transaction_is_kept(paths: list[str]) -> None:
    connection = JobQueue(paths[0])._get_connection()
    connection.execute("BEGIN")
    for path in paths[1:]:
        use(path)
    assert "0.db" in opened()
    connection.execute("ROLLBACK")


def test_one_that_was_closed_already_is_forgotten(paths: list[str]) -> None:
    JobQueue(paths[0])._get_connection().close()
    for path in paths[1:]:
        use(path)
    assert "0.db" not in opened()


def test_other_threads_keep_theirs(paths: list[str]) -> None:
    """Each closes its own connections only."""
    use(paths[0])
    mine = connections._mine.connections[next(iter(connections._mine.connections))]

    def many() -> None:
        for path in paths:
            use(path)
        close_connections()

    _in_a_thread(many)
    assert not mine.closed
    assert mine.execute("SELECT count(*) FROM jobs").fetchone()[0] == 2


def test_threads_that_open_one_file_at_once_agree_on_its_use(paths: list[str]) -> None:
    barrier = threading.Barrier(8)
    uses: list[object] = []

    def enter() -> None:
        barrier.wait(PATIENCE)
        uses.append(connections.use(paths[0]))

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(uses) == 8
    assert len(set(map(id, uses))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_closes_none_of_its_parent_s(paths: list[str]) -> None:
    queues = [JobQueue(path) for path in paths[:2]]
    for queue in queues:
        queue.submit(Job("one", jobs.nothing))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            queues.clear()
            del queue
            for path in paths:
                use(path)
            code = 0 if len(connections._mine.connections) == KEPT + 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for queue in queues:
        queue.submit(Job("two", jobs.nothing))
        assert queue.stats()["total"] == 3


def _in_a_thread(action: Callable[[], None]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
