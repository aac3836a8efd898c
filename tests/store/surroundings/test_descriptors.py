"""No file descriptor is left: said with the way out, nothing is stored, and all goes on when there are some again."""

from __future__ import annotations

import sys
from pathlib import Path

import processes
import pytest
import torture_jobs
from rig import Rig, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no limit to lower")

_FEW = """
import os, resource, sys, threading
import jobs
from gigq import Job, JobQueue, Worker, close_connections
from gigq.errors import StoreError

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
path = sys.argv[1]

def try_with(left, action):
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(left):
        os.close(taken.pop())
    try:
        done = action()
    except StoreError as error:
        assert str(error).startswith(path), error
        assert "no file descriptor left" in str(error) and "ulimit -n" in str(error), error
        assert "Nothing was stored" in str(error), error
        return None
    finally:
        for fd in taken:
            os.close(fd)
    return done

def in_a_thread(action):
    results = []
    thread = threading.Thread(target=lambda: results.append(try_with(0, action)))
    thread.start()
    thread.join()
    return results

def job():
    return Job("j", jobs.nothing)
"""


def told(code: str, db: str, folder: Path) -> str:
    """What a program prints that runs short of descriptors."""
    return processes.run_code(_FEW + code, db, cwd=folder).strip()


def test_a_new_file_is_not_made_and_can_be_made_later(db: str, tmp_path: Path) -> None:
    code = """
warm = JobQueue(":memory:")  # what is imported late cannot be had then
warm.submit(job())
assert Worker(warm).process_one()
assert try_with(0, lambda: JobQueue(path)) is None
assert not os.path.exists(path)
print(len(JobQueue(path).submit(job())))
"""
    assert told(code, db, tmp_path) == "36"


def test_a_submit_is_acknowledged_or_refused_with_the_way_out(db: str, tmp_path: Path) -> None:
    code = """
first = JobQueue(path)
acked = [first.submit(job())]
assert Worker(first).process_one()
acked.append(try_with(0, lambda: first.submit(job())))  # all that it needs is open
assert acked[-1] is not None
assert in_a_thread(lambda: first.submit(job())) == [None]  # another thread needs a connection
refused = 1
first.close()
first._store.engine.close()
del first
for left in range(12):
    acked.append(try_with(left, lambda: JobQueue(path).submit(job())))
    refused += acked[-1] is None
    close_connections()
ids = {shown["id"] for shown in JobQueue(path).list_jobs(limit=100)}
assert ids == {one for one in acked if one is not None}, (ids, acked)
print(refused)
"""
    assert int(told(code, db, tmp_path)) > 2


def test_a_worker_that_cannot_start_says_so_and_can_start_later(db: str, tmp_path: Path) -> None:
    code = """
queue = JobQueue(path)
queue.submit(job())
worker = Worker(queue)
assert worker.process_one()
worker.close()

def start():
    worker = Worker(path)
    threading.Timer(0.05, worker.stop).start()
    try:
        worker.start()
    finally:
        worker.close()
    return True

started = [try_with(left, start) for left in range(14)]
assert started[0] is None and started[-1], started
queue.submit(job())
worker = Worker(path)
assert worker.process_one()
worker.close()
assert queue.stats()["completed"] == 2
assert queue._store.workers() == [], queue._store.workers()
"""
    told(code, db, tmp_path)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_worker_whose_job_takes_all_of_them_works_on(rig: Rig) -> None:
    """What it needs at work it has since it started."""
    go = rig.folder / "go"
    taker = rig.submit(torture_jobs.take_all_descriptors, params={"path": str(go)})
    worker = rig.worker(concurrency=2)
    wait_until((rig.folder / "go.taken").is_symlink, "they are gone")
    others = [rig.submit(torture_jobs.work) for _ in range(20)]
    others += [rig.submit(torture_jobs.fail_first), rig.submit(torture_jobs.work, dependencies=others[:2])]
    for job in others:
        rig.await_status(job, "completed")
    assert rig.status(taker)["status"] == "running"
    go.touch()
    rig.await_status(taker, "completed")
    rig.stop(worker)
    rig.judge()
    rig.close()
