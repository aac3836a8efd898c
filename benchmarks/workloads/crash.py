"""Crash: a worker is killed (SIGKILL) while it runs a job; another one idles beside it.

Measured is the time until the job starts again. Fifty no-ops are submitted at each kill; all must be completed once.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, Literal

from benchmarks import api, child, exact, jobs
from benchmarks.plan import OURS, Contender, Quantity, Sample, Workload
from gigq import Job, Worker

_NOISE = 50
_HEAD_START = 1.0
"""Seconds until a new worker listens."""


def workloads(*, quick: bool) -> list[Workload]:
    arguments = {"times": 4 if quick else 20}
    processes = {**arguments, "executor": "process"}
    return [
        Workload(
            "crash",
            f"kill -9 while a job runs, {arguments['times']} times, until that job starts again elsewhere",
            (
                Quantity("half", "half of them within", "ms", higher_is_better=False),
                Quantity("longest", "the longest", "ms", higher_is_better=False),
            ),
            (
                Contender(
                    OURS,
                    f"{__name__}:killed",
                    arguments,
                    "the worker is killed; nothing lost; the run is in the history",
                ),
                Contender(
                    "gigq, processes: worker",
                    f"{__name__}:killed",
                    processes,
                    "the parent is killed, its child goes with it",
                    needs="executor",
                ),
                Contender(
                    "gigq, processes: child",
                    f"{__name__}:killed",
                    {**processes, "whom": "child"},
                    "only the child is killed",
                    needs="executor",
                ),
            ),
            most_runs=1 if quick else None,
        )
    ]


def work(folder: str, **options: Any) -> None:
    Worker(str(Path(folder) / "jobs.db"), **options).start()


def killed(
    folder: str,
    times: int,
    whom: Literal["worker", "child"] = "worker",
    head_start: float = _HEAD_START,
    **options: Any,
) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    workers = [_start(folder, options) for _ in range(2)]
    taken = []
    for turn in range(times):
        time.sleep(head_start)
        ledger, over = Path(folder) / f"held-{turn}", Path(folder) / f"over-{turn}"
        queue.submit(Job("hold", jobs.hold, {"ledger": str(ledger), "until": str(over)}, max_attempts=5))
        queue.submit_many(api.make_jobs(_NOISE))
        _, pid = _line(ledger, 0)
        victim = pid if whom == "child" else _ancestor(pid, {process.pid for process in workers})
        moment = time.monotonic_ns()
        os.kill(victim, signal.SIGKILL)
        again, _ = _line(ledger, 1)
        taken.append((again - moment) / 1e6)
        over.touch()
        if whom == "worker":
            workers = [process for process in workers if process.pid != victim or _bury(process)]
            if turn + 1 < times:  # the last one would be asked to stop before it can hear it
                workers.append(_start(folder, options))
    count = times * (_NOISE + 1)
    api.wait_until_completed(path, count, seconds=60)
    for process in workers:
        process.send_signal(signal.SIGTERM)
    for process in workers:
        _, said = process.communicate(timeout=60)
        # Whoever is asked to stop while it still imports is ended by that, and has claimed nothing.
        if process.returncode not in (0, -signal.SIGTERM):
            raise child.SampleFailed(f"a worker ended with {process.returncode}\n{said}")
    return Sample(
        {"half": statistics.median(taken), "longest": max(taken)}, exact.check(path, count, killed=times)
    )


def _start(folder: str, options: dict[str, Any]) -> subprocess.Popen[str]:
    return child.start(f"{__name__}:work", {"folder": folder, **options})


def _bury(process: subprocess.Popen[str]) -> bool:
    process.communicate()
    return False


def _ancestor(pid: int, workers: set[int]) -> int:
    """The worker that a process belongs to: itself, or its parent's parent, however deep."""
    while pid not in workers:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def _line(ledger: Path, number: int) -> tuple[int, int]:
    """When the job began, and in which process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
        if len(lines) > number and lines[number].endswith("\n"):
            moment, pid = (int(word) for word in lines[number].split())
            return moment, pid
        time.sleep(0.001)
    raise TimeoutError(f"the job did not start {'again' if number else ''} within a minute")
