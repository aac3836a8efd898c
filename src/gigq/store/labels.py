"""Tags and metadata in their tables."""

from __future__ import annotations

from gigq.newjob import NewJob
from gigq.store.transaction import Transaction, as_json

_PIECE = 1000
"""Jobs in one statement, which may have 16 KB each."""


def insert(tx: Transaction, base: int, jobs: list[NewJob]) -> None:
    """Those of jobs that were numbered from ``base`` on."""
    labelled = [
        (base + place, job.tags or None, job.metadata)
        for place, job in enumerate(jobs)
        if job.tags or job.metadata is not None
    ]
    for start in range(0, len(labelled), _PIECE):
        rows = as_json(labelled[start : start + _PIECE])
        tx.run("insert_annotations", rows=rows)
        tx.run("insert_tags", rows=rows)


def replace(tx: Transaction, seq: int, job: NewJob) -> None:
    """Give a job those of another."""
    remove(tx, as_json([seq]))
    insert(tx, seq, [job])


def remove(tx: Transaction, jobs: str) -> None:
    """Those of some jobs (JSON)."""
    tx.run("clear_tags", jobs=jobs)
    tx.run("clear_annotations", jobs=jobs)
