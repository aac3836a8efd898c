"""K2: a process is killed at its N-th write or sync, whatever it was about; strace does it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

import pytest
import torture_jobs
from ledger import Kill
from rig import Process, Rig, wait_until

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a system call"),
]

CALLS = "pwrite64,fdatasync"


def killed_at(number: int) -> list[str]:
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={CALLS}:signal=KILL:when={number}"]


def unfinished(rig: Rig) -> int:
    stats = rig.queue.stats()
    return stats["pending"] + stats["running"]


def finish(rig: Rig, struck: Process, since: int) -> bool:
    """Whatever the struck process has left, others bring to its end; whether it died at all."""
    died = not struck.is_alive
    for pid in {line.pid for line in rig.lines("hello")}:
        if not died:
            os.kill(pid, signal.SIGKILL)
        rig.kills.append(Kill(pid, since, time.monotonic_ns(), "strace"))
    struck.wait()
    worker = rig.worker(concurrency=2)
    rig.await_all_ended()
    rig.stop(worker)
    rig.judge()
    return died


def strike_worker(rig: Rig, number: int) -> bool:
    first, *_ = (rig.submit(torture_jobs.fail_first if n == 2 else torture_jobs.work) for n in range(5))
    rig.submit(torture_jobs.work, dependencies=[first])
    since = time.monotonic_ns()
    struck = rig.worker(concurrency=2, under=killed_at(number))
    wait_until(lambda: not struck.is_alive or not unfinished(rig), "it to die, or to be done")
    return finish(rig, struck, since)


def strike_submitter(rig: Rig, number: int) -> bool:
    since = time.monotonic_ns()
    struck = rig.submitter(jobs=12, under=killed_at(number))
    struck.wait()
    died = len(rig.lines("acked")) < 12
    finish(rig, struck, since)
    return died


@pytest.mark.parametrize("strike", [strike_worker, strike_submitter])
def test_a_process_killed_at_any_write_or_sync_loses_nothing(
    make_rig: Callable[[], Rig], strike: Callable[[Rig, int], bool]
) -> None:
    died = 0
    for number in range(1, 61):
        rig = make_rig()
        died += strike(rig, number)
        rig.close()
    print(f"{strike.__name__}: killed at {died} of the first 60 writes and syncs")
    assert died > 10
