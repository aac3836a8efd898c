"""Exact delivery: every submitted job completed once, by one run. Asked of the tables, whoever wrote them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_ASK = """
SELECT (SELECT count(*) FROM jobs),
    (SELECT count(*) FROM jobs WHERE status = 'completed'),
    (SELECT count(*) FROM job_executions),
    (SELECT count(DISTINCT job_id) FROM job_executions WHERE status = 'completed'),
    (SELECT count(*) FROM jobs WHERE attempts != 1)
"""


class NotExact(Exception):
    """A job was lost, or ran twice: a figure means nothing then."""


def check(path: str, submitted: int, calls: int | None = None, killed: int = 0) -> str:
    """In words what was found.

    Args:
        path: the database; ``jobs`` and ``job_executions`` are tables or views in it.
        submitted: jobs whose submission was acknowledged.
        calls: how often a function was really called, where it was counted.
        killed: runs whose process was killed: they are in the history, and are no attempts of their jobs.

    Raises:
        NotExact: naming all the numbers.
    """
    connection = sqlite3.connect(path)
    jobs, completed, runs, completed_by_a_run, other_attempts = connection.execute(_ASK).fetchone()
    connection.close()
    found = f"{jobs:,} jobs, {completed:,} completed, {runs:,} runs"
    if calls is not None:
        found += f", {calls:,} calls"
    exact = jobs == completed == runs - killed == completed_by_a_run == submitted and not other_attempts
    if not exact or calls not in (None, submitted):
        raise NotExact(
            f"{submitted:,} submitted: {found}; {other_attempts:,} with attempts other than 1, {killed:,} killed"
        )
    return found


def check_calls(submitted: int, called: Iterable[int]) -> str:
    """The same for a queue whose tables are not ours: the parameters of all calls, which were 0, 1, 2 ...

    Raises:
        NotExact: naming the numbers.
    """
    calls = list(called)
    different = set(calls)
    if len(calls) != submitted or different != set(range(submitted)):
        raise NotExact(f"{submitted:,} submitted: {len(calls):,} calls, of {len(different):,} jobs")
    return f"{submitted:,} jobs, {len(calls):,} calls, each once"
