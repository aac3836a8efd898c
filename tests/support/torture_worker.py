"""A worker in a process of its own: ``python torture_worker.py '{"db": ..., ...}'``; see :class:`Options`."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import failpoints
import ledger
import mutations
from msgspec import Struct, convert

from gigq import JobQueue, Worker
from gigq.clock import SYSTEM, Clock
from gigq.worker import upkeep
from gigq.worker.chores import rescue


class Options(Struct, forbid_unknown_fields=True):
    """What can be asked of a worker of the torture."""

    db: str
    concurrency: int = 1
    polling: float = 1.0
    grace: float | None = None
    """Seconds that a signal leaves to what is running."""
    rescue_grace: float | None = None
    """Seconds beyond a timeout that a peer gets, in place of ten."""
    upkeep_every: float | None = None
    """Seconds between two turns of the housekeeping, in place of one."""
    clock: str | None = None
    """The path of a rig.ClockFile."""
    point: str | None = None
    how: str = "kill"
    without: list[str] = []
    path: str | None = None
    """A folder to import from, beside the usual ones."""
    executor: Literal["thread", "process"] = "thread"
    async_slots: int = 100
    kill_grace: float = 2.0
    max_jobs_per_child: int | None = None
    max_memory: int | None = None
    child: list[str] = []
    """What each child process does otherwise than a healthy one; see torture_child."""
    seams: bool = False
    """A worker that overrides a seam, so that it works one job at a time in each thread."""
    once: bool = False
    """One call of process_one() in place of start()."""
    stop_on_usr1: float | None = None
    """SIGUSR1 calls stop() with this grace."""


class FileClock:
    """The clocks of this machine, put back or forward by whoever writes the file; see rig.ClockFile."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def now(self) -> int:
        return time.time_ns() // 1000 + self._offsets()[0] * 1_000_000

    def monotonic(self) -> int:
        return time.monotonic_ns() + self._offsets()[1] * 1_000_000_000

    def _offsets(self) -> tuple[int, int]:
        wall, monotonic = struct.unpack("<qq", self._path.read_bytes())
        return wall, monotonic


class SeamedWorker(Worker):
    """Its owner has looked at every function it imports."""

    def _import_function(self, module_name: str, function_name: str) -> Callable[..., Any]:
        return super()._import_function(module_name, function_name)


def _tell_upkeep() -> None:
    real = upkeep.Upkeep.run_once

    def run_once(self: upkeep.Upkeep, mine: int) -> bool:
        done = real(self, mine)
        ledger.write("upkeep")
        return done

    upkeep.Upkeep.run_once = run_once  # type: ignore[method-assign]


def _tell_stop() -> None:
    real = Worker.stop

    def stop(self: Worker, grace: float | None = None) -> None:
        real(self, grace)
        ledger.write("stopping")

    Worker.stop = stop  # type: ignore[method-assign]


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _break(options: Options) -> None:
    """What this process does otherwise than a healthy one."""
    if options.rescue_grace is not None:
        rescue.GRACE = round(options.rescue_grace * 1e6)
    if options.upkeep_every is not None:
        upkeep._EVERY = round(options.upkeep_every * 1e9)
    for name in options.without:
        mutations.install(name)
    if options.point is not None:
        failpoints.install(options.point, options.how)
    if options.path is not None:
        sys.path.append(options.path)


def _work(options: Options) -> None:
    clock: Clock = FileClock(options.clock) if options.clock else SYSTEM
    worker = (SeamedWorker if options.seams else Worker)(
        JobQueue(options.db, clock=clock),
        f"w-{os.getpid()}",
        options.polling,
        options.concurrency,
        executor=options.executor,
        async_slots=options.async_slots,
        kill_grace=options.kill_grace,
        max_jobs_per_child=options.max_jobs_per_child,
        max_memory=options.max_memory,
        imports=["torture_child"] if options.child else [],
        grace=options.grace,
    )
    if options.stop_on_usr1 is not None:

        def on_usr1(_number: int, _frame: FrameType | None) -> None:
            worker.stop(grace=options.stop_on_usr1)

        signal.signal(signal.SIGUSR1, on_usr1)
    try:
        if options.once:
            ledger.write("worked" if worker.process_one() else "idle")
        else:
            worker.start()
    finally:
        worker.close()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def main(options: Options) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.register(signal.SIGUSR2)  # shows where each thread is
    _break(options)
    _tell_upkeep()
    _tell_stop()
    os.environ[ledger.WORKER] = str(os.getpid())
    os.environ["GIGQ_TORTURE_CHILD"] = json.dumps(options.child)
    ledger.write("hello")
    before = _descriptors()
    _work(options)
    for thread in threading.enumerate():
        if thread.name.startswith("gigq-job"):  # abandoned: it keeps what it works with
            thread.join(20)
    gc.collect()
    ledger.write("descriptors", run=max(0, _descriptors() - before))


if __name__ == "__main__":
    main(convert(json.loads(sys.argv[1]), Options))
