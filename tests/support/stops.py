"""Signals on record, and what a stop has given back."""

from __future__ import annotations

import signal
import time
from typing import Any

from rig import Process, Rig


def send(rig: Rig, process: Process, number: int) -> None:
    before = time.monotonic_ns()
    process.signal(number)
    rig.record(process, before, signal.Signals(number).name)


def assert_released_and_done(rig: Rig, *jobs: str, **options: Any) -> None:
    """Another worker finishes what was given back, and none of it was charged for the stop."""
    (rig.folder / "go").touch()
    worker = rig.worker(**options)
    for job in jobs:
        shown = rig.await_status(job, "completed")
        assert [run["status"] for run in shown["executions"]] == ["released", "completed"]
        assert (shown["attempts"], shown["crashes"]) == (1, 0)
    rig.await_all_ended()
    rig.stop(worker)
    rig.await_nobody_left()
    rig.judge()
