"""Removing ended jobs, a piece at a time: which may go, and what of them goes or stays."""

from __future__ import annotations

from gigq.store.transaction import Transaction, as_json

_PIECE = 2000
FIRST = 2**63 - 1
"""The cursor of a pass that has not begun: newest first."""


def candidates(tx: Transaction, status: str, cursor: int, before: int | None, now: int) -> list[int]:
    """The next jobs of a status that might go, older than the cursor; read outside the transaction that clears them."""
    return tx.column("clear_candidates", status=status, cursor=cursor, before=before, now=now, limit=_PIECE)


def clear(tx: Transaction, those: list[int], now: int) -> int:
    """Remove those of the candidates that may still go; how many went."""
    jobs = as_json(tx.array("clear_choose", int, jobs=as_json(those), now=now))
    tx.run("count_jobs", jobs=jobs, sign=-1)
    tx.run("clear_edges", jobs=jobs)
    tx.run("clear_keep_id", jobs=jobs)
    tx.run("clear_executions", jobs=jobs)
    tx.run("clear_output", jobs=jobs)
    tx.run("clear_progress", jobs=jobs)
    tx.run("clear_params", jobs=jobs)
    return tx.run("clear_jobs", jobs=jobs)
