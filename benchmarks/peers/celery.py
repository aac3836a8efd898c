"""Celery on Redis: a worker with two processes, started as its command line does it.

What it calls notes its parameter and the time in a file: the calls are in other processes. A drain lasts from the
first call to the last, so that the start of the worker is not counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import jobs
from benchmarks.child import PROJECT
from benchmarks.peers.measuring import stopwatch, wait_until
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="Celery 5.7",
        module=__name__,
        environment="celery-5.7.0",
        requires=("celery[redis]==5.7.0", "hiredis==3.5.0"),
        submit="in Redis' memory: its end, or a power cut, loses all",
        drain="no results; acknowledged before the call: a crash loses what was fetched; 2 processes; from the "
        "first call to the last",
        settings="prefork, 2 processes, prefetch 64, ignore_result, no gossip, mingle or heartbeat; hiredis",
        durable=False,
        singly=1_000,
        drained=1_000,
        server="redis",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    if bulk:
        raise ValueError("Celery has no bulk call")
    ledger = Path(folder) / "calls"
    ledger.touch()
    os.environ |= {"BENCHMARK_BROKER": server, "BENCHMARK_LEDGER": str(ledger)}
    from benchmarks.peers.celery_app import tick

    with stopwatch() as submitting:
        for n in range(count):
            tick.delay(n)
    worker = _start_worker(folder)
    try:
        wait_until(lambda: len(jobs.noted(ledger)) >= count or worker.poll() is not None, every=0.1)
    finally:
        worker.terminate()
        worker.wait(60)
    calls = jobs.noted(ledger)
    moments = [moment for _, moment in calls]
    seconds = (max(moments) - min(moments)) / 1e9 * count / max(1, count - 1)
    return Taken(submitting.seconds, seconds, [n for n, _ in calls])


def _start_worker(folder: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_app", "worker"]
    options = ["--concurrency", "2", "--loglevel", "ERROR"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    log = (Path(folder) / "worker.log").open("wb")
    with log:
        return subprocess.Popen([*command, *options, *quiet], cwd=PROJECT, stdout=log, stderr=log)
