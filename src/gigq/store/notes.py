"""What running jobs say: their output, part by part, and how far they are."""

from __future__ import annotations

from typing import NamedTuple

from gigq.store.transaction import Transaction, as_json


class NoteRow(NamedTuple):
    """One delivery of one run, in the units of the tables."""

    seq: int
    run: int
    at: int
    part: int
    text: str
    """Empty for none."""
    keep_from: int
    """Parts before this one are dropped."""
    progress: tuple[float, float | None, str | None] | None
    """Done, total, message."""


class OutputPart(NamedTuple):
    """A piece of the output of a run."""

    run: int
    part: int
    at: int
    text: str


def write(tx: Transaction, rows: list[NoteRow]) -> None:
    """Store deliveries, within the caller's transaction; those of jobs that are gone are dropped."""
    parts = [(row.seq, row.run, row.part, row.at, row.text) for row in rows if row.text]
    if parts:
        tx.run("write_output", parts=as_json(parts))
    told = [(row.seq, row.run, *row.progress, row.at) for row in rows if row.progress is not None]
    if told:
        tx.run("write_progress", rows=as_json(told))
    for row in rows:
        if row.keep_from > 0:
            tx.run("trim_output", job=row.seq, run=row.run, part=row.keep_from)
