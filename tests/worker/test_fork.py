"""A queue and a worker that were used before a fork go on working on both sides of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from gigq import Job, JobQueue, Worker
from jobs import add

queue, worker = JobQueue(sys.argv[1]), Worker(sys.argv[1])
before = queue.submit(Job("before", add, params={"a": 1, "b": 1}))
assert worker.process_one()
if os.fork() == 0:
    in_child = queue.submit(Job("in the child", add, params={"a": 2, "b": 2}))
    assert worker.process_one()
    assert queue.get_result(in_child) == 4
    worker.close()
    os._exit(0)
assert os.wait()[1] == 0
after = queue.submit(Job("after", add, params={"a": 3, "b": 3}))
assert worker.process_one()
assert queue.get_result(after) == 6
number, rows = queue._get_connection().execute("SELECT max(number), count(*) FROM worker").fetchone()
assert rows == 2, "the child must take a seat of its own"
assert queue.stats()["completed"] == 3
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_both_sides_of_a_fork_work_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "jobs.db")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "support")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
