"""The table counts: how many jobs of each queue are in each status."""

from __future__ import annotations

from gigq.store.transaction import Transaction, as_json

Differences = dict[tuple[str, str], int]
"""(queue, status) -> how many more."""


def add_counts(tx: Transaction, differences: Differences) -> None:
    """Keep ``counts`` true."""
    changes = [(queue, status, n) for (queue, status), n in differences.items() if n]
    if changes:
        tx.run("add_counts", differences=as_json(changes))
