"""The history of runs that ended otherwise than well; of endless snoozes it keeps the newest."""

from __future__ import annotations

from collections import Counter

from gigq.store.rows import Settlement
from gigq.store.transaction import Transaction, as_json

KEPT = 100
"""Runs of a job of which the snoozed ones stay in its history: a job may look every second, for years, whether it can begin."""


def record(tx: Transaction, settlements: list[Settlement]) -> None:
    """Write the runs that have started, with what they were called in the end."""
    runs = [
        (
            one.lease.seq,
            one.lease.runs + 1,
            one.lease.execution_id,
            one.run,
            one.started_at,
            one.ended_at,
            one.error,
            one.lease.worker,
        )
        for one in settlements
        if one.run is not None
    ]
    if not runs:
        return
    tx.run("record_runs", runs=as_json(runs))
    last = [
        (one.lease.seq, one.lease.runs + 1 - KEPT)
        for one in settlements
        if one.run == "snoozed" and one.lease.runs >= KEPT
    ]
    if last:
        _drop_snoozes(tx, last)


def _drop_snoozes(tx: Transaction, last: list[tuple[int, int]]) -> None:
    """Let go of the snoozed runs up to one (job, run) each, one for each that comes."""
    dropped: list[list[int]] = tx.array("old_snoozes", list[int], last=as_json(last))
    if not dropped:
        return
    runs = as_json(dropped)
    tx.run("drop_runs", runs=runs)
    tx.run("drop_output", runs=runs)
    tx.run("count_dropped", jobs=as_json(list(Counter(job for job, _ in dropped).items())))
